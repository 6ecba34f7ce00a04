"""A second input is read whole or refused."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record
from megastyle_cli.runner.side_input import read_side_input
from tests.conftest import jsonl


def test_a_side_input_is_whole_or_refused(tmp_path: Path) -> None:
    records: list[Record] = [{"id": "a", "n": 1}, {"id": "b"}, {"id": "a", "n": 2}]
    source = jsonl(tmp_path / "side.jsonl", records)

    assert list(read_side_input([str(source)])) == records
    source.write_text('{"id": "a"}\nno json\n')
    with pytest.raises(MegastyleError, match="line 2"):
        list(read_side_input([str(source)]))
