"""The options of `cluster`: how many levels and clusters, the sample, the vectors."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How records are clustered, and which of them are written."""

    HEADING: ClassVar[str] = "Method"

    on: str = option(
        "style",
        metavar="KEY",
        help="Record key whose text is clustered.",
        is_common=True,
        changes_results="yes",
    )
    levels: str = option(
        "auto",
        metavar="N,N,...",
        help="Clusters per level, finest first; or auto, paper, plusplus.",
        is_common=True,
        changes_results="yes",
    )
    sample: int | None = option(
        None,
        metavar="N",
        min=1,
        help="Write a balanced sample of N records instead of all.",
        is_common=True,
        show_default=False,
        changes_results="yes",
    )
    members: Literal["random", "nearest"] = option(
        "random",
        metavar="random|nearest",
        help="Which records --sample takes from a cluster; nearest: those closest to its centroid.",
        changes_results="yes",
    )
    resample: int = option(
        0,
        metavar="N",
        min=0,
        help="Rounds of resampling: cluster again the points nearest each centroid.",
        changes_results="yes",
    )
    vectors: Path | None = option(
        None,
        metavar="FILE.npy",
        show_default=False,
        help="Write the vectors; each record's `row` is its row in FILE.",
        is_common=True,
        file="output",
    )
    vectors_from: Path | None = option(
        None,
        metavar="FILE.npy",
        show_default=False,
        help="Read vectors from FILE at each record's `row` instead of embedding texts.",
        changes_results="derived",
        file="whole input",
    )
    xy: bool = option(
        False,
        "--xy",
        help="Add `x` and `y`: coordinates of a 2-D map in which clusters nest.",
        is_common=True,
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class ClusterDeviceOptions:
    """The device that compares vectors."""

    HEADING: ClassVar[str] = "Model"

    device: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="Device for k-means and --model: cpu, cuda or cuda:N (default for k-means: a GPU if"
        " there is one).",
    )
