"""What the released MegaStyle prompts say about styles that were held out; needs no pictures.

  python released_styles.py v1/metadata.parquet --plus-plus plus_plus/metadata.csv

StyleRetrieval has 2,400 fine styles from "the top 800 overall styles not used for training". If the
release was made before these were taken out, about 2,400 ids of styles are missing from it, in
about 800 overall styles; if no ids are missing, or missing ids are scattered, it was not. Prints:
the number of overall styles counted in four ways (the paper names 8,355), the gaps in the ids, and
what the release of MegaStyle++ adds.
"""

import argparse
import re
from collections import Counter

import megastyle_cli as ms

STYLE_ID = re.compile(r"s(\d+)")
NAMED = re.compile(r"^\s*in the style of ([^,]+)", re.IGNORECASE)


def overall(prompt):
    """What stands between "In the style of" and the first comma; None for other prompts."""
    found = NAMED.match(prompt or "")
    return found[1] if found else None


def counts(names):
    """The number of distinct names: as they are, in lower case, stripped, and both."""
    return {
        "as written": len(set(names)),
        "lower case": len({name.lower() for name in names}),
        "stripped": len({name.strip() for name in names}),
        "lower case, stripped": len({" ".join(name.lower().split()) for name in names}),
    }


def gaps(numbers):
    """The ids that are missing between the first and the last, as (first, length) of each gap."""
    found, ordered = [], sorted(numbers)
    for one, other in zip(ordered, ordered[1:], strict=False):
        if other > one + 1:
            found.append((one + 1, other - one - 1))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("released", nargs="+", help="the metadata of the first release")
    parser.add_argument("--style-key", default="style")
    parser.add_argument("--id-key", default="id")
    parser.add_argument("--plus-plus", nargs="*", default=[], help="metadata of MegaStyle++")
    parser.add_argument("--plus-plus-key", default="overall artistic style")
    given = parser.parse_args()

    names, numbers = [], Counter()
    for record in ms.read_records(given.released):
        names += filter(None, [overall(record.get(given.style_key))])
        if found := STYLE_ID.search(str(record.get(given.id_key))):
            numbers[int(found[1])] += 1
    print(f"prompts that name an overall style: {len(names):,}")
    for how, count in counts(names).items():
        print(f"overall styles, {how}: {count:,}")
    missing = gaps(numbers)
    num_missing = sum(length for _, length in missing)
    longest = max((length for _, length in missing), default=0)
    print(f"styles by id: {len(numbers):,}, rows of each {dict(Counter(numbers.values()))}")
    print(f"gaps in the ids: {len(missing):,}")
    print(f"missing ids: {num_missing:,}, the longest gap has {longest:,}")
    if given.plus_plus:
        added = {
            " ".join(str(record.get(given.plus_plus_key) or "").lower().split())
            for record in ms.read_records(given.plus_plus)
        } - {" ".join(name.lower().split()) for name in names}
        print(f"overall styles only in MegaStyle++: {len(added - {''}):,}")


if __name__ == "__main__":
    main()
