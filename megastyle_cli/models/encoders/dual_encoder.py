"""Pictures and texts as vectors of one space: the two towers of a whole CLIP or SigLIP."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.batching import Array
from megastyle_cli.models.encoders.siglip_vision import folder_weights, model_folder
from megastyle_cli.models.encoders.style_encoder import ClipEncoder, SiglipEncoder, named
from megastyle_cli.models.encoders.text_tower import ClipTextEmbedder, SiglipTextEmbedder
from megastyle_cli.models.protocols import StyleEncoder, TextEmbedder
from megastyle_cli.models.strict_weights import fingerprint, told_config

Towers = tuple[
    type[ClipEncoder] | type[SiglipEncoder], type[ClipTextEmbedder] | type[SiglipTextEmbedder]
]

TOWERS: dict[str, Towers] = {
    "clip": (ClipEncoder, ClipTextEmbedder),
    "siglip": (SiglipEncoder, SiglipTextEmbedder),
}
PLACES = ("vision_model.", "visual_projection.", "text_model.", "text_projection.", "logit_")


class TextImage:
    """A whole CLIP or SigLIP, as its config.json has it: a folder or hub NAME[@REVISION].

    Pictures and texts are prepared as in the model's training; see the encoders and embedders of
    TOWERS. The text tower is read with the first text, so pictures do not wait for it. `name` ends
    with 8 hex digits over the weights of both. Raises MegastyleError if there is no such model or
    its weights do not fit to the last tensor.
    """

    def __init__(self, model: str | None = None, device: str | None = None) -> None:
        self.folder = model_folder(named(model, "text-image"))
        kind = told_config(self.folder).get("model_type")
        if kind not in TOWERS:
            raise MegastyleError(
                f"{model} holds a {kind}, not a whole CLIP or SigLIP",
                hint="give one with both towers, such as openai/clip-vit-large-patch14",
            )
        weights = folder_weights(self.folder)
        if strange := [name for name in weights if not name.startswith(PLACES)]:
            raise MegastyleError(
                f"{model} holds {len(strange)} tensors of neither tower, such as {strange[0]}",
                hint="give the weights of the model, and nothing else",
            )
        picture_tower, self._text_tower = TOWERS[kind]
        self.pictures = picture_tower(model, device)
        self.name = f"{model}@{fingerprint(weights)}"

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB pictures of any size."""
        return self.pictures.embed(pictures)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Unit rows (n, d) float32; a text of more tokens than the model has places is cut."""
        return self.texts.embed(texts)

    @cached_property
    def texts(self) -> TextEmbedder:
        """The text tower."""
        return self._text_tower(self.folder, str(self.pictures.device))


def siglip_encoder(model: str | None = None, device: str | None = None) -> StyleEncoder:
    """The style encoder of a SigLIP; it has a TextEncoder if `model` is a whole one.

    Raises MegastyleError if the folder `model` is a CLIP's.
    """
    kind = _kind(model)
    if kind.startswith("clip"):
        raise MegastyleError(f"{model} holds a {kind}, not a SigLIP", hint="add --backend clip")
    return TextImage(model, device) if kind == "siglip" else SiglipEncoder(model, device)


def clip_encoder(model: str | None = None, device: str | None = None) -> StyleEncoder:
    """The style encoder of a CLIP or CSD; it has a TextEncoder if `model` is a whole CLIP."""
    return TextImage(model, device) if _kind(model) == "clip" else ClipEncoder(model, device)


def _kind(model: str | None) -> str:
    """What the config of a model's folder calls it; "" of a single file."""
    if model is None or Path(model).expanduser().is_file():
        return ""
    return str(told_config(model_folder(model)).get("model_type", ""))
