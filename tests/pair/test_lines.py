"""Lines joined from pieces are those of the pairs as records."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.core.record import Record, rename_pictures
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import to_folder
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.pair import lines, parents
from megastyle_cli.pair.lines import pair_lines
from megastyle_cli.pair.pair import Ids, pair_all
from megastyle_cli.pair.parents import Parents, cut_contents
from tests.pair.parents import CONTENTS, STYLES

METADATA = {"run": "0b7d44e9"}


def spooled(spool: Spool, records: list[Record]) -> Parents:
    for record in records:
        spool.add(record)
    return Parents(spool, [record["id"] for record in records])


@pytest.mark.parametrize("out_bytes", [64, 2000, 1 << 18])
@pytest.mark.parametrize("ids", ["parents", "official"])
@pytest.mark.parametrize("folder", [None, "out", "imgs/a", "\udcfe", 'a"b'])
def test_lines_are_those_of_the_records(
    monkeypatch: pytest.MonkeyPatch, ids: Ids, out_bytes: int, folder: str | None
) -> None:
    monkeypatch.setattr(lines, "_OUT", out_bytes)
    monkeypatch.setattr(lines, "_STYLES", 5)
    monkeypatch.setattr(parents, "_TOGETHER", 3)
    twice = {**STYLES[0], "style": "another of this id"}
    rename = None if folder is None else to_folder(Path(folder))
    with Spool() as one, Spool() as other:
        styles = spooled(one, [*STYLES, twice, STYLES[1]])
        contents = spooled(other, CONTENTS)
        draws = np.array([np.roll(np.arange(len(CONTENTS)), 7 * i) for i in range(len(styles))])
        records = pair_all(styles, contents, draws, ids=ids, metadata=METADATA)
        renamed = map(partial(rename_pictures, rename=rename), records) if rename else records
        expected = list(map(dump_line, renamed))

        pieces = cut_contents(contents, rename)
        found = pair_lines(styles, pieces, draws, ids=ids, metadata=METADATA, rename=rename)

        assert b"".join(found).splitlines(keepends=True) == expected


def test_without_metadata_a_pair_has_the_number_of_its_draw() -> None:
    with Spool() as one, Spool() as other:
        styles, contents = spooled(one, STYLES[:1]), spooled(other, CONTENTS[:2])
        pieces = cut_contents(contents, None)
        (found,) = pair_lines(styles, pieces, np.array([[1, 0]]), metadata={}, rename=None)

    assert [json.loads(line)["_megastyle"]["pair"] for line in found.splitlines()] == [
        {"draw": 0},
        {"draw": 1},
    ]


def test_there_may_be_no_styles() -> None:
    with Spool() as one, Spool() as other:
        pieces = cut_contents(spooled(other, CONTENTS), None)
        none = np.zeros((0, 3), np.int32)

        assert list(pair_lines(Parents(one, []), pieces, none, metadata={}, rename=None)) == []
