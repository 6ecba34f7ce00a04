"""What every backend promises: five protocols of one method each, and a table to find them by name.

Light on purpose: no backend is imported before `load` is asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from megastyle_cli.choices import Kind
from megastyle_cli.errors import MegastyleError
from megastyle_cli.style import StyleAttributes

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]

Role = Literal["captioner", "text_embedder", "style_encoder", "painter", "stylist"]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a captioner saw in one picture; what it cannot tell is None or absent."""

    style: StyleAttributes | None = None
    content: str | None = None
    confidence: dict[str, float] = field(default_factory=dict)  # name of a guess -> [0, 1]


@dataclass(frozen=True, kw_only=True)
class PictureRequest:
    """What a painter or stylist is asked for.

    `references` are style pictures, `weights` their shares (same length, sum 1); `reference_keys`
    name them, so that a backend computes what it needs of a style picture once. `long_side` is in
    pixels; None keeps the content picture's size. `strength` is in [0, 1]: 0 leaves the content
    picture as it is.
    """

    content: str | None = None
    content_picture: Image | None = None
    style: str | None = None
    references: tuple[Image, ...] = ()
    reference_keys: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    strength: float = 1.0
    long_side: int | None = None
    seed: int = 0


class Captioner(Protocol):
    """Pictures (RGB) to descriptions: same length, same order, each independent of its batch."""

    name: str

    def describe(self, pictures: Sequence[Image], kind: Kind) -> list[Description]: ...


class TextEmbedder(Protocol):
    """Texts to unit vectors (n, d) float32: same order, each row independent of its batch."""

    name: str

    def embed(self, texts: Sequence[str]) -> Array: ...


class StyleEncoder(Protocol):
    """Pictures (RGB) to unit rows (n, d) float32: same order, each independent of its batch."""

    name: str

    def embed(self, pictures: Sequence[Image]) -> Array: ...


class Painter(Protocol):
    """Requests to pictures (RGB): same length, same order; the same request gives the same picture.

    A request the backend cannot paint raises BadRecord("missing_key", ...) naming what could.
    """

    name: str

    def paint(self, requests: Sequence[PictureRequest]) -> list[Image]: ...


class Stylist(Protocol):
    """As Painter, for one reference style over a prompt or a content picture."""

    name: str

    def restyle(self, requests: Sequence[PictureRequest]) -> list[Image]: ...


BACKENDS: dict[str, dict[str, str]] = {
    "captioner": {"builtin": "megastyle_cli.models.builtin.captioner:PixelCaptioner"},
    "text_embedder": {
        "builtin": "megastyle_cli.models.builtin.text_embedder:StaticEmbedder",
        "sentence-transformers": "megastyle_cli.models.text_embedder:SentenceEmbedder",
    },
    "style_encoder": {
        "builtin": "megastyle_cli.models.builtin.style_encoder:StyleDescriptor",
        "edges": "megastyle_cli.models.builtin.style_encoder:EdgeDescriptor",
        "imagenet": "megastyle_cli.models.builtin.imagenet:ImagenetDescriptor",
        "siglip": "megastyle_cli.models.style_encoder:SiglipEncoder",
    },
    "painter": {"builtin": "megastyle_cli.models.builtin.painter:MagentaPainter"},
    "stylist": {"builtin": "megastyle_cli.models.builtin.stylist:MagentaStylist"},
}


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
            hint="pip install 'megastyle[builtin]'"
            if backend in BACKENDS[role]
            else f"pip install {missing.name}",
        ) from missing
    if not hasattr(module, class_name):
        raise MegastyleError(f"{module_name} has no class {class_name!r}", hint="check --backend")
    return getattr(module, class_name)(**options)
