"""What each kind of model backend provides: a protocol of one to three methods per role."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from megastyle_cli.core.choices import CaptionKind
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.style import StyleAttributes

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]

Built = TypeVar("Built")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a captioner found in one image; what it cannot determine is None or absent.

    `sentence` is a style prompt in the captioner's own words; without one, a prompt is built from
    the attributes. `notes` go into the record's provenance.
    """

    style: StyleAttributes | None = None
    sentence: str | None = None
    content: str | None = None
    confidence: dict[str, float] = field(default_factory=dict)  # probability [0, 1] by attribute
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VisionPrompt:
    """An image, what a vision-language model is asked about it, and the maximum answer length.

    `instruction` is the same for many images and precedes the image, so that a server with prefix
    caching computes it once; `question` follows the image.
    """

    image: Image
    instruction: str
    question: str
    max_tokens: int


class UnusableAnswer(NamedTuple):
    """An answer without a usable text: the kind of error, the reason, and the text, if any."""

    kind: Literal["truncated", "refusal", "empty"]
    message: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class PictureRequest:
    """What a painter or stylist is asked to generate.

    `references` are style images and `weights` their shares (same length, sum 1);
    `reference_keys` identify them, so that a backend encodes each style image once. `long_side` is
    in pixels; None keeps the size of the content image, or leaves it to the painter when there is
    none. `size_px` is an explicit (width, height). `strength` is in [0, 1]: 0 returns the content
    image unchanged, or renders the prompt without the references.
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
    """Describes RGB images: same length and order, each result independent of its batch.

    An image that cannot be described gives a BadRecord with the reason. An iterator that describes
    one image at a time is stopped between two.
    """

    name: str

    def describe(
        self, pictures: Sequence[Image], kind: CaptionKind
    ) -> Iterable[Description | BadRecord]: ...


@runtime_checkable
class VisionLanguageModel(Protocol):
    """Answers prompts about images: same length and order, each result independent of its batch.

    A caption backend of this kind is wrapped by captioning/prompted_captioner.py, which writes the
    prompts, validates the answers and asks again. `generate` is called from `num_threads` threads
    at a time, each with about `batch_size` prompts. A prompt that cannot be answered gives
    BadRecord("model_error", ...), and one whose answer was cut off or withheld UnusableAnswer.
    """

    name: str
    num_threads: int
    batch_size: int

    def generate(
        self, prompts: Sequence[VisionPrompt]
    ) -> Sequence[str | UnusableAnswer | BadRecord]: ...


class TextEmbedder(Protocol):
    """Texts to unit vectors (n, d) float32: same order, each row independent of its batch.

    Optional attributes: `batch_size`, the number of texts worth a call, and `is_parallel`, whether
    calls may run at the same time, in threads or in processes that load the embedder by name.
    """

    name: str

    def embed(self, texts: Sequence[str]) -> Array: ...


class StyleEncoder(Protocol):
    """RGB images to unit rows (n, d) float32: same order, each row independent of its batch.

    One that can also compare images with texts is a TextEncoder as well. The optional attribute
    `batch_size` is above 1 where a device computes: the next images are decoded meanwhile. The
    optional attribute `trained_on` lists the styles, and the groups of styles, that it was fitted
    on, as benchmarks name them.
    """

    name: str

    def embed(self, pictures: Sequence[Image]) -> Array: ...


@runtime_checkable
class TextEncoder(Protocol):
    """The text side of some style encoders: texts to unit rows (n, d) in the space of the images.

    Test for it with `isinstance(encoder, TextEncoder)`.
    """

    def embed_texts(self, texts: Sequence[str]) -> Array: ...


class TextImageModel(StyleEncoder, TextEncoder, Protocol):
    """Images and texts to unit rows of one space; their inner product is the text score."""


class Painter(Protocol):
    """Requests to RGB images: same length and order; the same request gives the same image.

    A request that the backend cannot render raises BadRecord("missing_key", ...) naming what is
    missing, or has its BadRecord in its place in the result. An iterator that makes one image at a
    time is stopped between two. One that makes several together may have `paint_batches` as well,
    an iterator of lists of them.
    """

    name: str

    def paint(self, requests: Sequence[PictureRequest]) -> Iterable[Image | BadRecord]: ...


class Stylist(Protocol):
    """Like Painter, for a reference style applied to a prompt or a content image.

    The optional method is `restyle_batches`.
    """

    name: str

    def restyle(self, requests: Sequence[PictureRequest]) -> Iterable[Image | BadRecord]: ...


class Ranks(Protocol):
    """The processes of a launcher (one for each GPU), as the first of them sees them.

    `start` makes the others load what they work with, and `work` is what the first does with its
    own share: items, and `how` to do it, to a result for each. `map` sends an equal share of
    `items` to each of the `world` processes and returns all results in order. `share`, which all
    processes call, returns on each what `build` returns on the first; the others do `work` then.
    """

    world: int
    work: Callable[[Sequence[Any], Any], Sequence[Any]]

    def start(self) -> None: ...

    def map(self, items: Sequence[Any], how: Any = None) -> list[Any]: ...

    def share(
        self, build: Callable[[], Built], work: Callable[[Sequence[Any], Any], Sequence[Any]]
    ) -> Built: ...


class SafetyClassifier(Protocol):
    """RGB images to the probability that each is unsafe, in order, independent of the batch."""

    name: str

    def unsafe(self, pictures: Sequence[Image]) -> list[float]: ...


class Assigner(Protocol):
    """The k-means assignment of points (m, d) float32, each compared with all centroids (k, d).

    `name` states the device and its precision; `block_rows` is the number of points per call.
    """

    name: str
    block_rows: int

    def upload(self, means: Array, halves: Array, leave: Array, join: Array) -> Any:
        """The centroids in the form that `assign` takes: see `Centroids` in kmeans_assign.py."""

    def assign(self, points: Array, own: Any, centroids: Any) -> tuple[Any, Array]:
        """The cluster (m,) of least cost and the squared distance (m,) to its centroid.

        The cost of the point's own cluster (m,) is its `leave` times the squared distance; the
        cost of any other is that cluster's `join` times the squared distance.
        """

    def cluster_sums(self, points: Array, edges: Any) -> Array:
        """The sums (c, d) of `points[edges[i]:edges[i + 1]]`."""
