"""Models built from a config and exactly the weights given: no tensor missing, none left over."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from megastyle_cli.core.errors import MegastyleError, first_line
from megastyle_cli.models.hub import download_again
from megastyle_cli.models.tensor_files import Weights, check_finite, damaged, find_damaged

# Sizes of towers. A config that says more would take hours or all memory before it is refused.
LARGEST = {
    "hidden_size": 1 << 16,
    "image_size": 1 << 14,
    "intermediate_size": 1 << 18,
    "max_position_embeddings": 1 << 20,
    "num_attention_heads": 1 << 10,
    "num_channels": 3,
    "num_hidden_layers": 1000,
    "patch_size": 1 << 10,
    "vocab_size": 1 << 24,
}
Model = TypeVar("Model", bound=PreTrainedModel)


def read_config(path: Path) -> dict[str, Any]:
    """The values of a config.json, or of that in a model folder.

    Raises MegastyleError if it is missing, empty, or of a model that is not run here.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        values: Any = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not values:
        what = "has no readable config.json" if path.is_dir() else "is not a JSON object"
        raise MegastyleError(f"{path} {what}", hint="give the complete folder of a model")
    for name in ("vision_config", "text_config"):
        part = values.get(name)
        if not isinstance(part, dict | None):
            raise MegastyleError(f"{file} has {name} {part!r}", hint="download the model again")
        _check_supported(part or {}, file)
    _check_supported(values, file)
    return values


def _check_supported(values: dict[str, Any], file: Path) -> None:
    """Raises MegastyleError if these values, of a model or of one tower, cannot be run here."""
    if values.get("quantization_config"):
        raise MegastyleError(
            f"{file} belongs to a quantized model (quantization_config)",
            hint="give the original weights",
        )
    if str(values.get("model_type", "")).startswith("siglip2"):
        raise MegastyleError(
            f"{file} belongs to a SigLIP 2 of variable resolution (NaFlex), which is not run here",
            hint="give one of a fixed resolution, such as google/siglip2-so400m-patch14-384",
        )
    if values.get("vision_use_head", True) is not True:
        raise MegastyleError(
            f"{file} belongs to a tower without a pooling head (vision_use_head), whose output is"
            " the style vector",
            hint="give a SigLIP with its head",
        )
    for name, largest in LARGEST.items():
        value = values.get(name, 1)
        if type(value) is not int or not 1 <= value <= largest:
            raise MegastyleError(
                f"{file} has {name} {value!r}, not 1 to {largest:,}",
                hint="download the model again",
            )


def build_config(kind: type[PreTrainedModel], values: dict[str, Any], origin: str) -> Any:
    """The config of a `kind` with these values.

    Raises MegastyleError if it belongs to another model, or if no model can be built from it.
    """
    config_class: Any = kind.config_class
    model_type = values.get("model_type", config_class.model_type)
    if model_type != config_class.model_type:
        raise MegastyleError(
            f"{origin} holds a {model_type}, not a {config_class.model_type}",
            hint="give another model, or the --backend that runs this one",
        )
    try:
        config = config_class.from_dict(values)
        with torch.device("meta"):
            kind(config)
    except Exception as error:  # transformers raises anything for sizes that fit no network
        raise MegastyleError(
            f"{origin} is not a valid {kind.__name__} config: {first_line(error)}",
            hint="fix its config",
        ) from error
    return config


def build_model(
    kind: type[Model], config: Any, weights: Weights, origin: str, part: str = ""
) -> Model:
    """A `kind` that holds exactly `weights`, as float32.

    Raises MegastyleError with the counts unless every tensor has its place and its shape, and by
    name if one holds NaN or infinite values; `part` says in the message which of the model's
    tensors were counted.
    """
    with torch.device("meta"):
        shapes = {name: w.shape for name, w in kind(config).state_dict().items()}
    missing = [n for n, shape in shapes.items() if getattr(weights.get(n), "shape", None) != shape]
    extra = [name for name in weights if name not in shapes]
    if missing or extra:
        raise MegastyleError(
            f"{origin} fits {len(shapes) - len(missing)} of {len(shapes)} tensors{part}"
            f" ({_count(missing, 'missing or of another shape')}; {_count(extra, 'extra')})",
            hint="give only the weights of this model and size",
        )
    check_finite(weights, origin)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    float_weights = {name: w.float() for name, w in weights.items()}
    # Checked above; unlike load_state_dict this skips the random initialization, which takes
    # longer than reading the file.
    model: Model = kind.from_pretrained(None, config=config, state_dict=float_weights)
    return model


def load_strictly(kind: Any, folder: Path, *, ignore_extra: bool = False, **options: Any) -> Any:
    """`kind.from_pretrained` of a folder's .safetensors, in evaluation mode.

    Nothing is downloaded, and no code beside the weights is run. Raises MegastyleError if a tensor
    is missing or has another shape, unless `ignore_extra` if there is one too many, or that names a
    damaged file; otherwise whatever `from_pretrained` raises.
    """
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, report = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
        )
    except Exception as error:  # of a damaged file transformers says anything
        if (file := find_damaged(folder)) is not None:
            raise damaged(file) from error
        raise
    wrong = [*report["missing_keys"], *map(str, report["mismatched_keys"])]
    if not ignore_extra:
        wrong += report["unexpected_keys"]
    if wrong:
        raise MegastyleError(
            f"{folder} does not fit {type(model).__name__}: {len(wrong)} weights are missing, extra"
            f" or of another shape, such as {wrong[0]}",
            hint=download_again(folder),
        )
    return model.eval()


def fingerprint(weights: Weights) -> str:
    """8 hex digits over the names and bytes of `weights`."""
    digest = hashlib.sha256()
    for name, w in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(w.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:8]


def first_values(weights: Weights) -> Weights:
    """The first 64 values of every tensor: enough to tell models apart without reading 24 GB again.

    In bfloat16, so that a model has one name in whatever dtype it runs.
    """
    return {name: weight.flatten()[:64].bfloat16() for name, weight in weights.items()}


def _count(names: list[str], what: str) -> str:
    return f"{len(names)} {what}" + (f", such as {names[0]}" if names else "")
