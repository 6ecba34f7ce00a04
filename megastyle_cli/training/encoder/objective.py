"""The loss of a global batch: style contrast and image-text agreement, weighed and added."""

import torch
from torch import Tensor

from megastyle_cli.training.encoder.losses import Term, image_text, style_contrast
from megastyle_cli.training.encoder.prompts import TextSide

# n pictures of the global batch, p unique prompts of all styles, d width


class Objective:
    """L = style contrast + `text_weight` x image-text term, whose prompts `text` holds by style.

    Calling it gives the gradient; `losses` then says what the terms were. The prompts are encoded
    once and looked up by style, so that only numbers of styles travel between ranks. Styles that
    share a prompt share its column, or a picture would be pushed from the words it is drawn to.
    Source: the two terms and their equal weight are the paper's.
    """

    def __init__(
        self, temperature: float, text_weight: float, text: TextSide | None, device: torch.device
    ) -> None:
        self.temperature, self.text_weight, self.text = temperature, text_weight, text
        self.prompts = torch.from_numpy(text.vectors).to(device) if text else None  # (p, d)
        self.prompt_of = torch.from_numpy(text.own).to(device) if text else None  # (styles,)
        self.losses: dict[str, float] = {}

    def __call__(self, z: Tensor, styles: Tensor) -> Tensor:
        """The gradient (n, d) with respect to the unit rows `z` (n, d) of `styles` (n,)."""
        contrast = style_contrast(z, styles, self.temperature)
        agreement = self._agreement(z, styles)
        self.losses = {"loss": float(contrast.loss), "style_loss": float(contrast.loss)}
        gradient = contrast.gradient
        if agreement is not None:
            self.losses["loss"] += self.text_weight * float(agreement.loss)
            self.losses["text_loss"] = float(agreement.loss)
            gradient = gradient + self.text_weight * agreement.gradient
        self.losses["without_positive"] = contrast.share_left_out
        return gradient

    def _agreement(self, z: Tensor, styles: Tensor) -> Term | None:
        if self.text is None or self.prompts is None or self.prompt_of is None:
            return None
        unique, own = torch.unique(self.prompt_of[styles], return_inverse=True)
        return image_text(z, self.prompts[unique], own, self.text.scale, self.text.bias)
