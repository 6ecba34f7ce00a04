"""Processes that accelerate or torchrun started, of which the first hands work to the others.

    ranks = join_ranks()
    if ranks is not None and not ranks.is_first:
        return ranks.serve(load)  # until the first is done
    ...
    ranks.start()
    ranks.work = load()
    results = ranks.map(items)
    ranks.end(exit_code)

Results are those of one process: a share is a slice of the items, and results come back in order.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, first_line
from megastyle_cli.core.shard import rank_and_world
from megastyle_cli.models.protocols import Built

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Work = Callable[[Sequence[Any], Any], Sequence[Any]]  # items and how -> a result for each

JOINING = timedelta(minutes=10)
# Between two requests the first may read a slow input. A process that is killed closes its
# connections, which ends the others at once.
WAITING = timedelta(days=7)

_CLOSED = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo/transport")


def join_ranks(*, may_work_alone: bool = False) -> "LaunchedRanks | None":
    """The processes of the launcher, once all have joined; None if this one runs alone.

    Without the address of the first they cannot join: each works alone if that gives the same, else
    MegastyleError is raised.
    """
    rank, world = rank_and_world()
    if world > 1 and "MASTER_ADDR" not in os.environ:
        if may_work_alone:
            return None
        raise MegastyleError(
            f"WORLD_SIZE is {world}, but MASTER_ADDR is not set",
            hint="start the command with accelerate launch, or unset WORLD_SIZE",
        )
    return LaunchedRanks(rank, world) if world > 1 else None


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error means that another process of the launcher has ended."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    is_closed = isinstance(error, RuntimeError) and any(words in str(error) for words in _CLOSED)
    return is_closed or "DistError" in kinds


@contextmanager
def lost_rank_named(hint: str) -> Iterator[None]:
    """Inside, an error of a connection to another process is one sentence, exit code 1."""
    try:
        yield
    except RuntimeError as error:
        if not is_lost_rank(error):
            raise
        raise MegastyleError(
            "another process of this run has ended", hint=hint, exit_code=UNEXPECTED
        ) from error


class LaunchedRanks:
    """See `Ranks` in protocols.py. Messages are small: names of images, and their vectors."""

    def __init__(self, rank: int, world: int) -> None:
        import torch.distributed as dist

        self.rank, self.world, self.is_first = rank, world, rank == 0
        self.work: Work = _not_loaded
        with _lost():
            if not dist.is_initialized():
                dist.init_process_group("gloo", timeout=JOINING)
            self._group: ProcessGroup = dist.new_group(backend="gloo", timeout=WAITING)

    def start(self) -> None:
        """On the first process: the others load what they work with."""
        self._broadcast(("load",))

    def map(self, items: Sequence[Any], how: Any = None) -> list[Any]:
        """On the first process: the work's result for each item, in order.

        Raises RuntimeError with the first error that a process had.
        """
        edges = [len(items) * rank // self.world for rank in range(self.world + 1)]
        shares = [items[edges[rank] : edges[rank + 1]] for rank in range(self.world)]
        self._broadcast(("map", shares, how))
        results: list[Any] = []
        error: Exception | None = None
        try:
            results += self._run(shares[0], how)
        except Exception as own:  # the others have begun and will answer
            error = own
        for made, failure in self._gather()[1:]:
            results += made
            error = error or (RuntimeError(failure) if failure else None)
        if error is not None:
            raise error
        return results

    def share(self, build: Callable[[], Built], work: Work) -> Built:
        """On all processes: what `build` returns on the first, while the others do `work`."""
        if not self.is_first:
            shared: Built = self.serve(lambda: work)
            return shared
        self.work = work
        self.start()
        built = build()
        self.end(built)
        return built

    def any(self, flag: bool) -> bool:
        """On all processes: whether the flag is set on any."""
        import torch.distributed as dist

        flags: list[Any] = [None] * self.world
        with _lost():
            dist.all_gather_object(flags, flag, group=self._group)
        return any(flags)

    def end(self, result: Any) -> None:
        """On the first process: the others return `result` from `serve`."""
        self._broadcast(("end", result))

    def serve(self, load: Callable[[], Work]) -> Any:
        """On the others: works on shares until the first process ends; what that gives to `end`.

        Raises MegastyleError if the first process ends without.
        """
        while True:
            kind, *rest = self._receive()
            if kind == "end":
                return rest[0]
            if kind == "load":
                self.work = load()
                continue
            shares, how = rest
            made: Sequence[Any] = ()
            failure = ""
            try:
                made = self._run(shares[self.rank], how)
            except Exception as error:
                failure = f"{type(error).__name__}: {first_line(error)}"
            self._gather((made, failure))

    def _run(self, share: Sequence[Any], how: Any) -> Sequence[Any]:
        return self.work(share, how) if share else ()

    def _broadcast(self, message: tuple[Any, ...]) -> None:
        import torch.distributed as dist

        with _lost():
            dist.broadcast_object_list([message], src=0, group=self._group)

    def _receive(self) -> tuple[Any, ...]:
        import torch.distributed as dist

        received: list[Any] = [None]
        with _lost():
            dist.broadcast_object_list(received, src=0, group=self._group)
        message: tuple[Any, ...] = received[0]
        return message

    def _gather(self, answer: Any = None) -> list[Any]:
        """On the first process the answers of all; on the others `answer` is sent."""
        import torch.distributed as dist

        answers: list[Any] | None = [None] * self.world if self.is_first else None
        with _lost():
            dist.gather_object(answer, answers, dst=0, group=self._group)
        return answers or []


def _not_loaded(items: Sequence[Any], how: Any) -> Sequence[Any]:
    raise AssertionError("start comes first")


def _lost() -> AbstractContextManager[None]:
    return lost_rank_named("its own message says why; run the same command again")
