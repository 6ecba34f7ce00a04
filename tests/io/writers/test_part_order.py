"""Positions beside a part: one for each line, whatever was lost in between."""

from pathlib import Path

import pytest

from megastyle_cli.io.parts import order_path
from megastyle_cli.io.writers.part_order import PartOrder


def positions(lines: Path) -> list[int]:
    return [int(line) for line in order_path(lines).read_text().splitlines()]


@pytest.mark.parametrize(
    ("num_lines", "expected"),
    [
        (3, [5, 7, 9, 11]),
        (2, [5, 7, 11]),  # a position was written before its line
        (0, [11]),
        (5, [5, 7, 9, 9, 9, 11]),  # lines are on disk, their positions are not
    ],
)
def test_a_resumed_part_has_a_position_for_each_line(
    tmp_path: Path, num_lines: int, expected: list[int]
) -> None:
    lines = tmp_path / "part-00000-of-00002.jsonl"
    order_path(lines).write_bytes(b"5\n7\n9\n1")  # and a torn one
    order = PartOrder(lines)

    order.open(num_lines)
    order.write(11)
    order.flush()

    assert positions(lines) == expected
    order.commit()
    order.close()
    assert positions(lines) == expected


def test_a_first_run_begins_with_nothing(tmp_path: Path) -> None:
    order = PartOrder(tmp_path / "metadata.jsonl")
    order.open(2)  # lines of a version without positions
    order.close()

    assert positions(tmp_path / "metadata.jsonl") == [0, 0]
    PartOrder(tmp_path / "other").close()
