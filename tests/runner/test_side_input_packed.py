"""Packed records are a list of the records appended."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.runner.side_input import PackedRecords

VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
RECORDS = st.lists(st.dictionaries(st.text(), VALUES))


@given(RECORDS, st.slices(10))
def test_packed_records_behave_as_a_list(records: list[dict[str, Any]], some: slice) -> None:
    packed = PackedRecords()
    for record in records:
        packed.append(record)

    assert len(packed) == len(records)
    assert list(packed) == records
    assert [packed[row] for row in range(-len(records), len(records))] == records * 2
    assert packed[some] == records[some]
