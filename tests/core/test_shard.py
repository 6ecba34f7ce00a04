"""Shards share out the records: each has one owner, whatever else is in the folder."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.shard import Shard, parse_shard, refine_by_rank

IDS = [f"id-{number}" for number in range(200)]


def test_every_id_has_exactly_one_owner() -> None:
    for one in IDS:
        owners = [index for index in range(7) if Shard(index=index, count=7).owns(one)]
        assert len(owners) == 1


def test_ranks_hold_exactly_their_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard(index=1, count=3)
    monkeypatch.setenv("WORLD_SIZE", "4")
    held: list[str] = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        held += [one for one in IDS if refine_by_rank(shard).owns(one)]

    assert sorted(held) == sorted(one for one in IDS if shard.owns(one))


@pytest.mark.parametrize("text", ["3/3", "a/b", "1", "-1/2", "1/0"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MegastyleError, match="--shard"):
        parse_shard(text)


def slurm(monkeypatch: pytest.MonkeyPatch, task: int, first: int, last: int, count: int) -> None:
    for name, value in {"ID": task, "MIN": first, "MAX": last, "COUNT": count}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))


def test_auto_takes_a_contiguous_slurm_array(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm(monkeypatch, task=5, first=2, last=9, count=8)

    assert parse_shard("auto") == Shard(index=3, count=8)


def test_auto_refuses_an_array_with_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm(monkeypatch, task=17, first=3, last=17, count=2)

    with pytest.raises(MegastyleError, match="gaps"):
        parse_shard("auto")
