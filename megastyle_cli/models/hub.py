"""Where a model is stored: a folder on this machine, or a snapshot of the Hugging Face hub.

The only code that downloads: every loader reads the folder that `find_model` returns.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from megastyle_cli.core.errors import DISK_FAILED, UNEXPECTED, MegastyleError, short_reason
from megastyle_cli.core.extras import missing_module, needed_package

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # PEFT's names
# What a repository calls its LoRA: the released style LoRA, diffusers' name, PEFT's.
LORA_FILES = ("megastyle_flux.safetensors", "pytorch_lora_weights.safetensors", ADAPTER)
LFS_POINTER = b"version https://git-lfs.github.com/"
LFS_MAX_BYTES = 1024  # a pointer is smaller
NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")
FILE_SUFFIXES = (".json", ".pth", ".pt", ".bin", ".safetensors")
PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_IS_CACHE_ONLY = ContextVar("is_cache_only", default=False)
ANSWER_S = 5.0  # timeout of the request that checks whether the hub is reachable
OTHER_FORMATS = (
    "consolidated*",
    "open_clip*",
    "original/*",
    "onnx/*",
    "openvino/*",
)  # of the same weights


def find_model(
    model: str,
    kind: str = "model folder",
    *,
    hint: str,
    patterns: tuple[str, ...] = PATTERNS,
    is_pipeline: bool = False,
) -> Path:
    """The folder of a model: itself, or what the hub has under NAME[@REVISION].

    `patterns` select the files to download; `is_pipeline` lets diffusers select those of a
    pipeline instead. Only a hub name reaches the network, and nothing that is in the hub's cache
    is downloaded again. Where the hub does not answer, or the cache is another user's and cannot be
    written, the cache is used as it is. `kind` names the model in errors. Raises MegastyleError if
    there is no such model.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        check_no_lfs_pointer(path)
        return path
    if path.exists() or path.suffix in FILE_SUFFIXES or not NAME.fullmatch(model):
        raise MegastyleError(f"there is no {kind} {model}", hint=hint)
    name, _, revision = model.partition("@")
    is_offline = not _hub_answers()
    if is_offline and not _is_cached(name, revision or None):
        raise _not_cached(model)
    try:
        return _download(name, revision or None, patterns, is_pipeline, is_offline)
    except Exception as error:  # the library's own, of the network, of the disk
        if _is_not_writable(error) and _is_complete(name, revision or None, patterns):
            return _download(name, revision or None, patterns, is_pipeline, True)
        raise _refused(name, model, error) or unavailable(kind, model, error, hint) from error


def find_file(model: str, file: str, kind: str) -> Path:
    """One file of the repository NAME[@REVISION] of the hub; nothing else of it is downloaded.

    Raises MegastyleError if it is neither cached nor can be downloaded.
    """
    hint = f"download it: {_download_command(model)} {file}"
    path = find_model(model, kind, hint=hint, patterns=(file,)) / file
    if not path.is_file():
        raise MegastyleError(f"{model} has no {file} in the local cache", hint=hint)
    return path


def check_reachable(model: str) -> None:
    """Raises MegastyleError if `model` is a hub name that is not cached while the hub is away.

    So that it is known before the libraries that run it are imported and an output is begun.
    """
    if download_if_missing(model) and not _hub_answers():
        raise _not_cached(model)


def download_if_missing(model: str) -> str:
    """The command that downloads a hub name of which nothing is cached; else empty."""
    path = Path(model).expanduser()
    if path.exists() or path.suffix in FILE_SUFFIXES or not NAME.fullmatch(model):
        return ""
    from huggingface_hub import constants

    folder = f"models--{model.partition('@')[0].replace('/', '--')}"
    is_cached = any(Path(constants.HF_HUB_CACHE, folder, "snapshots").glob("*"))
    return "" if is_cached else _download_command(model)


@contextmanager
def cache_only() -> Iterator[None]:
    """Inside, `find_model` uses only what is on this machine and sends no requests."""
    before = _IS_CACHE_ONLY.set(True)
    try:
        yield
    finally:
        _IS_CACHE_ONLY.reset(before)


def find_lora(lora: str | Path, hint: str = "give a .safetensors file") -> Path:
    """The file of a LoRA: itself, the weights in a folder that PEFT saved, or those on the hub.

    Of a repository NAME[@REVISION] only the LoRA is downloaded. Raises MegastyleError, which ends
    in `hint`, if there is no such file.
    """
    path = Path(lora).expanduser()
    if path.is_file():
        return path
    if not path.exists() and path.suffix not in FILE_SUFFIXES and NAME.fullmatch(str(lora)):
        return _find_hub_lora(str(lora), hint)
    if not path.is_dir():
        what = "is not a regular file" if path.exists() else ""
        raise MegastyleError(f"{path} {what}" if what else f"there is no LoRA {lora}", hint=hint)
    absent = [name for name in (ADAPTER, ADAPTER_CONFIG) if not (path / name).is_file()]
    if absent:
        raise MegastyleError(
            f"{path} has no {' and no '.join(absent)}",
            hint="give a .safetensors file, or a folder saved by PEFT",
        )
    return path / ADAPTER


def _find_hub_lora(name: str, hint: str) -> Path:
    folder = find_model(name, "LoRA", hint=hint, patterns=(*LORA_FILES, ADAPTER_CONFIG))
    for file in LORA_FILES:
        if (folder / file).is_file():
            return folder / file
    raise MegastyleError(
        f"{name} has no file with one of the names of a LoRA ({', '.join(LORA_FILES)})",
        hint=f"download its file and give that: {_download_command(name)} FILE --local-dir .",
    )


def adapter_config_path(weights: Path) -> Path | None:
    """The config that PEFT saved beside a LoRA's weights, if it did."""
    config = weights.with_name(ADAPTER_CONFIG)
    return config if weights.name == ADAPTER and config.is_file() else None


def check_no_lfs_pointer(path: Path) -> None:
    """Raises MegastyleError if a file, or one in a folder or its sub-folders, is a Git LFS pointer.

    A clone without Git LFS holds pointers in place of the files.
    """
    for file in [path] if path.is_file() else sorted((*path.glob("*"), *path.glob("*/*"))):
        if file.is_file() and file.stat().st_size < LFS_MAX_BYTES:
            with file.open("rb") as content:
                if content.read(len(LFS_POINTER)) == LFS_POINTER:
                    raise MegastyleError(
                        f"{file} is a Git LFS pointer instead of the file itself",
                        hint="run `git lfs pull` in the repository it belongs to",
                    )


def pinned_name(model: str, folder: Path) -> str:
    """`model` with 7 digits of its revision, if it was found on the hub and names none itself."""
    is_downloaded = not Path(model).expanduser().is_dir()
    return f"{model}@{folder.name[:7]}" if is_downloaded and "@" not in model else model


def revision_of(path: Path) -> str | None:
    """The revision of a model on this machine, or of its file: None if not from the hub's cache."""
    places = (path, *path.parents[:1])
    return next((each.name for each in places if each.parent.name == "snapshots"), None)


def unavailable(kind: str, model: str, error: Exception, hint: str) -> MegastyleError:
    """The error for a model that cannot be downloaded or loaded, with the library's reason."""
    what = kind.removesuffix(" folder")
    if (package := needed_package(error)) is not None:
        return missing_module(package, f"the {what} {model!r}")
    return MegastyleError(
        f"the {what} {model!r} cannot be loaded: {short_reason(error)}", hint=hint
    )


def _hub_answers() -> bool:
    """Whether the hub can be reached: one request, as its library repeats those that fail."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _IS_CACHE_ONLY.get():
        return False
    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=ANSWER_S):
            return True
    except HTTPError:
        return True
    except URLError as error:
        return isinstance(error.reason, SSLError)  # the library has certificates of its own
    except OSError:
        return False


def _not_cached(model: str) -> MegastyleError:
    away = "" if _IS_CACHE_ONLY.get() else " and the hub cannot be reached"
    return MegastyleError(
        f"{model} is not in the local cache{away}",
        hint=f"where there is a network run: {_download_command(model)} (of a gated model"
        " accept the licence on its page and run `hf auth login` first)",
    )


def download_again(path: Path, *, is_partial: bool = False) -> str:
    """The hint for a damaged file or folder: with the command, if it is in the hub's cache.

    Of a folder that `is_partial` only what is missing is downloaded.
    """
    places = [path, *path.parents]
    snapshot = next((place for place in places if place.parent.name == "snapshots"), None)
    owner, _, name = (snapshot or path).parent.parent.name.removeprefix("models--").partition("--")
    if snapshot is None or not name:
        return "download the model again"
    if is_partial:
        return f"complete the download: hf download {owner}/{name}"
    file = f" {path.relative_to(snapshot)}" if path.is_file() else ""
    return f"download it again: hf download {owner}/{name}{file} --force-download"


def _is_complete(name: str, revision: str | None, patterns: tuple[str, ...]) -> bool:
    """Whether the hub's cache holds all files of the model, as far as it knows."""
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            name, revision=revision, allow_patterns=list(patterns), local_files_only=True
        )
    except OSError:
        return False
    return True


def _is_cached(name: str, revision: str | None) -> bool:
    """Whether the hub's cache holds any file of the model."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        snapshot_download(name, revision=revision, local_files_only=True)
    except IncompleteSnapshotError:
        return True
    except LocalEntryNotFoundError:
        return False
    return True


def _refused(name: str, model: str, error: BaseException | None) -> MegastyleError | None:
    """The error for a model or revision that the hub does not hand out, or for a failed disk.

    None if `error` was raised for another reason.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        IncompleteSnapshotError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if (disk := _disk_error(error)) is not None:
        return _disk_refused(name, disk)
    known = RepositoryNotFoundError | RevisionNotFoundError | IncompleteSnapshotError
    while error is not None and not isinstance(error, known):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    if isinstance(error, IncompleteSnapshotError):
        return MegastyleError(
            f"{model} is only partly in the local cache, and the hub cannot be reached",
            hint=f"where there is a network run: {_download_command(model)} (it downloads only what"
            " is missing)",
        )
    if isinstance(error, RevisionNotFoundError):
        return MegastyleError(
            f"{name} has no revision {model.partition('@')[2]}",
            hint="its revisions are on the model page under 'Files and versions'",
        )
    if isinstance(error, GatedRepoError):
        return MegastyleError(
            f"{name} is not in the local cache, and its licence must be accepted first",
            hint=f"accept it on {constants.ENDPOINT}/{name}\nlog in: hf auth login\n"
            f"then download it: {_download_command(model)}",
        )
    return MegastyleError(
        f"the hub has no model {name}, or it is private",
        hint="check the name; for a private model, log in first: hf auth login",
    )


def _disk_error(error: BaseException | None) -> OSError | None:
    """The error of the file system that led to `error`: a full disk, or no permission."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (*DISK_FAILED, EACCES, EPERM, EROFS):
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_not_writable(error: BaseException) -> bool:
    found = _disk_error(error)
    return found is not None and found.errno in (EACCES, EPERM, EROFS)


def _disk_refused(name: str, error: OSError) -> MegastyleError:
    from huggingface_hub import constants

    place = error.filename or constants.HF_HUB_CACHE
    if _is_not_writable(error):
        return MegastyleError(
            f"{name} cannot be downloaded: {place} is not writable ({error.strerror})",
            hint="have its owner download the model, or use a cache of your own: HF_HOME=FOLDER",
        )
    return MegastyleError(
        f"{name} cannot be downloaded to {place}: {error.strerror}",
        hint="free space there, or use another disk: HF_HOME=FOLDER; the same command continues",
        exit_code=UNEXPECTED,
    )


def _download_command(model: str) -> str:
    name, _, revision = model.partition("@")
    return f"hf download {name}" + (f" --revision {revision}" if revision else "")


def _download(
    name: str, revision: str | None, patterns: tuple[str, ...], is_pipeline: bool, is_offline: bool
) -> Path:
    if is_pipeline:
        from diffusers import DiffusionPipeline

        folder: str = DiffusionPipeline.download(
            name, revision=revision, use_safetensors=True, local_files_only=is_offline
        )
    else:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(OTHER_FORMATS),
            local_files_only=is_offline,
        )
    return Path(folder)
