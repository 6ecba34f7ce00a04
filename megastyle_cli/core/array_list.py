"""Lists of task numbers as `sbatch --array` reads them: `2,5-7`."""

from collections.abc import Iterable


def array_list(indexes: Iterable[int]) -> str:
    """The numbers in ascending order, each once, with runs of neighbors as ranges: `2,5-7`."""
    runs: list[list[int]] = []
    for index in sorted(set(indexes)):
        if runs and index == runs[-1][-1] + 1:
            runs[-1][1:] = [index]
        else:
            runs.append([index])
    return ",".join("-".join(str(end) for end in run) for run in runs)
