"""One array that grows in place: no list of parts, and no moment with all parts and their sum."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Growing:
    """Rows of one kind, added at the end; an eighth more room than there are rows, at most."""

    def __init__(self, kind: npt.DTypeLike, *width: int) -> None:
        self._rows = np.empty((0, *width), kind)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, rows: Array) -> None:
        """Adds `rows` (n, *width)."""
        needed = self._count + len(rows)
        if needed > len(self._rows):
            room = max(needed, len(self._rows) * 9 // 8)
            # the system moves the pages of a large array and copies none
            self._rows.resize((room, *self._rows.shape[1:]), refcheck=False)
        self._rows[self._count : needed] = rows
        self._count = needed

    def rows(self) -> Array:
        """(n, *width): all that was added, a view: nothing may be added afterwards."""
        return self._rows[: self._count]
