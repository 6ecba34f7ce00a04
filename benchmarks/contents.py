"""How well near-duplicate settings separate rewritten contents from different contents.

    python benchmarks/contents.py

Short contents are drawn at random (an ImageNet class, what it does, where) and edited. A wrong
letter, a plural or an article leave the content the same; a dropped word, another word or another
subject change it. Prints the share of pairs that each setting takes as near duplicates, all pairs
compared, without MinHash.
"""

import argparse
import random
import sys
from collections.abc import Callable
from importlib.resources import files

import numpy as np

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.exact import normalize_block
from megastyle_cli.dedup.ngrams import ngram_sets
from megastyle_cli.dedup.options import NgramUnit

Edit = Callable[[str, random.Random], str | None]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAMES = files("megastyle_cli.models.builtin").joinpath("imagenet_names.txt").read_text()
THINGS = [line.split(",")[0].strip() for line in NAMES.splitlines()]
KINDS = [
    "red",
    "old",
    "small",
    "large",
    "wooden",
    "broken",
    "lonely",
    "ancient",
    "young",
    "golden",
    "wet",
    "giant",
    "tiny",
    "furry",
]
DOES = [
    "sitting",
    "standing",
    "running",
    "waiting",
    "flying",
    "swimming",
    "looking",
    "jumping",
    "resting",
    "walking",
]
BY = ["on", "near", "under", "beside", "behind", "above"]
PLACES = [
    "stone wall",
    "river bank",
    "wooden table",
    "city street",
    "mountain lake",
    "sandy beach",
    "old bridge",
    "market square",
    "snowy field",
    "window sill",
    "garden path",
    "dark forest",
    "harbour pier",
    "train station",
]
FORMS = (
    "a {kind} {thing} {does} {by} a {place}",
    "a {thing} {does} {by} a {place}",
    "a {thing} {by} a {place}",
    "a {kind} {thing}",
    "{thing}",
    "two {thing}s {does} {by} the {place}",
)
MEASURES: tuple[tuple[NgramUnit, int, tuple[float, ...]], ...] = (
    ("words", 1, (0.6, 0.75)),
    ("words", 2, (0.5, 0.75)),
    ("characters", 3, (0.78, 0.8, 0.82, 0.84)),
    ("characters", 4, (0.75, 0.78)),
    ("characters", 5, (0.6, 0.65)),
)
COUNT = 1500


def content(draw: random.Random) -> str:
    """A random content of one to eight words."""
    return draw.choice(FORMS).format(
        kind=draw.choice(KINDS),
        thing=draw.choice(THINGS),
        does=draw.choice(DOES),
        by=draw.choice(BY),
        place=draw.choice(PLACES),
    )


def letter(text: str, draw: random.Random) -> str | None:
    """A letter dropped, replaced or swapped with the next, in a word of four or more letters."""
    words = text.split()
    long = [at for at, word in enumerate(words) if len(word) > 3]
    if not long:
        return None
    at = draw.choice(long)
    word, place = words[at], draw.randrange(1, len(words[at]) - 1)
    here, rest = word[:place], word[place + 1 :]
    words[at] = draw.choice([here + rest, here + draw.choice(LETTERS) + rest])
    if draw.random() < 1 / 3:
        words[at] = here + rest[0] + word[place] + rest[1:]
    return " ".join(words)


def plural(text: str, draw: random.Random) -> str | None:
    """An s added to or removed from a word."""
    words = text.split()
    at = draw.randrange(len(words))
    words[at] = words[at][:-1] if words[at].endswith("s") else words[at] + "s"
    return " ".join(words)


def article(text: str, draw: random.Random) -> str | None:
    """An article dropped or replaced by the other one."""
    words = text.split()
    articles = [at for at, word in enumerate(words) if word in ("a", "the")]
    if not articles:
        return None
    at = draw.choice(articles)
    words[at : at + 1] = draw.choice([[], ["the" if words[at] == "a" else "a"]])
    return " ".join(words)


def dropped(text: str, draw: random.Random) -> str | None:
    """Without an adjective or verb."""
    words = text.split()
    some = [at for at, word in enumerate(words) if word in KINDS or word in DOES]
    if not some:
        return None
    del words[draw.choice(some)]
    return " ".join(words)


def other_word(text: str, draw: random.Random) -> str | None:
    """Another adjective, verb or preposition."""
    words = text.split()
    some = [
        (at, pool) for at, word in enumerate(words) for pool in (KINDS, DOES, BY) if word in pool
    ]
    if not some:
        return None
    at, pool = draw.choice(some)
    words[at] = draw.choice(pool)
    return " ".join(words)


def other_thing(text: str, draw: random.Random) -> str | None:
    """Another subject in the same place."""
    thing = max((name for name in THINGS if f" {name}" in text), key=len, default="")
    return text.replace(thing, draw.choice(THINGS)) if thing else None


EDITS: dict[str, Edit] = {
    "letter": letter,
    "plural": plural,
    "article": article,
    "word dropped": dropped,
    "other word": other_word,
    "other thing": other_thing,
}


def similarities(pairs: list[tuple[str, str]], ngram: int, of: NgramUnit) -> np.ndarray:
    """The Jaccard similarity of each pair, (n,)."""
    texts = [text for pair in pairs for text in pair]
    hashes, starts = ngram_sets(normalize_block(StringArray.from_strings(texts)), ngram, of)
    sets = [set(hashes[low:high].tolist()) for low, high in zip(starts, starts[1:], strict=False)]
    both = zip(sets[::2], sets[1::2], strict=True)
    return np.array([len(one & two) / len(one | two) for one, two in both])


def main() -> None:
    """Prints a row per setting: the percentage of pairs taken as near duplicates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    draw = random.Random(parser.parse_args().seed)
    pairs: dict[str, list[tuple[str, str]]] = {name: [] for name in EDITS}
    while any(len(found) < COUNT for found in pairs.values()):
        text = content(draw)
        for name, edit in EDITS.items():
            other = edit(text, draw)
            if other is not None and other != text and len(pairs[name]) < COUNT:
                pairs[name].append((text, other))
    sys.stdout.write(f"| measure | {' | '.join(pairs)} |\n|{' --- |' * (len(pairs) + 1)}\n")
    for of, ngram, thresholds in MEASURES:
        found = {name: similarities(some, ngram, of) for name, some in pairs.items()}
        for least in thresholds:
            shares = (f"{100 * np.mean(one >= least):.1f}" for one in found.values())
            sys.stdout.write(f"| {ngram} {of}, {least} | {' | '.join(shares)} |\n")


if __name__ == "__main__":
    main()
