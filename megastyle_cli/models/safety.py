"""An image classifier of transformers as a safety filter: any with labels such as nsfw.

Weights are read from .safetensors only; no code beside them is run.
"""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import resolve_device
from megastyle_cli.models.hub import find_model, unavailable
from megastyle_cli.models.strict_weights import load_strictly

PROCESSOR: Any = AutoImageProcessor  # transformers has no types for it
UNSAFE = {"nsfw", "unsafe", "porn", "hentai", "sexy", "explicit", "nude", "sexual", "gore"}


class LabelClassifier:
    """The sum of the probabilities of the labels that mean unsafe (UNSAFE, any case).

    `model` is a folder or a hub NAME[@REVISION]. Images are classified one at a time. Raises
    MegastyleError if the model is unavailable, of another kind, or has no such label.
    """

    def __init__(self, model: str, device: str | None = None) -> None:
        self.device = resolve_device(device)
        folder = find_model(model, "classifier", hint="check --nsfw, or: open_nsfw")
        try:
            self.processor = PROCESSOR.from_pretrained(folder, local_files_only=True)
            loaded = load_strictly(AutoModelForImageClassification, folder)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            hint = "name the folder or hub model of an image classifier, or open_nsfw"
            raise unavailable("classifier", model, error, hint) from error
        labels = loaded.config.id2label
        self.unsafe_rows = [row for row, label in labels.items() if str(label).lower() in UNSAFE]
        if not self.unsafe_rows:
            found = ", ".join(map(str, list(labels.values())[:5]))
            raise MegastyleError(
                f"{model} has the labels {found}: none is one of {', '.join(sorted(UNSAFE))}",
                hint="give a safety classifier, or open_nsfw",
            )
        self.model = loaded.to(self.device)
        self.name = model

    @torch.inference_mode()
    def unsafe(self, pictures: Sequence[Image.Image]) -> list[float]:
        """A probability for each picture (RGB), in order."""
        return [self._unsafe(picture) for picture in pictures]

    def _unsafe(self, picture: Image.Image) -> float:
        inputs = self.processor(images=picture, return_tensors="pt").to(self.device)
        shares = self.model(**inputs).logits.float().softmax(-1)[0]
        return float(shares[self.unsafe_rows].sum())
