"""Draws the styles of a retrieval benchmark from a gallery of style prompts.

  python styles.py captions.jsonl --overall 800 --fine 3 -o styles.jsonl --held-out held_out.json

The overall style of a prompt is its style_identity, else what stands between "in the style of" and
the first comma. Overall styles are ranked by the number of their distinct prompts, ties by name; of
each of the first ones that have enough the prompts are drawn that lie farthest apart. All overall
styles that were drawn are to be held out from training: the second file lists them.
"""

import argparse
import hashlib
import json
import re
from collections import defaultdict

import numpy as np

import megastyle_cli as ms
from megastyle_cli.models.registry import load

NAMED = re.compile(r"in the style of ([^,.]+)", re.IGNORECASE)


def overall_style(record):
    """The overall style in lower case with single spaces; "" if the record has none."""
    found = NAMED.search(record.get("style") or "")
    words = record.get("style_identity") or (found[1] if found else "")
    return " ".join(words.lower().split())


def farthest_first(vectors, count, start):
    """The rows of `count` vectors (n, d): each is the farthest from those before it."""
    rows = [start]
    nearest = vectors @ vectors[start]
    while len(rows) < count:
        rows.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[rows[-1]])
    return rows


def draw(records, num_overall, num_fine, seed, embedder):
    """The records of the styles, each with its overall style under `overall_style`."""
    prompts = defaultdict(dict)
    for record in records:
        if name := overall_style(record):
            prompts[name].setdefault(record["style"], record)
    ranked = sorted(prompts, key=lambda name: (-len(prompts[name]), name))
    enough = [name for name in ranked if len(prompts[name]) >= num_fine][:num_overall]
    if len(enough) < num_overall:
        raise SystemExit(
            f"{len(enough)} overall styles have {num_fine} prompts, not {num_overall}:"
            " lower --overall or --fine"
        )
    for name in enough:
        texts = sorted(prompts[name])
        digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
        start = int.from_bytes(digest[:8], "big") % len(texts)
        for row in farthest_first(embedder.embed(texts), num_fine, start):
            record = prompts[name][texts[row]]
            yield {**record, "overall_style": name}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gallery", nargs="+", help="records with style prompts")
    parser.add_argument("--overall", type=int, default=800, help="number of overall styles")
    parser.add_argument("--fine", type=int, default=3, help="prompts of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-cosine", type=float, default=0.92, help="closer prompts are one")
    parser.add_argument("--text-model", help="sentence-transformers model (default: builtin)")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--held-out", required=True, help="list of the overall styles, as JSON")
    given = parser.parse_args()

    options = {"model": given.text_model} if given.text_model else {}
    embedder = load("text_embedder", "sentence-transformers" if options else "builtin", **options)
    named = [record for record in ms.read_records(given.gallery) if overall_style(record)]
    kept, _ = ms.deduplicate(
        named, semantic_threshold=given.max_cosine, near_threshold=1.0, model=given.text_model
    )
    styles = list(draw(kept, given.overall, given.fine, given.seed, embedder))
    names = sorted({style["overall_style"] for style in styles})
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    with open(given.held_out, "w", encoding="utf-8") as file:
        json.dump({"sha256": digest, "overall_styles": names}, file, indent=1, ensure_ascii=False)
    ms.write_records(styles, given.output, overwrite=True)
    print(f"{len(styles)} styles of {len(names)} overall styles; hash of the list {digest[:16]}")


if __name__ == "__main__":
    main()
