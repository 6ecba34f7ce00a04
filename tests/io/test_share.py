"""Membership by ids and names; containers by turns."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core.record import Failure
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.inputs import read_share
from megastyle_cli.io.share import Share

RECORDS = [
    {"id": "7", "file_name": "x/a.png"},
    {"file_name": "x/a.png"},
    {"text": "no picture"},
    Failure({"file_name": "x/b.png"}, "bad_image", "broken"),
]


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
