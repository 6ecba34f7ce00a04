"""What a training says about images in parquet files, which are slow to draw at random."""

from collections.abc import Sequence


def describe_parquet(names: Sequence[str]) -> list[str]:
    """A line for the plan of a run if some of the images `names` are in parquet files."""
    in_parquet = sum(".parquet#" in name for name in names)
    if not in_parquet:
        return []
    return [
        f"{in_parquet:,} images are in parquet files, where each read decodes a whole"
        " row group: for a GPU, first --pack DIR, then train from DIR"
    ]
