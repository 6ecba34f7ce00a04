"""A model of transformers made from its config and exactly the weights it was given."""

import hashlib
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from megastyle_cli.core.errors import MegastyleError

Weights = dict[str, Tensor]
Model = TypeVar("Model", bound=PreTrainedModel)


def told_config(folder: Path) -> dict[str, Any]:
    """What a model folder's config.json says. Raises MegastyleError if it says nothing."""
    try:
        told: Any = PreTrainedConfig.get_config_dict(folder, local_files_only=True)[0]
    except OSError:  # what is no JSON
        told = {}
    if not isinstance(told, dict) or not told:
        raise MegastyleError(
            f"{folder} has no config.json that can be read", hint="give a model's whole folder"
        )
    return told


def configured(kind: type[PreTrainedModel], told: dict[str, Any], origin: str) -> Any:
    """The config of a `kind` as `told`.

    Raises MegastyleError if it is another model's, or if no model can be made of it.
    """
    wanted: Any = kind.config_class
    if told.get("model_type", wanted.model_type) != wanted.model_type:
        raise MegastyleError(
            f"{origin} holds a {told['model_type']}, not a {wanted.model_type}",
            hint="give another model, or the --backend that runs this one",
        )
    try:
        config = wanted.from_dict(told)
        with torch.device("meta"):
            kind(config)
    except Exception as fault:  # whatever a size that makes no network raises in transformers
        reason = str(fault).strip().partition("\n")[0]
        raise MegastyleError(
            f"{origin} makes no {kind.__name__}: {reason}", hint="mend its config"
        ) from fault
    return config


def fitted(kind: type[Model], config: Any, weights: Weights, origin: str, part: str = "") -> Model:
    """A `kind` that holds exactly `weights`, as float32.

    Raises MegastyleError with the counts unless every tensor has its place and its shape; `part`
    says in it which of the model's tensors were counted.
    """
    with torch.device("meta"):
        wanted = {name: w.shape for name, w in kind(config).state_dict().items()}
    lacking = [n for n, shape in wanted.items() if getattr(weights.get(n), "shape", None) != shape]
    extra = [name for name in weights if name not in wanted]
    if lacking or extra:
        raise MegastyleError(
            f"{origin} fits {len(wanted) - len(lacking)} of {len(wanted)} tensors{part}"
            f" ({_first(lacking, 'missing or of another shape')}; {_first(extra, 'too many')})",
            hint="give the weights of this model and size, and nothing else",
        )
    disable_progress_bar()  # type: ignore[no-untyped-call]
    single = {name: w.float() for name, w in weights.items()}
    # Checked above; this way the model is not drawn first, which takes longer than reading it.
    model: Model = kind.from_pretrained(None, config=config, state_dict=single)
    return model


def fingerprint(weights: Weights) -> str:
    """8 hex digits over the names and bytes of `weights`."""
    digest = hashlib.sha256()
    for name, w in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(w.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:8]


def first_values(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The start of every tensor: enough to tell models apart without reading 24 GB again.

    In bfloat16, so that a model has one name in whatever dtype it runs.
    """
    return {name: weight.flatten()[:64].bfloat16() for name, weight in weights.items()}


def _first(names: list[str], what: str) -> str:
    return f"{len(names)} {what}" + (f", such as {names[0]}" if names else "")
