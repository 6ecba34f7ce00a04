"""The k-means assignment on a device: the best of many centroids for each point.

A product in TF32 (10-bit mantissa, summed in float32; float32 where the device has no TF32) screens
all centroids; the best few are then compared by exact float32 differences. Sums add float32 in row
order. A device therefore gives the same result every time, and that of an exhaustive search except
where the screening misses the best centroid.
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

NUM_SCREENED = 4
BLOCK_ROWS = 65_536
MAX_SCORES = 2**28  # points times centroids in one product: 1 GiB
MAX_SCORES_CPU = 2**23


@dataclass(frozen=True, kw_only=True)
class DeviceCentroids:
    """The centroids (k, d) of a round on the device, and the vectors (k,) of their costs."""

    means: torch.Tensor
    halves: torch.Tensor
    leave: torch.Tensor
    join: torch.Tensor


class TorchAssigner:
    """Assigns points to centroids on a device; `device` is as in `resolve_device`.

    Raises MegastyleError if torch does not know the device or the machine does not have it.
    """

    def __init__(self, device: str | None = None) -> None:
        self.device = resolve_device(device)
        is_cuda = self.device.type == "cuda"
        self.name = f"{self.device.type} {'tf32' if is_cuda else 'float32'}"
        self.block_rows = BLOCK_ROWS
        self.max_scores = MAX_SCORES_CPU if self.device.type == "cpu" else MAX_SCORES

    def upload(self, means: Array, halves: Array, leave: Array, join: Array) -> DeviceCentroids:
        """The centroids on the device."""
        return DeviceCentroids(
            means=self._to_device(means),
            halves=self._to_device(halves),
            leave=self._to_device(leave),
            join=self._to_device(join),
        )

    def assign(self, points: Array, own: Array, centroids: DeviceCentroids) -> tuple[Array, Array]:
        """See `Assigner.assign`; the own cluster wins a tie."""
        size = max(1, self.max_scores // len(centroids.means))
        labels, distances = [], []
        with _tf32():
            for start in range(0, len(points), size):
                found = self._assign_block(
                    self._to_device(points[start : start + size]),
                    torch.from_numpy(own[start : start + size]).to(self.device),
                    centroids,
                )
                labels.append(found[0].cpu().numpy())
                distances.append(found[1].cpu().numpy())
        return np.concatenate(labels), np.concatenate(distances)

    def cluster_sums(self, points: Array, edges: Array) -> Array:
        """See `Assigner.cluster_sums`."""
        lengths = torch.from_numpy(np.diff(edges)).to(self.device)
        # not index_add_: on a GPU it adds in a different order, so with different bits, each run
        sums = torch.segment_reduce(self._to_device(points), "sum", lengths=lengths, axis=0)
        array: Array = sums.cpu().numpy()
        return array

    def _assign_block(
        self, points: torch.Tensor, own: torch.Tensor, centroids: DeviceCentroids
    ) -> tuple[torch.Tensor, torch.Tensor]:
        squares = (points**2).sum(dim=1)
        costs = points @ centroids.means.T  # (m, k)
        costs.sub_(centroids.halves).mul_(-2).add_(squares[:, None]).mul_(centroids.join)
        screened = costs.topk(min(NUM_SCREENED, costs.shape[1]), dim=1, largest=False).indices
        candidates = torch.cat([own[:, None], screened], dim=1)  # (m, 1 + s)
        distances = torch.stack(
            [((points - centroids.means[each]) ** 2).sum(dim=1) for each in candidates.T], dim=1
        )
        distances = torch.where(centroids.halves[candidates].isinf(), torch.inf, distances)
        factors = torch.where(
            candidates == own[:, None], centroids.leave[own][:, None], centroids.join[candidates]
        )
        best = (distances * factors).argmin(dim=1, keepdim=True)
        return candidates.gather(1, best)[:, 0], distances.gather(1, best)[:, 0]

    def _to_device(self, array: Array) -> torch.Tensor:
        contiguous = np.ascontiguousarray(array, np.float32)
        if not contiguous.flags.writeable:
            contiguous = contiguous.copy()
        return torch.from_numpy(contiguous).to(self.device)


@contextmanager
def _tf32() -> Iterator[None]:
    """Computes float32 products in TF32 on a GPU within the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
