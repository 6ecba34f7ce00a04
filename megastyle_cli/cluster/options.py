"""The options of `cluster`: how many levels and clusters, the sample, the vectors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How records are clustered, and which of them are written."""

    on: str = option("style", metavar="KEY", help="The text to group by.", changes_results="yes")
    levels: str = option(
        "auto",
        metavar="N,N,...",
        help="Clusters a level, finest first; auto: by size; or paper, plusplus.",
        changes_results="yes",
    )
    sample: int | None = option(
        None,
        metavar="N",
        min=1,
        help="Pass on a balanced choice.",
        show_default=False,
        changes_results="yes",
    )
    members: Literal["random", "nearest"] = option(
        "random",
        metavar="random|nearest",
        help="Which of a finest cluster --sample takes.",
        changes_results="yes",
    )
    resample: int = option(
        0,
        metavar="N",
        min=0,
        help="Cluster the points nearest each centroid again, N times.",
        changes_results="yes",
    )
    vectors: Path | None = option(
        None,
        metavar="FILE.npy",
        show_default=False,
        help="Keep the vectors; adds `row` to records.",
        file="output",
    )
    vectors_from: Path | None = option(
        None,
        metavar="FILE.npy",
        show_default=False,
        help="Take the vectors; `row` says which.",
        changes_results="derived",
        file="whole input",
    )
    xy: bool = option(
        False,
        "--xy",
        help="Add `x` and `y`: a map on which clusters nest.",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class ClusterDeviceOptions:
    """The device that compares vectors."""

    device: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="Where vectors are compared and --model runs: cpu, cuda, cuda:N; default: a GPU"
        " to compare if there is one.",
    )
