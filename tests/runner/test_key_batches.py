"""Who is company is ours to say: no record that comes in can pass for one that is done."""

from collections import Counter

from megastyle_cli.core.record import is_context_only
from megastyle_cli.core.shard import Shard
from megastyle_cli.runner.key_batches import batches_by_key
from megastyle_cli.runner.progress import Stats


def test_a_record_that_calls_itself_company_is_worked_on_like_any_other() -> None:
    records = [{"id": str(n), "style_id": "s", "_company": True} for n in range(3)]
    tally = Stats("synth")
    (batch,) = batches_by_key(
        records, lambda one: one["style_id"], Shard(), Counter({"1": 1}), tally, 16
    )
    assert [one["id"] for one in batch] == ["0", "1", "2"]
    assert [is_context_only(one) for one in batch] == [False, True, False]
    assert tally.done_before == 1
