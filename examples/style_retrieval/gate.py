"""Leaves out styles that a painter did not keep, judged by two unlike encoders.

  python gate.py synth/ --backend builtin --backend imagenet -o kept.jsonl

A style goes, with all its pictures, if by every encoder its pictures are no closer to each other
than pictures of different styles may be: their mean cosine is below the 95th percentile of such
pairs. One encoder alone would choose the styles that it is good at. How many go is printed: publish
it with the benchmark.
"""

import argparse
from collections import defaultdict

import numpy as np

import megastyle_cli as ms

PAIRS = 100_000


def spread(vectors, styles):
    """By style the mean cosine of its pictures; and the 95th percentile of unlike pairs."""
    rows = defaultdict(list)
    for row, style in enumerate(styles):
        rows[style].append(row)
    within = {}
    for style, own in rows.items():
        cosines = vectors[own] @ vectors[own].T
        within[style] = cosines[np.triu_indices(len(own), 1)].mean() if len(own) > 1 else 1.0
    names = np.array(styles)
    one, other = np.random.default_rng(0).integers(len(styles), size=(2, PAIRS))
    unlike = names[one] != names[other]
    cosines = np.einsum("nd,nd->n", vectors[one[unlike]], vectors[other[unlike]])
    return within, float(np.percentile(cosines, 95))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", help="rendered pictures with style_id")
    parser.add_argument("--backend", action="append", help="encoder; give two or more")
    parser.add_argument("-o", "--output", required=True)
    given = parser.parse_args()

    backends = given.backend or ["builtin", "imagenet"]
    if len(backends) < 2:
        raise SystemExit("give --backend twice: one encoder alone chooses what it is good at")
    records = list(ms.read_records(given.pictures))
    styles = [record["style_id"] for record in records]
    fails = []
    for backend in backends:
        within, bound = spread(ms.embed(records, backend=backend), styles)
        fails.append({style for style, mean in within.items() if mean < bound})
        print(f"{backend}: {len(fails[-1])} of {len(within)} styles are below {bound:.3f}")
    gone = set.intersection(*fails)
    kept = [record for record in records if record["style_id"] not in gone]
    ms.write_records(kept, given.output, overwrite=True)
    print(f"{len(gone)} styles left out, {len(set(styles) - gone)} kept")


if __name__ == "__main__":
    main()
