"""The status of outputs for people: equal parts in one line, unusual ones by themselves."""

from collections.abc import Sequence

from megastyle_cli.core.array_list import array_list
from megastyle_cli.core.printable import printable
from megastyle_cli.status.output_status import OutputStatus
from megastyle_cli.status.part import STATES, Part

MANY = 12  # parts of one state that are summarized


def as_table(outputs: Sequence[OutputStatus]) -> str:
    """Lines for each output: a summary, its parts if there are several, and what to submit."""
    return "".join(f"{printable(line)}\n" for output in outputs for line in _lines(output))


def _lines(output: OutputStatus) -> list[str]:
    if output.tasks is None:
        (part,) = output.parts
        words = (part.state, _amount([part]), _failed([part]), _where([part]))
        return [f"{output.path}: {', '.join(filter(None, words))}"]
    counts = ", ".join(f"{count:,} {state}" for state, count in output.count().items())
    total = ", ".join(filter(None, (_amount(output.parts), _failed(output.parts))))
    num = len(output.parts)
    lines = [f"{output.path}: {num:,} part{'' if num == 1 else 's'}: {counts}; {total}"]
    if num > 1:
        rows = [_row(parts) for parts in _grouped(output.parts)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines += [_aligned(row, widths) for row in rows]
    if left := output.to_submit:
        lines.append(f"  submit again: sbatch --array={array_list(left)}")
    return lines


def _grouped(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts that share a line: all that are done without failures, or missing; others if they
    are many."""
    groups: list[list[Part]] = []
    for state in STATES:
        equal = [part for part in parts if part.state == state]
        unusual = [part for part in equal if part.failed or state in ("running", "stopped")]
        usual = [part for part in equal if part not in unusual]
        groups += [usual] if usual else []
        groups += [unusual] if len(unusual) > MANY else [[part] for part in unusual]
    return groups


def _row(parts: Sequence[Part]) -> tuple[str, str, str, str, str]:
    numbers = array_list(part.index for part in parts if part.index is not None)
    return numbers, parts[0].state, _amount(parts), _failed(parts), _where(parts)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    number, state, amount, failed = (
        cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)
    )
    return f"  {number}  {state}  {amount}  {failed}  {row[4]}".rstrip()


def _amount(parts: Sequence[Part]) -> str:
    if parts[0].step is not None:
        steps = f" of {parts[0].steps:,}" if parts[0].steps else ""
        return f"step {parts[0].step:,}{steps}"
    known = [part.records for part in parts if part.records is not None]
    return f"{sum(known):,} record{'' if sum(known) == 1 else 's'}" if known else ""


def _failed(parts: Sequence[Part]) -> str:
    failed = sum(part.failed for part in parts)
    return f"{failed:,} failed" if failed else ""


def _where(parts: Sequence[Part]) -> str:
    if parts[0].state != "running":
        return ""
    oldest_s = max(part.heartbeat_s or 0 for part in parts)
    if len(parts) > 1:
        hosts = len({part.host for part in parts})
        return f"{hosts:,} host{'' if hosts == 1 else 's'}, oldest heartbeat {oldest_s:,} s ago"
    part = parts[0]
    who = f"Slurm job {part.job}" if part.job else f"process {part.pid}"
    return f"{who} on {part.host or 'an unknown host'}, heartbeat {oldest_s:,} s ago"
