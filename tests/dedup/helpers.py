"""Texts, records and plain-Python references for the tests of dedup."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.config import DedupConfig, NearConfig
from megastyle_cli.dedup.deduplicate import (
    Decisions,
    Duplicate,
    collect_signatures,
    find_duplicates,
)
from megastyle_cli.dedup.exact import normalize
from megastyle_cli.dedup.semantic import TextSource
from megastyle_cli.io.embedding_cache import EmbedTexts
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.runner.progress import Stage

Array = npt.NDArray[Any]

WORDS = [a + b for a in "bcdfghklmn" for b in ("alo", "eru", "ita", "omi", "unda", "ysto")]
ODD = [
    "",
    " \t\n",
    "\0",
    "\ud800",
    "\udfff\ud800 twice",
    "one",
    "!!!",
    "...",
    "\U0001f600",
    "\U0001f601",
    "\U0001f600 \U0001f3a8",
    "\u05e9\u05de\u05df \u05e2\u05dc \u05d1\u05d3",
    "\u202eabc\u202c def",
    "\u5f69\u58a8\u753b\u98ce\u683c",
    "a\u0301 e\u0301",
    "\ufb01ne \u00c5 stra\u00dfe",
    "x" * 5000,
    "word " * 3000,
]


def decide(
    texts: Sequence[str],
    config: DedupConfig,
    embedders: Sequence[EmbedTexts] = (),
    *,
    workers: int = 1,
    ids: Sequence[str] | None = None,
    block: int = 4096,
) -> Decisions:
    """The decisions on texts as a run makes them: read in blocks, then again from a spool."""
    blocks = (texts[start : start + block] for start in range(0, len(texts), block))
    engine = LocalEngine(workers)
    store = collect_signatures(map(StringArray.from_strings, blocks), config, engine)
    with Spool() as spool:
        for row, text in enumerate(texts):
            spool.add({"id": ids[row] if ids else f"{row:012}", "text": text})
        source = TextSource(spool, "text")
        return find_duplicates(store, config, source, embedders, engine, quiet_stage())


def decide_near(texts: Sequence[str], near: NearConfig) -> Decisions:
    """The decisions of the exact and near stages."""
    return decide(texts, DedupConfig(near=near))


def quiet_stage() -> Stage:
    return Stage("dedup", quiet=True, to_stdout=False)


def pairs_of(found: Decisions | list[Duplicate]) -> list[tuple[int, int]]:
    """Dropped rows and the rows that they duplicate."""
    return [(one.row, one.duplicate_of) for one in found]


def prompts(count: int, seed: int) -> list[str]:
    """Prompts of 5 to 30 words; 40 % repeat another with up to three words changed or dropped."""
    rng = random.Random(seed)
    made: list[str] = []
    for _ in range(count):
        words = rng.choices(WORDS, k=rng.randint(5, 30))
        if made and rng.random() < 0.4:
            words = rng.choice(made).split()
            for _ in range(rng.randint(0, 3)):
                at = rng.randrange(len(words))
                words[at : at + rng.randint(0, 1)] = [rng.choice(WORDS)]
        made.append(" ".join(words))
    return made


def captions() -> list[str]:
    """Sentences of one template in all combinations of their attributes."""
    edges = ["sharp edges", "soft edges"]
    lights = ["flat unshaded", "bright scattered", "very dark patchy", "mid-toned top-down"]
    colors = ["white and slate", "teal and rust", "plum and sand", "white and royal blue"]
    return [
        f"In the style of muted shaded graphic, {color} with {accent} accents, {light} lighting,"
        f" partly textured surface, {edge}, in gradient shaded graphic."
        for color in colors
        for accent in ["silver", "gold", "lime", "denim"]
        for light in lights
        for edge in edges
    ]


def odd_texts(count: int, seed: int) -> list[str]:
    """Random characters of many scripts, unpaired surrogates and control characters included."""
    rng = random.Random(seed)
    ranges = [(0, 0x20), (0x20, 0x7F), (0x5D0, 0x5EA), (0x3040, 0x3060), (0x4E00, 0x4E20)]
    ranges += [(0xD800, 0xDFFF), (0x1F600, 0x1F640), (0x300, 0x36F), (0x2000, 0x206F)]
    ranges += [(0xC0, 0x17F)]
    return [
        "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 30)))
        for _ in range(count)
    ]


def plain_texts(count: int, seed: int) -> list[str]:
    """Printable ASCII, words of up to 20 letters, some of them repeated often."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("ab_0Z", k=rng.randint(1, 20))) for _ in range(90)]
    return [
        "".join(rng.choice(words) + rng.choice(" .,-'") for _ in range(rng.randint(0, 120)))
        for _ in range(count)
    ]


def word_ngrams(text: str, ngram: int) -> set[tuple[str, ...]]:
    words = normalize(text).split()
    return {tuple(words[i : i + ngram]) for i in range(max(1, len(words) - ngram + 1))}


def jaccard(first: str, second: str, ngram: int) -> float:
    a, b = word_ngrams(first, ngram), word_ngrams(second, ngram)
    return len(a & b) / len(a | b)


def unit(vectors: Array) -> Array:
    """Rows of length 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def lookup(vectors: Array) -> EmbedTexts:
    """An embedder that gives the text "text 7" row 7 of `vectors`."""
    return lambda texts: vectors[[int(text.split()[1]) for text in texts]]


def numbered(count: int) -> list[str]:
    """Texts for `lookup`."""
    return [f"text {row}" for row in range(count)]


def first_kept(
    count: int, similarity: Callable[[int, int], float], threshold: float
) -> list[tuple[int, int]]:
    """The rule of dedup, over all pairs: (row, the first kept row that is close enough)."""
    kept: list[int] = []
    found = []
    for row in range(count):
        keeper = next((at for at in kept if similarity(row, at) >= threshold), None)
        if keeper is None:
            kept.append(row)
        else:
            found.append((row, keeper))
    return found
