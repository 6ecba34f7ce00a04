"""The provenance of a FLUX training, in run.json: frozen weights, LoRA, options, versions."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.hub import find_lora
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.run_folder import record_made_with
from megastyle_cli.training.flux.trainer import FluxTrainer

PACKAGES = (
    *("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "pillow"),
    *("torchao", "bitsandbytes"),
)


def record_provenance(trainer: FluxTrainer, inputs: Sequence[str], options: RunOptions) -> None:
    """Writes the provenance of this start to run.json, beside the options that identify the run.

    Raises MegastyleError if the run was started with other frozen weights. Called on every rank;
    the first writes.
    """
    if not trainer.accelerator.is_main_process:
        return
    config, model, folder = trainer.config, trainer.trainable.model, trainer.folder
    facts = {
        "model": model,
        "lora": config.lora and _sha256(find_lora(config.lora)),
        "dtype": str(trainer.dtype).removeprefix("torch."),
        "options": {
            "inputs": list(inputs),
            "limit": options.limit,
            "label": config.label,
            "holdout": config.holdout,
            "split_key": config.split_key,
            "max_errors": options.max_errors,
            **config.execution_options,
        },
        "packages": _package_versions(),
    }
    before = record_made_with(folder, facts)
    if before.get("model", model).rpartition("@")[2] != model.rpartition("@")[2]:
        raise MegastyleError(
            f"{folder} was started with {before['model']}, not {model}",
            hint="give the same --model, or another -o",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _package_versions() -> dict[str, str]:
    """The versions of Python and of those PACKAGES that are installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
