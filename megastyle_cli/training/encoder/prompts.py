"""The text side of the loss: frozen vectors of the unique style prompts, made once and kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megastyle_cli.core.atomic_file import atomic_path
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.siglip_vision import encoder_folder, is_whole_siglip
from megastyle_cli.models.hub import FILE_SUFFIXES
from megastyle_cli.models.protocols import TextEmbedder
from megastyle_cli.models.registry import load

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Rows = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

# s prompts asked for, p unique ones of them, d width of the image tower, t width of a text embedder

# What SigLIP's own training starts from (Zhai et al. 2023); for text vectors that are not its own.
SCALE, BIAS = 10.0, -10.0


@dataclass(frozen=True, kw_only=True)
class TextSide:
    """Unit rows (p, d) of the unique prompts, and how a cosine becomes a logit.

    `own` (s,) is the row of each prompt asked for.
    """

    vectors: Array
    own: Rows
    scale: float
    bias: float
    name: str


def text_side(prompts: Sequence[str], model: str, width: int, kept: Path, device: str) -> TextSide:
    """The vectors of `prompts`, from the file `kept` where it has them, else made and put there.

    A whole SigLIP folder or hub name encodes them with its own text tower. Else the builtin static
    vectors stand in, carried to `width` by a fixed matrix: they say which styles are described
    alike, and know nothing of pictures. The stand-in is ours.
    """
    embedder, scale, bias = _embedder(model, width, device)
    known = _read(kept)
    unique = list(dict.fromkeys(prompts))
    keys = [_key(embedder.name, width, prompt) for prompt in unique]
    new = [(key, prompt) for key, prompt in zip(keys, unique, strict=True) if key not in known]
    if new:
        rows = embedder.embed([prompt for _, prompt in new])
        if rows.shape[1] != width:
            rows = carried(rows, width)
        known |= {key: row for (key, _), row in zip(new, rows, strict=True)}
        _write(kept, known)
    vectors = np.stack([known[key] for key in keys])
    row_of = {prompt: row for row, prompt in enumerate(unique)}
    own = np.array([row_of[prompt] for prompt in prompts], np.int64)
    return TextSide(vectors=vectors, own=own, scale=scale, bias=bias, name=embedder.name)


def carried(rows: Array, width: int) -> Array:
    """Unit rows (p, t) as unit rows (p, width), by a fixed matrix with orthonormal rows or columns.

    To a larger width it keeps every cosine; to a smaller one it projects.
    """
    t = rows.shape[1]
    noise = np.random.default_rng(0).standard_normal((max(t, width), min(t, width)))
    basis, triangle = np.linalg.qr(noise)
    basis *= np.sign(np.diag(triangle))  # one answer, whichever signs the library chose
    moved = rows.astype(np.float64) @ (basis.T if width >= t else basis)
    unit: Array = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _embedder(model: str, width: int, device: str) -> tuple[TextEmbedder, float, float]:
    if Path(model).suffix not in FILE_SUFFIXES:
        folder = encoder_folder(model)
        if is_whole_siglip(folder):
            from megastyle_cli.models.encoders.text_tower import SiglipTextEmbedder

            tower = SiglipTextEmbedder(folder, device)
            return tower, tower.scale, tower.bias
    return load("text_embedder", "builtin"), SCALE, BIAS


def _key(embedder: str, width: int, prompt: str) -> str:
    told = f"{embedder}\0{width}\0{prompt}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(told).hexdigest()


def _read(kept: Path) -> dict[str, Array]:
    if not kept.exists():
        return {}
    try:
        with np.load(kept, allow_pickle=False) as held:
            return dict(zip(held["keys"].tolist(), held["vectors"], strict=True))
    except (OSError, ValueError, KeyError, EOFError) as fault:
        raise MegastyleError(f"{kept} is damaged: {fault}", hint="delete it") from fault


def _write(kept: Path, known: dict[str, Array]) -> None:
    with atomic_path(kept, durable=False, shared=True) as path, path.open("wb") as file:
        np.savez(file, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
