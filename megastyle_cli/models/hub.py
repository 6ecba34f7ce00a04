"""Where a model is stored: a folder on this machine, or a snapshot of the Hugging Face hub.

The only code that downloads: every loader reads the folder that `find_model` returns.
"""

import re
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError, short_reason

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
        return path
    if path.exists() or path.suffix in FILE_SUFFIXES or not NAME.fullmatch(model):
        raise MegastyleError(f"there is no {kind} {model}", hint=hint)
    name, _, revision = model.partition("@")
    try:
        return _download(name, revision or None, patterns, is_pipeline)
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such name, not allowed
        raise unavailable(kind, model, error, hint) from error


def pinned_name(model: str, folder: Path) -> str:
    """`model` with 7 digits of its revision, if it was found on the hub and names none itself."""
    is_downloaded = not Path(model).expanduser().is_dir()
    return f"{model}@{folder.name[:7]}" if is_downloaded and "@" not in model else model


def unavailable(kind: str, model: str, error: Exception, hint: str) -> MegastyleError:
    """The error for a model that cannot be downloaded or loaded, with the library's reason."""
    what = kind.removesuffix(" folder")
    return MegastyleError(f"the {what} {model!r} cannot be had: {short_reason(error)}", hint=hint)


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
