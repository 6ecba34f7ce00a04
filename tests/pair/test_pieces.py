"""The pieces of a half are its JSON, whether they are cut from a line or written anew."""

import pytest

from megastyle_cli.compute.jit import choose_by_size
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.core.record import Record
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.pair import pieces
from megastyle_cli.pair.pieces import CONTENT, STYLE, Pieces, Side
from tests.pair.parents import CONTENTS, STYLES


def cut(records: list[Record], side: Side, **renamed: str) -> Pieces:
    cut_of = Pieces(side)
    own = {int(row.strip("_")): name for row, name in renamed.items()}
    cut_of.extend(StringArray.from_bytes(map(dump_line, records)), own, None)
    return cut_of


@pytest.mark.parametrize("count", [1, 5000])  # in plain Python, and compiled
@pytest.mark.parametrize(("side", "records"), [(STYLE, STYLES), (CONTENT, CONTENTS)])
def test_pieces_hold_the_halves(side: Side, records: list[Record], count: int) -> None:
    choose_by_size(count)

    pieces = cut(records, side)

    assert len(pieces) == len(records)
    assert [pieces.half(row) for row in range(len(records))] == list(map(side.half, records))
    one_by_one = Pieces(side)
    for record in records:
        one_by_one.add(record)
    assert (pieces.data, pieces.starts) == (one_by_one.data, one_by_one.starts)
    assert pieces.odd == one_by_one.odd


def test_only_pairs_that_pieces_cannot_make_are_odd() -> None:
    assert [STYLES[row]["id"] for row in cut(STYLES, STYLE).odd] == ["d", "e", 'g \u00e9"']
    assert "r" in [CONTENTS[row]["id"] for row in cut(CONTENTS, CONTENT).odd]


def test_own_ids_take_the_place_of_those_given() -> None:
    pieces = cut(STYLES[:3], STYLE, _1="b_1")

    assert [pieces.half(row).id for row in range(3)] == ["629f6fbed82c07cd", "b_1", "c"]


@pytest.mark.parametrize("count", [1, 5000])  # in plain Python, and compiled
def test_identities_are_ids_and_texts(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    choose_by_size(count)
    monkeypatch.setattr(pieces, "_OUT", 60)  # some do not fit

    found = b"".join(cut(CONTENTS, CONTENT).identities())

    halves = map(CONTENT.half, CONTENTS)
    expected = "".join(f"{half.id}\0{half.text.get('content', '')}\n" for half in halves)
    assert found == expected.encode("utf-8", "surrogatepass")
