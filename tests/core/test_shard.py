"""Shards: every record has one owner, whatever other records there are."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.shard import PART_NAME, Shard, divided, parse_shard, rank_and_world

COUNTS = st.integers(1, 40)
IDS = st.lists(st.text(max_size=12) | st.from_regex(r"s[0-9]+_c[0-9]+", fullmatch=True))


@given(COUNTS, IDS)
def test_every_id_has_exactly_one_owner(count: int, ids: list[str]) -> None:
    shards = [Shard(index=index, count=count) for index in range(count)]

    for one in ids:
        assert sum(shard.owns(one) for shard in shards) == 1


@given(st.data(), COUNTS, st.integers(1, 8), IDS)
def test_the_ranks_of_a_shard_hold_exactly_its_records(
    data: st.DataObject, count: int, world: int, ids: list[str]
) -> None:
    shard = Shard(index=data.draw(st.integers(0, count - 1)), count=count)

    ranks = [divided(shard, rank, world) for rank in range(world)]

    assert len({rank.part_name for rank in ranks}) == world
    for one in ids:
        assert sum(rank.owns(one) for rank in ranks) == shard.owns(one)


@given(COUNTS, st.integers(0, 200))
def test_turns_go_round(count: int, number: int) -> None:
    owners = [Shard(index=index, count=count).owns_turn(number) for index in range(count)]

    assert sum(owners) == 1 and owners[number % count]


@contextmanager
def environment(**values: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, str(value))
        yield


def test_without_a_launcher_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    assert rank_and_world() == (0, 1)
    assert divided(Shard(index=1, count=3), 0, 1) == Shard(index=1, count=3)


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (0, 0)])
def test_a_rank_outside_of_its_world_is_an_error(rank: int, world: int) -> None:
    with environment(RANK=rank, WORLD_SIZE=world), pytest.raises(MegastyleError, match="RANK is"):
        rank_and_world()


@given(st.integers(0, 99_998), st.integers(1, 99_999))
def test_parsing_gives_the_shard_that_was_written(index: int, count: int) -> None:
    if index >= count:
        with pytest.raises(MegastyleError, match="--shard"):
            parse_shard(f"{index}/{count}")
        return
    shard = parse_shard(f"{index}/{count}")

    assert shard == Shard(index=index, count=count, is_part=True)
    match = PART_NAME.fullmatch(shard.part_name)
    assert match and (int(match[1]), int(match[2])) == (index, count)


@pytest.mark.parametrize("text", ["3/3", "a/b", "1", "-1/2", "1/0", "0/100000", ""])
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(MegastyleError, match="--shard"):
        parse_shard(text)


def test_no_shard_is_everything() -> None:
    assert Shard().owns("anything") and not Shard().is_part
