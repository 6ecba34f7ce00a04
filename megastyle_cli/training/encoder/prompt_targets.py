"""Text targets of the style encoder: embeddings of the unique style prompts, computed once.

A folder caches them in files of BLOCK prompts, each written as soon as it is embedded: a run that
is killed loses the block in work. Each rank embeds and writes a share.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

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
BLOCK = 2048  # prompts in a file: some seconds of a large text tower on a GPU


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
    prompts: Sequence[str],
    model: str,
    width: int,
    cache: Path,
    device: str,
    *,
    rank: int = 0,
    world: int = 1,
    gather: Callable[[list[Any]], list[Any]] = list,
) -> PromptTargets:
    """Embeddings of `prompts`, read from the folder `cache` or computed and added to it.

    Each of `world` ranks must call it and computes a share; `gather` joins the lists of all ranks.
    They wait for each other only as long as their shares differ. A complete SigLIP (folder or hub
    name) of the same `width` encodes them with its own text tower. Otherwise the builtin static
    vectors are projected to `width` by a fixed matrix: they tell which styles have similar
    descriptions, and know nothing about images. This fallback is ours.
    """
    embedder, scale, bias = _text_embedder(model, width, device)
    cached = _read_cache(cache)
    unique = list(dict.fromkeys(prompts))
    keys = [_cache_key(embedder.name, width, prompt) for prompt in unique]
    # ranks on other nodes may see other files
    missing = set().union(*gather([[key for key in keys if key not in cached]]))
    new = [(key, prompt) for key, prompt in zip(keys, unique, strict=True) if key in missing]
    mine = new[rank::world]
    blocks: list[tuple[Sequence[str], Array]] = []
    for start in range(0, len(mine), BLOCK):
        block_keys, texts = zip(*mine[start : start + BLOCK], strict=True)
        rows = embedder.embed(texts)
        if rows.shape[1] != width:
            rows = project(rows, width)
        _write_block(cache, block_keys, rows)
        blocks.append((block_keys, rows))
    for block_keys, rows in gather(blocks):
        cached |= zip(block_keys, rows, strict=True)
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


def _read_cache(folder: Path) -> dict[str, Array]:
    """The cached vectors by key. Raises MegastyleError if a file is damaged."""
    cached: dict[str, Array] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as stored:
                cached |= zip(stored["keys"].tolist(), stored["vectors"], strict=True)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as fault:
            raise MegastyleError(
                f"{path} is damaged: {fault}", hint="delete it; it will be rebuilt"
            ) from fault
    return cached


def _write_block(folder: Path, keys: Sequence[str], vectors: Array) -> None:
    """Writes vectors to a file named after their keys, so that no two ranks write the same one."""
    name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.npz"
    with atomic_path(path) as temporary, temporary.open("xb") as file:
        np.savez(file, keys=np.array(keys), vectors=vectors)
