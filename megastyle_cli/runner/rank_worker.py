"""What the other processes of a launcher do while the first runs a command: work on its shares."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.runner.signals import stop_signals

if TYPE_CHECKING:
    from megastyle_cli.models.ranks import LaunchedRanks, Work


def work_for_first(ranks: "LaunchedRanks", load: "Callable[[], Work]") -> int:
    """Works until the first process is done; its exit code.

    A signal is the first one's to answer, which launchers send it to, too: it still needs the
    shares of the batch that it finishes.
    """
    with stop_signals() as stop:
        try:
            code: int = ranks.serve(load)
        except MegastyleError:
            if not stop.requested:
                raise
            return TRY_AGAIN
    return code
