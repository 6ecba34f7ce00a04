"""A model of image classification as a safety filter: any of transformers with labels such as nsfw.

Weights come from .safetensors alone; no code that lies beside them is run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils.logging import disable_progress_bar

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import chosen_device

UNSAFE = {"nsfw", "unsafe", "porn", "hentai", "sexy", "explicit", "nude", "sexual", "gore"}


class LabelClassifier:
    """The probability, summed, of the labels of `model` that mean unsafe (UNSAFE, any case).

    `model` is a folder or a hub NAME[@REVISION]. Pictures are looked at one at a time. Raises
    MegastyleError if the model cannot be had, is of another kind, or has no such label.
    """

    def __init__(self, model: str, device: str | None = None) -> None:
        disable_progress_bar()  # type: ignore[no-untyped-call]
        self.device = chosen_device(device)
        self.processor = _pretrained(AutoImageProcessor, model)
        loaded, told = _pretrained(
            AutoModelForImageClassification,
            model,
            use_safetensors=True,
            output_loading_info=True,
        )
        if wrong := [*told["missing_keys"], *told["unexpected_keys"], *told["mismatched_keys"]]:
            raise MegastyleError(
                f"{model} has {len(wrong)} weights missing, too many or of another shape, such as"
                f" {wrong[0]}",
                hint="give a model of image classification, whole",
            )
        labels = loaded.config.id2label
        self.unsafe_rows = [row for row, label in labels.items() if str(label).lower() in UNSAFE]
        if not self.unsafe_rows:
            found = ", ".join(map(str, list(labels.values())[:5]))
            raise MegastyleError(
                f"{model} tells {found}: none of its labels is one of {', '.join(sorted(UNSAFE))}",
                hint="give a safety classifier, or open_nsfw",
            )
        self.model = loaded.eval().to(self.device)
        self.name = model

    @torch.inference_mode()
    def unsafe(self, pictures: Sequence[Image.Image]) -> list[float]:
        """A probability for each picture (RGB), in order."""
        return [self._unsafe(picture) for picture in pictures]

    def _unsafe(self, picture: Image.Image) -> float:
        inputs = self.processor(images=picture, return_tensors="pt").to(self.device)
        shares = self.model(**inputs).logits.float().softmax(-1)[0]
        return float(shares[self.unsafe_rows].sum())


def _pretrained(kind: Any, model: str, **how: Any) -> Any:
    folder = Path(model).expanduser()
    if not folder.is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise MegastyleError(f"there is no classifier {model}", hint="check --nsfw, or: open_nsfw")
    name, _, revision = (str(folder), "", "") if folder.is_dir() else model.partition("@")
    try:
        return kind.from_pretrained(
            name, revision=revision or "main", local_files_only=folder.is_dir(), **how
        )
    except (OSError, ValueError, KeyError, RuntimeError) as fault:
        reason = str(fault).strip().partition("\n")[0]
        raise MegastyleError(
            f"the classifier {model!r} cannot be had: {reason}",
            hint="name the folder or hub model of an image classifier, or open_nsfw",
        ) from fault
