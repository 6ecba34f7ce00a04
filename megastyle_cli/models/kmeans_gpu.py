"""The best of many centroids for each point, by matrix products on a device.

A product in TF32 (where the device has it: 10 bits, added up in float32) screens all centroids; the
best of them are then compared by float32 differences, which decide. Sums add float32 in the order
of the rows. So a device gives the same answer every time, and but for the screen's misses the one
of an exhaustive search.
Source: ours.
"""

# m points, k centroids, d width, s screened, c clusters

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from megastyle_cli.models.device import resolve_device

Array = npt.NDArray[Any]

SCREENED = 4
BLOCK_ROWS = 65_536
SCORES = 2**28  # of a block of points with all centroids at once: 1 GiB
CPU_SCORES = 2**23


@dataclass(frozen=True, kw_only=True)
class DeviceCentroids:
    """The centroids (k, d) of a round on the device, and the vectors (k,) that weigh them."""

    means: torch.Tensor
    halves: torch.Tensor
    leave: torch.Tensor
    join: torch.Tensor


class TorchAssigner:
    """Points to centroids on the device of that name (None: a GPU if there is one, else the CPU).

    Raises MegastyleError if torch does not know the device or it is not there.
    """

    def __init__(self, device: str | None = None) -> None:
        self.device = resolve_device(device)
        is_cuda = self.device.type == "cuda"
        self.name = f"{self.device.type} {'tf32' if is_cuda else 'float32'}"
        self.block_rows = BLOCK_ROWS
        self.scores = CPU_SCORES if self.device.type == "cpu" else SCORES

    def upload(self, means: Array, halves: Array, leave: Array, join: Array) -> DeviceCentroids:
        """The centroids on the device."""
        return DeviceCentroids(
            means=self._there(means),
            halves=self._there(halves),
            leave=self._there(leave),
            join=self._there(join),
        )

    def assign(self, points: Array, own: Array, kept: DeviceCentroids) -> tuple[Array, Array]:
        """See `Assigner.assign`; the own cluster wins a tie."""
        size = max(1, self.scores // len(kept.means))
        labels, distances = [], []
        with _tf32():
            for some in range(0, len(points), size):
                found = self._best(
                    self._there(points[some : some + size]),
                    torch.from_numpy(own[some : some + size]).to(self.device),
                    kept,
                )
                labels.append(found[0].cpu().numpy())
                distances.append(found[1].cpu().numpy())
        return np.concatenate(labels), np.concatenate(distances)

    def cluster_sums(self, points: Array, edges: Array) -> Array:
        """See `Assigner.cluster_sums`."""
        lengths = torch.from_numpy(np.diff(edges)).to(self.device)
        # not index_add_: on a GPU its order of adding, so its last bits, differ from run to run
        added = torch.segment_reduce(self._there(points), "sum", lengths=lengths, axis=0)
        summed: Array = added.cpu().numpy()
        return summed

    def _best(
        self, points: torch.Tensor, own: torch.Tensor, kept: DeviceCentroids
    ) -> tuple[torch.Tensor, torch.Tensor]:
        squares = (points**2).sum(dim=1)
        costs = points @ kept.means.T  # (m, k)
        costs.sub_(kept.halves).mul_(-2).add_(squares[:, None]).mul_(kept.join)
        screened = costs.topk(min(SCREENED, costs.shape[1]), dim=1, largest=False).indices
        met = torch.cat([own[:, None], screened], dim=1)  # (m, 1 + s)
        apart = torch.stack(
            [((points - kept.means[each]) ** 2).sum(dim=1) for each in met.T], dim=1
        )
        apart = torch.where(kept.halves[met].isinf(), torch.inf, apart)
        factors = torch.where(met == own[:, None], kept.leave[own][:, None], kept.join[met])
        best = (apart * factors).argmin(dim=1, keepdim=True)
        return met.gather(1, best)[:, 0], apart.gather(1, best)[:, 0]

    def _there(self, array: Array) -> torch.Tensor:
        held = np.ascontiguousarray(array, np.float32)
        return torch.from_numpy(held if held.flags.writeable else held.copy()).to(self.device)


@contextmanager
def _tf32() -> Iterator[None]:
    """Products of float32 in TF32 on a GPU, and as before when left."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
