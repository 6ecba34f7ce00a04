"""Where a model is stored: a folder on this machine, or a snapshot of the Hugging Face hub.

The only code that downloads: every loader reads the folder that `find_model` returns.
"""

import re
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError, short_reason

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # PEFT's names
LFS_POINTER = b"version https://git-lfs.github.com/"
LFS_MAX_BYTES = 1024  # a pointer is smaller
NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")
FILE_SUFFIXES = (".json", ".pth", ".pt", ".bin", ".safetensors")
PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
OTHER_FORMATS = ("consolidated*", "original/*", "onnx/*", "openvino/*")  # of the same weights


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
    is downloaded again. `kind` names the model in errors. Raises MegastyleError if there is no
    such model.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        check_no_lfs_pointer(path)
        return path
    if path.exists() or path.suffix in FILE_SUFFIXES or not NAME.fullmatch(model):
        raise MegastyleError(f"there is no {kind} {model}", hint=hint)
    name, _, revision = model.partition("@")
    try:
        return _download(name, revision or None, patterns, is_pipeline)
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such name, not allowed
        raise unavailable(kind, model, error, hint) from error


def find_lora(lora: str | Path, hint: str = "give a .safetensors file") -> Path:
    """The file of a LoRA: itself, or the weights in a folder that PEFT saved.

    Raises MegastyleError, which ends in `hint`, if there is no such file.
    """
    path = Path(lora).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        what = "is no regular file" if path.exists() else ""
        raise MegastyleError(f"{path} {what}" if what else f"there is no LoRA {lora}", hint=hint)
    absent = [name for name in (ADAPTER, ADAPTER_CONFIG) if not (path / name).is_file()]
    if absent:
        raise MegastyleError(
            f"{path} is a folder without {' and '.join(absent)}",
            hint="give a .safetensors file, or a folder that PEFT saved",
        )
    return path / ADAPTER


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
                        f"{file} is a Git LFS pointer, not the file itself",
                        hint="run `git lfs pull` in the repository that it was cloned from",
                    )


def pinned_name(model: str, folder: Path) -> str:
    """`model` with 7 digits of its revision, if it was found on the hub and names none itself."""
    is_downloaded = not Path(model).expanduser().is_dir()
    return f"{model}@{folder.name[:7]}" if is_downloaded and "@" not in model else model


def unavailable(kind: str, model: str, error: Exception, hint: str) -> MegastyleError:
    """The error for a model that cannot be downloaded or loaded, with the library's reason."""
    what = kind.removesuffix(" folder")
    return MegastyleError(
        f"the {what} {model!r} cannot be loaded: {short_reason(error)}", hint=hint
    )


def _download(
    name: str, revision: str | None, patterns: tuple[str, ...], is_pipeline: bool
) -> Path:
    if is_pipeline:
        from diffusers import DiffusionPipeline

        folder: str = DiffusionPipeline.download(name, revision=revision, use_safetensors=True)
    else:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(OTHER_FORMATS),
        )
    return Path(folder)
