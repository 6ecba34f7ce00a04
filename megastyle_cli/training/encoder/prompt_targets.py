"""Text targets of the style encoder: embeddings of the unique style prompts, computed once."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megastyle_cli.core.atomic_file import atomic_path
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.siglip_vision import encoder_path, is_whole_siglip
from megastyle_cli.models.protocols import TextEmbedder
from megastyle_cli.models.registry import load

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Rows = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

# s prompts requested, p unique ones, d width of the image tower, t width of the text embedder

# The values SigLIP starts its training from (Zhai et al. 2023); used with other text embedders.
SCALE, BIAS = 10.0, -10.0


@dataclass(frozen=True, kw_only=True)
class PromptTargets:
    """Unit vectors (p, d) of the unique prompts, and the scale and bias that turn cosine to logit.

    `rows` (s,) holds the vector's row for each requested prompt; `name` is the embedder's.
    """

    vectors: Array
    rows: Rows
    scale: float
    bias: float
    name: str


def prompt_targets(
    prompts: Sequence[str], model: str, width: int, cache_file: Path, device: str
) -> PromptTargets:
    """Embeddings of `prompts`, read from `cache_file` or computed and added to it.

    A complete SigLIP (folder or hub name) of the same `width` encodes them with its own text tower.
    Otherwise the builtin static vectors are projected to `width` by a fixed matrix: they tell which
    styles have similar descriptions, and know nothing about images. This fallback is ours.
    """
    embedder, scale, bias = _text_embedder(model, width, device)
    cached = _read_cache(cache_file)
    unique = list(dict.fromkeys(prompts))
    keys = [_cache_key(embedder.name, width, prompt) for prompt in unique]
    new = [(key, prompt) for key, prompt in zip(keys, unique, strict=True) if key not in cached]
    if new:
        rows = embedder.embed([prompt for _, prompt in new])
        if rows.shape[1] != width:
            rows = project(rows, width)
        cached |= {key: row for (key, _), row in zip(new, rows, strict=True)}
        _write_cache(cache_file, cached)
    row_of = {prompt: row for row, prompt in enumerate(unique)}
    return PromptTargets(
        vectors=np.stack([cached[key] for key in keys]),
        rows=np.array([row_of[prompt] for prompt in prompts], np.int64),
        scale=scale,
        bias=bias,
        name=embedder.name,
    )


def project(rows: Array, width: int) -> Array:
    """Unit rows (p, t) mapped to unit rows (p, width) by a fixed orthonormal matrix.

    To a larger width this keeps every cosine; to a smaller one it is a projection.
    """
    t = rows.shape[1]
    noise = np.random.default_rng(0).standard_normal((max(t, width), min(t, width)))
    basis, triangle = np.linalg.qr(noise)
    basis *= np.sign(np.diag(triangle))  # makes the result independent of the library's signs
    projected = rows.astype(np.float64) @ (basis.T if width >= t else basis)
    norms = np.linalg.norm(projected, axis=1, keepdims=True)
    unit: Array = (projected / norms).astype(np.float32)
    return unit


def text_source(init: str, text_model: str | None) -> str:
    """The model whose text encoder embeds the prompts: `text_model`, or else `init` itself.

    Raises MegastyleError if `text_model` has no text encoder.
    """
    if text_model is None:
        return init
    path = encoder_path(text_model)
    if path.is_dir() and is_whole_siglip(path):
        return text_model
    raise MegastyleError(
        f"--text-model {text_model} has no text encoder",
        hint="give a complete SigLIP, such as google/siglip-so400m-patch14-384",
    )


def check_text_embedder(model: str) -> str:
    """What would embed the prompts, in words; its tokenizer is loaded, and no weight.

    Raises MegastyleError if there is no tokenizer.
    """
    path = encoder_path(model)
    if path.is_dir() and is_whole_siglip(path):
        from megastyle_cli.models.encoders.text_tower import load_tokenizer

        load_tokenizer(path, 1)
        return "its own text tower, with a tokenizer"
    return str(load("text_embedder", "builtin").name)


def _text_embedder(model: str, width: int, device: str) -> tuple[TextEmbedder, float, float]:
    """The embedder of `model`, or the builtin one, with its logit scale and bias."""
    path = encoder_path(model)
    if path.is_dir() and is_whole_siglip(path):
        from megastyle_cli.models.encoders.text_tower import SiglipTextEmbedder

        tower = SiglipTextEmbedder(path, device)
        if tower.width != width:
            raise MegastyleError(
                f"the text encoder of {model} has {tower.width} dimensions, the image encoder has"
                f" {width}",
                hint="give --text-model the SigLIP that the image encoder began as",
            )
        return tower, tower.scale, tower.bias
    return load("text_embedder", "builtin"), SCALE, BIAS


def _cache_key(embedder: str, width: int, prompt: str) -> str:
    content = f"{embedder}\0{width}\0{prompt}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()


def _read_cache(path: Path) -> dict[str, Array]:
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    except (OSError, ValueError, KeyError, EOFError) as fault:
        raise MegastyleError(
            f"{path} is damaged: {fault}", hint="delete it; it will be rebuilt"
        ) from fault


def _write_cache(path: Path, cached: dict[str, Array]) -> None:
    with atomic_path(path, writer=str(os.getpid())) as temporary, temporary.open("xb") as file:
        np.savez(file, keys=np.array(list(cached)), vectors=np.stack(list(cached.values())))
