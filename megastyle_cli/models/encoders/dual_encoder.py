"""Images and texts as vectors of one space: both towers of a whole CLIP or SigLIP."""

from collections.abc import Sequence
from functools import cached_property
from math import exp

from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.dinov2 import ContentTower
from megastyle_cli.models.encoders.inference import Array
from megastyle_cli.models.encoders.siglip_vision import encoder_path
from megastyle_cli.models.encoders.style_encoder import ClipEncoder, SiglipEncoder, require_model
from megastyle_cli.models.encoders.text_tower import ClipTextEmbedder, SiglipTextEmbedder
from megastyle_cli.models.protocols import StyleEncoder, TextEmbedder
from megastyle_cli.models.strict_weights import fingerprint, read_config
from megastyle_cli.models.tensor_files import read_folder_weights

Towers = tuple[
    type[ClipEncoder] | type[SiglipEncoder], type[ClipTextEmbedder] | type[SiglipTextEmbedder]
]

TOWERS: dict[str, Towers] = {
    "clip": (ClipEncoder, ClipTextEmbedder),
    "siglip": (SiglipEncoder, SiglipTextEmbedder),
}
PREFIXES = ("vision_model.", "visual_projection.", "text_model.", "text_projection.", "logit_")


class DualEncoder:
    """A whole CLIP or SigLIP, as its config.json states: a folder or hub NAME[@REVISION].

    Images and texts are prepared as in the model's training; see the encoders and embedders of
    TOWERS. The text tower is read with the first text, so images do not wait for it. `name` ends
    with 8 hex digits over the weights of both. Raises MegastyleError if there is no such model or
    its weights do not fit to the last tensor. `logit_scale` is the learned factor of the cosines
    of images and texts: 100 in the CLIPs that OpenAI released.
    """

    def __init__(
        self, model: str | None = None, device: str | None = None, dtype: str | None = None
    ) -> None:
        self.folder = encoder_path(require_model(model, "text-image"))
        kind = str(read_config(self.folder).get("model_type"))
        if kind not in TOWERS:
            raise MegastyleError(
                f"{model} holds a {kind}, not a complete CLIP or SigLIP",
                hint="give one with both towers, such as openai/clip-vit-large-patch14",
            )
        weights = read_folder_weights(self.folder)
        if extra := [name for name in weights if not name.startswith(PREFIXES)]:
            raise MegastyleError(
                f"{model} holds {len(extra)} tensors that belong to neither tower, such as"
                f" {extra[0]}",
                hint="give a file with only the weights of the model",
            )
        image_encoder, self._text_embedder = TOWERS[kind]
        self.images = image_encoder(model, device, dtype)
        self.name = f"{model}@{fingerprint(weights)}"
        self.revision, self.preprocessing = self.images.revision, self.images.preprocessing
        self.logit_scale = exp(float(weights["logit_scale"])) if "logit_scale" in weights else None
        self.kind = kind

    @property
    def batch_size(self) -> int:
        """How many images it takes at once; 1 on a CPU."""
        return self.images.batch_size

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB images of any size."""
        return self.images.embed(pictures)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Unit rows (n, d) float32; texts longer than the model reads are truncated."""
        return self.texts.embed(texts)

    @cached_property
    def texts(self) -> TextEmbedder:
        """The text tower."""
        return self._text_embedder(self.folder, str(self.images.device))


def siglip_encoder(
    model: str | None = None, device: str | None = None, dtype: str | None = None
) -> StyleEncoder:
    """The style encoder of a SigLIP; it embeds texts too if `model` is a whole one.

    Raises MegastyleError if the folder `model` is a CLIP's.
    """
    kind = _model_type(model)
    if kind.startswith("clip"):
        raise MegastyleError(f"{model} holds a {kind}, not a SigLIP", hint="add --backend clip")
    encoder = DualEncoder if kind == "siglip" else SiglipEncoder
    return encoder(model, device, dtype)


def clip_encoder(
    model: str | None = None, device: str | None = None, dtype: str | None = None
) -> StyleEncoder:
    """The style encoder of a CLIP or CSD; it embeds texts too if `model` is a whole CLIP."""
    encoder = DualEncoder if _model_type(model) == "clip" else ClipEncoder
    return encoder(model, device, dtype)


def encoder_by_config(
    model: str | None = None, device: str | None = None, dtype: str | None = None
) -> StyleEncoder:
    """The encoder of a CLIP or a DINOv2 if the config in its folder says so, else of a SigLIP."""
    kind = _model_type(model)
    if kind == "dinov2":
        return ContentTower(model, device, dtype)
    return (clip_encoder if kind.startswith("clip") else siglip_encoder)(model, device, dtype)


def _model_type(model: str | None) -> str:
    """The model_type in the config of a model's folder; "" for a single file."""
    if model is None or (path := encoder_path(model)).is_file():
        return ""
    return str(read_config(path).get("model_type", ""))
