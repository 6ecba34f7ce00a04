"""Records in batches whose neighbours of one key are kept together.

A result that depends on other records of its key follows from the input alone, whatever the batch
size, the number of shards, or interruptions.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from megastyle_cli.core.record import (
    Failure,
    Record,
    as_context_only,
    is_context_only,
    record_key,
)
from megastyle_cli.core.shard import Placed, Shard
from megastyle_cli.runner.adaptive_batch_size import AdaptiveBatchSize
from megastyle_cli.runner.progress import Stats

Key = Callable[[Record], str]
Found = Record | Failure
Batch = list[Placed]

MAX_GROUP = 64  # records of one key that are judged together: what a batch may grow to


def groups(placed: Iterable[Placed], key: Key) -> Iterator[tuple[str, Batch]]:
    """Neighbours of equal `key`, at most MAX_GROUP together; a failure joins those before it."""
    group: Batch = []
    name = ""
    for each in placed:
        found = each.found
        its = name if group and isinstance(found, Failure) else _name_of_group(found, key)
        if group and (its != name or len(group) == MAX_GROUP):
            yield name, group
            group = []
        group.append(each)
        name = its
    if group:
        yield name, group


def batches_by_key(
    placed: Iterable[Placed],
    key: Key,
    shard: Shard,
    done: Counter[str],
    stats: Stats,
    size: AdaptiveBatchSize,
) -> Iterator[Batch]:
    """The groups of this shard in lists of at least the current size, no key twice in a list.

    Of a group that is done in part the finished records come again, as context for the others.
    """
    left = Counter(done)
    batch: Batch = []
    names: set[str] = set()
    for name, group in groups(placed, key):
        if not shard.owns(name):
            continue
        marked = [Placed(each.position, _marked(each.found, left)) for each in group]
        stats.done_before += sum(map(_is_done, marked))
        if all(map(_is_done, marked)):
            continue
        if batch and (name in names or len(batch) >= size.current):
            yield batch
            batch, names = [], set()
        batch += marked
        names.add(name)
    if batch:
        yield batch


def _is_done(each: Placed) -> bool:
    return not isinstance(each.found, Failure) and is_context_only(each.found)


def _marked(result: Found, left: Counter[str]) -> Found:
    if isinstance(result, Failure) or left[result["id"]] <= 0:
        return result
    left[result["id"]] -= 1
    return as_context_only(result)


def _name_of_group(result: Found, key: Key) -> str:
    return record_key(result) if isinstance(result, Failure) else key(result)
