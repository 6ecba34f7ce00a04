"""The tree of clusters on a page: sizes and typical prompts, coarse clusters opening into fine."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from megastyle_cli.core.record import Record
from megastyle_cli.report.rows import count, tile_of, typical

MAX_CHILDREN = 30
MAX_NODES = 1500  # some 300 kB
MAX_PROMPTS = 100  # of a cluster, from which the typical ones are chosen

Path = tuple[int, ...]  # clusters from the coarsest down


def tree_html(records: Iterable[Record]) -> str:
    """Nested lists as HTML; "" unless the records carry clusters of at least two levels."""
    sizes: Counter[Path] = Counter()
    prompts: dict[Path, list[str]] = {}
    for record in records:
        path = _path(record)
        tile = tile_of(record)
        for depth in range(len(path) + 1):
            node = path[:depth]
            sizes[node] += 1
            if len(of_node := prompts.setdefault(node, [])) < MAX_PROMPTS:
                of_node.append(tile.words or tile.title)
    if max(map(len, sizes), default=0) < 2:
        return ""
    children: dict[Path, list[Path]] = {}
    for node in sizes:
        if node:
            children.setdefault(node[:-1], []).append(node)
    branches = _Tree(sizes, prompts, children).branches(())
    return f'<details class="tree"><summary>Tree of clusters</summary>{branches}</details>'


class _Tree:
    """Branches as HTML, until MAX_NODES are there."""

    def __init__(
        self,
        sizes: Counter[Path],
        prompts: dict[Path, list[str]],
        children: dict[Path, list[Path]],
    ) -> None:
        self.sizes, self.prompts, self.children = sizes, prompts, children
        self.depth = max(map(len, sizes))
        self.left = MAX_NODES

    def branches(self, node: Path) -> str:
        """The clusters within `node`, largest first, as a list."""
        inner = sorted(self.children.get(node, []), key=lambda each: (-self.sizes[each], each))
        shown = inner[: min(MAX_CHILDREN, self.left)]
        self.left -= len(shown)
        items = "".join(f"<li>{self._branch(each)}</li>" for each in shown)
        if num_more := len(inner) - len(shown):
            items += f'<li class="more">+ {count(num_more, "more cluster")}</li>'
        return f"<ul>{items}</ul>"

    def _branch(self, node: Path) -> str:
        words = escape(" / ".join(typical(self.prompts[node])[:1]))
        size = count(self.sizes[node], "record")
        level = self.depth - len(node) + 1
        key = "cluster" if level == 1 else f"cluster_{level}"  # as the records spell it
        label = (
            f'<span class="node"><b>{key} {node[-1]}</b> <span class="size">{size}</span>'
            f' <span class="words" title="{words}">{words}</span></span>'
        )
        if not self.children.get(node):
            return label
        return f"<details><summary>{label}</summary>{self.branches(node)}</details>"


def _path(record: Record) -> Path:
    """The record's clusters, coarsest first; () if it was not clustered."""
    path: list[int] = []
    keys: Sequence[str] = ("cluster", *(f"cluster_{level}" for level in range(2, 10)))
    for key in keys:
        cluster = record.get(key)
        if not isinstance(cluster, int) or isinstance(cluster, bool):
            break
        path.append(cluster)
    return tuple(reversed(path))
