"""Records that are judged by each other: neighbours of one key stay in one batch and one shard.

So what is said of one follows from the input alone, whatever the batch size, shards or stops.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from megastyle_cli.core.record import Failure, Record, as_context_only, is_context_only
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.writers.errors_file import record_key
from megastyle_cli.runner.progress import Tally

Key = Callable[[Record], str]
Found = Record | Failure

MOST = 64  # records that are judged by each other: what a batch may grow to


def groups(found: Iterable[Found] | list[Record], key: Key) -> Iterator[tuple[str, list[Found]]]:
    """Neighbours of equal `key`, at most MOST together; a failure goes with those before it."""
    group: list[Found] = []
    of = ""
    for result in found:
        its = of if group and isinstance(result, Failure) else group_key(result, key)
        if group and (its != of or len(group) == MOST):
            yield of, group
            group = []
        group.append(result)
        of = its
    if group:
        yield of, group


def batches_together(
    found: Iterable[Found], key: Key, shard: Shard, done: Counter[str], tally: Tally, size: int
) -> Iterator[list[Found]]:
    """The groups that are ours in lists of at least `size` records, no two of one key in a list.

    Of a group that is done in part those done come again, as company of the others.
    """
    left = Counter(done)
    batch: list[Found] = []
    keys: set[str] = set()
    for of, group in groups(found, key):
        if not shard.owns(of):
            continue
        marked = [_marked(result, left) for result in group]
        tally.done_before += sum(map(_is_done, marked))
        if all(map(_is_done, marked)):
            continue
        if batch and (of in keys or len(batch) >= size):
            yield batch
            batch, keys = [], set()
        batch += marked
        keys.add(of)
    if batch:
        yield batch


def _is_done(result: Found) -> bool:
    return not isinstance(result, Failure) and is_context_only(result)


def _marked(result: Found, left: Counter[str]) -> Found:
    if isinstance(result, Failure) or left[result["id"]] <= 0:
        return result
    left[result["id"]] -= 1
    return as_context_only(result)


def group_key(result: Found, key: Key) -> str:
    """By what a result belongs to a group, and the group to a shard."""
    return record_key(result) if isinstance(result, Failure) else key(result)
