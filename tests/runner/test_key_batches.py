"""Neighbours of one key stay together; no record that comes in can pass for one that is done."""

from collections import Counter

from megastyle_cli.core.record import Record, is_context_only
from megastyle_cli.core.shard import Placed, Shard
from megastyle_cli.runner.adaptive_batch_size import AdaptiveBatchSize
from megastyle_cli.runner.key_batches import MAX_GROUP, batches_by_key, groups
from megastyle_cli.runner.progress import Stats


def placed(records: list[Record]) -> list[Placed]:
    return [Placed(at, record) for at, record in enumerate(records)]


def test_a_record_that_calls_itself_company_is_worked_on_like_any_other() -> None:
    records = [{"id": str(n), "style_id": "s", "_company": True} for n in range(3)]
    tally = Stats("synth")
    (batch,) = batches_by_key(
        placed(records),
        lambda one: one["style_id"],
        Shard(),
        Counter({"1": 1}),
        tally,
        AdaptiveBatchSize(16),
    )
    assert [one.found["id"] for one in batch] == ["0", "1", "2"]
    assert [is_context_only(one.found) for one in batch] == [False, True, False]
    assert [one.position for one in batch] == [0, 1, 2]
    assert tally.done_before == 1


def test_a_group_has_a_limit_and_starts_again_after_it() -> None:
    records = [{"id": str(n), "style_id": "s"} for n in range(2 * MAX_GROUP + 1)]

    sizes = [len(group) for _, group in groups(placed(records), lambda one: one["style_id"])]

    assert sizes == [MAX_GROUP, MAX_GROUP, 1]


def test_batches_hold_whole_groups_and_no_key_twice() -> None:
    keys = "aabbbca"
    records = [{"id": str(n), "style_id": key} for n, key in enumerate(keys)]

    found = batches_by_key(
        placed(records),
        lambda one: one["style_id"],
        Shard(),
        Counter(),
        Stats("synth"),
        AdaptiveBatchSize(4, least=4),
    )

    assert ["".join(one.found["style_id"] for one in batch) for batch in found] == ["aabbb", "ca"]
