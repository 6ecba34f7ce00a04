"""Every record has one owner, whatever other records there are; containers go by turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.core.shard import (
    PART_NAME,
    Shard,
    Share,
    divided,
    parse_shard,
    rank_and_world,
)
from megastyle_cli.io.inputs import read_share

COUNTS = st.integers(1, 40)
IDS = st.lists(st.text(max_size=12) | st.from_regex(r"s[0-9]+_c[0-9]+", fullmatch=True))
RECORDS = [
    {"id": "7", "file_name": "x/a.png"},
    {"file_name": "x/a.png"},
    {"text": "no picture"},
    Failure({"file_name": "x/b.png"}, "bad_image", "broken"),
]


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


def shares(count: int) -> list[Share]:
    return [Share(Shard(index=index, count=count)) for index in range(count)]


@pytest.mark.parametrize("found", RECORDS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_record_has_one_owner(found, count: int) -> None:
    assert sum(share.owns(found, "x") for share in shares(count)) == 1


def test_the_owner_does_not_depend_on_where_the_folder_lies() -> None:
    for share in shares(5):
        here = share.owns({"file_name": "imgs/a/1.png"}, "imgs")
        assert share.owns({"file_name": "/data/imgs/a/1.png"}, "/data/imgs") == here
        assert share.owns_name("../imgs/a/1.png", "../imgs") == here
        assert share.owns({"file_name": "a/1.png"}, "") == here


@given(st.integers(1, 9), st.integers(1, 40))
def test_turns_are_balanced_over_all_inputs(count: int, number: int) -> None:
    names = [f"{n}.tar" for n in range(number)]
    ours = []
    for share in shares(count):
        ours.append(share.turns(names[: number // 2]) + share.turns(names[number // 2 :]))
        assert share.containers == Share(Shard()).containers or number
    totals = [sum(each) for each in ours]

    assert all(sum(each) == 1 for each in zip(*ours, strict=True))
    assert max(totals) - min(totals) <= 1


def test_the_hash_of_containers_follows_from_their_names() -> None:
    one, two, three = Share(Shard(count=2)), Share(Shard(index=1, count=2)), Share(Shard(count=2))
    one.turns(["a.tar", "b.tar"])
    two.turns(["a.tar"])
    two.turns(["b.tar"])
    three.turns(["a.tar", "c.tar"])

    assert one.containers == two.containers != three.containers
    assert Share(Shard(count=2)).containers == ""


def test_a_limit_reads_all_containers() -> None:
    assert Share(Shard(count=2)).takes_turns(3)
    assert not Share(Shard(count=2)).takes_turns(2)
    assert not Share(Shard(count=2), reads_all=True).takes_turns(3)
    assert not Share().takes_turns(3)


def test_positions_are_those_of_the_whole_input(tmp_path: Path) -> None:
    (tmp_path / "imgs").mkdir()
    for n in range(9):
        (tmp_path / "imgs" / f"{n}.png").touch()  # never opened
    (tmp_path / "more.jsonl").write_text("".join(f'{{"text": "{n}"}}\n' for n in range(9)))
    inputs = [str(tmp_path / name) for name in ("imgs", "more.jsonl")]

    whole = list(read_share(inputs, Share(), first=[{"text": "first"}]))
    parts = [list(read_share(inputs, share, first=[{"text": "first"}])) for share in shares(4)]

    assert len(whole) == 19 and all(one.position < two.position for one, two in pairwise(whole))
    assert sorted((each for part in parts for each in part), key=lambda e: e.position) == whole
    assert all(0 < len(part) < 19 for part in parts)
