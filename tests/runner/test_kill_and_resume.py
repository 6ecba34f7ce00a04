"""Whatever interrupts a map, and however often, it ends with the bytes of an uninterrupted run."""

import os
import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN
from megastyle_cli.core.record import Failure, Record
from tests.conftest import jsonl
from tests.runner.test_map_job import run_map, texts, upper

COUNT = 12
BAD = {2: "raise", 7: "crash"}


class Killed(BaseException):
    """Ends a run where it stands, as a signal that cannot be handled would."""


class Interruptions(RuleBasedStateMachine):
    """Runs of one map over the same records: killed, stopped, torn, resumed, in any order."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        base = Path(self.folder.name)
        records = texts(COUNT)
        for row, kind in BAD.items():
            records[row]["bad"] = kind
        self.source = jsonl(base / "in.jsonl", records)
        self.out, self.partial = base / "out.jsonl", base / "out.jsonl.partial"
        assert run_map(self.source, base / "whole.jsonl") == TOO_MANY_FAILURES
        self.whole = (base / "whole.jsonl").read_bytes()
        self.failures = (base / "whole.errors.jsonl").read_bytes()

    @rule(row=st.integers(0, COUNT - 1), size=st.integers(1, COUNT))
    def kill(self, row: int, size: int) -> None:
        def process(batch: Iterable[Record]) -> Iterator[Record | Failure]:
            for record in batch:
                if record["id"] == str(row):
                    raise Killed
                yield from upper([record])

        try:
            run_map(self.source, self.out, process, size=size, resume=True)
        except Killed:
            assert not self.out.exists() or self.out.read_bytes() == self.whole

    @rule(row=st.integers(0, COUNT - 1), size=st.integers(1, COUNT))
    def stop(self, row: int, size: int) -> None:
        def process(batch: Iterable[Record]) -> Iterator[Record | Failure]:
            for record in batch:
                if record["id"] == str(row):
                    os.kill(os.getpid(), signal.SIGTERM)
                yield from upper([record])

        code = run_map(self.source, self.out, process, size=size, resume=True)
        assert code in (DONE, TOO_MANY_FAILURES, TRY_AGAIN)
        assert self.out.exists() or code == TRY_AGAIN

    @rule(count=st.integers(1, 60))
    def tear(self, count: int) -> None:
        """A power cut loses the end of what was written."""
        if self.partial.exists():
            with self.partial.open("r+b") as file:
                file.truncate(max(0, self.partial.stat().st_size - count))

    def teardown(self) -> None:
        assert run_map(self.source, self.out, resume=True) == TOO_MANY_FAILURES
        assert self.out.read_bytes() == self.whole
        assert self.out.with_name("out.errors.jsonl").read_bytes() == self.failures
        assert not self.partial.exists()
        self.folder.cleanup()


TestInterruptions = Interruptions.TestCase
TestInterruptions.settings = settings(
    max_examples=25, stateful_step_count=6, deadline=None, derandomize=True
)
