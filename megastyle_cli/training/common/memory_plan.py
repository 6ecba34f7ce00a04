"""Memory plan: how many items a device processes at once, and which layers it recomputes.

Pure arithmetic: bytes in, a plan out. `footprint` in encoder/ and flux/memory_cost.py give the
bytes of one item.
"""

from collections.abc import Iterator
from dataclasses import dataclass

GIB = 2**30
FLOAT = 4  # bytes of a weight, of its gradient, of each of its moments

USABLE = 0.9  # of the free memory: allocator, kernels and network need the rest
MAX_TOKENS = 2**17  # processed at once: matrix products do not get faster with more
MIN_TOKENS = 2**12  # below this they get so slow that recomputing layers costs less
RECOMPUTE_EVERY = (0, 4, 3, 2, 1)  # which layers to recompute: none, every fourth, ..., all


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes that one item of `tokens` tokens keeps for the backward pass, by part of the model.

    `kept` is for a layer that keeps its activations, `inputs` for one that keeps only its input and
    is recomputed, `outside` for what is before and after the layers.
    """

    layers: int
    tokens: int
    kept: int
    inputs: int
    outside: int

    def num_recomputed(self, every: int) -> int:
        """The number of layers recomputed if it is every n-th; 0 means none."""
        return len(range(0, self.layers, every)) if every else 0

    def bytes_per_item(self, every: int) -> int:
        """Peak bytes of an item: a recomputed layer keeps all its activations while it is live."""
        recomputed = self.num_recomputed(every)
        live = self.kept if recomputed else 0
        return (
            self.outside + (self.layers - recomputed) * self.kept + recomputed * self.inputs + live
        )


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How one rank processes its items: micro-batch size, recomputed layers, expected memory."""

    items: int  # of a rank in a step
    micro_batch: int
    recompute_every: int  # every n-th layer is recomputed; 0: none
    num_recomputed: int
    layers: int
    fixed: int  # bytes that do not depend on the micro-batch
    activations: int  # bytes of a micro-batch
    free: int  # bytes, before anything was allocated
    noun: str  # what an item is, in the plural
    embeds_twice: bool  # whether micro-batches are embedded before their gradient is known

    @property
    def is_single_pass(self) -> bool:
        """Whether all items are embedded once, with their graph."""
        return self.micro_batch >= self.items

    @property
    def forward_passes(self) -> float:
        """The cost of an item in forward passes; a backward pass counts as two."""
        again = self.embeds_twice and not self.is_single_pass
        return 3 + self.num_recomputed / self.layers + again

    @property
    def fits(self) -> bool:
        """Whether it is expected to fit."""
        return self.fixed + self.activations <= USABLE * self.free

    @property
    def is_tight(self) -> bool:
        """Whether it takes so much of the free memory that it should be tried first."""
        return self.fixed + self.activations > self.free / 2

    @property
    def sentence(self) -> str:
        """The plan in words."""
        if self.is_single_pass:
            passes = f"one pass over {self.items:,} {self.noun}"
        else:
            number = -(-self.items // self.micro_batch)
            again = ", each embedded twice" if self.embeds_twice else ""
            passes = f"{number:,} chunks of {self.micro_batch:,} {self.noun}{again}"
        layers = {0: "all activations kept", self.layers: "only the layers' inputs kept"}.get(
            self.num_recomputed, f"{self.num_recomputed} of {self.layers} layers recomputed"
        )
        return (
            f"{passes}, {layers}: about {format_bytes(self.fixed)} +"
            f" {format_bytes(self.activations)} of activations, of {format_bytes(self.free)} free"
            + ("" if self.fits else "; that may not be enough")
        )


def state_bytes(
    parameters: int, *, moment_bytes: float, has_ema: bool, is_half: bool, world: int
) -> int:
    """Bytes of the training state of `parameters` trained float32 weights.

    Weights, gradients, optimizer moments (`moment_bytes` per weight), averaged weights if kept,
    autocast's copies in half precision, and the buckets that ranks exchange.
    """
    return round(parameters * (FLOAT * (2 + has_ema + is_half / 2 + (world > 1)) + moment_bytes))


def plan_memory(
    footprint: Footprint,
    *,
    items: int,
    fixed: int,
    free: int,
    micro_batch: int | None = None,
    recompute_every: int | None = None,
    noun: str = "images",
    embeds_twice: bool = True,
) -> MemoryPlan:
    """The cheapest way to process a rank's `items` in `free` bytes, `fixed` of which are taken.

    One pass over all of them if they fit, otherwise micro-batches as large as matrix products gain
    from; layers are recomputed only if that saves a pass, or if a micro-batch would be too small
    otherwise. A given `micro_batch` or `recompute_every` is kept. If nothing fits, the plan that
    needs least. With `embeds_twice`, as in a gradient cache, several micro-batches cost one more
    forward pass; a loss that is a mean over items needs none.
    """
    plans = list(
        _plans(footprint, items, fixed, free, micro_batch, recompute_every, noun, embeds_twice)
    )
    smallest = min(items, -(-MIN_TOKENS // footprint.tokens))
    good = [p for p in plans if p.fits and (micro_batch is not None or p.micro_batch >= smallest)]
    if good:
        return min(good, key=lambda p: p.forward_passes)
    return plans[-1]


def _plans(
    footprint: Footprint,
    items: int,
    fixed: int,
    free: int,
    micro_batch: int | None,
    recompute_every: int | None,
    noun: str,
    embeds_twice: bool,
) -> Iterator[MemoryPlan]:
    """A plan for each choice of recomputed layers, the fewest first."""
    for every in RECOMPUTE_EVERY if recompute_every is None else (recompute_every,):
        available = max(0, USABLE * free - fixed)
        bytes_per_item = footprint.bytes_per_item(every)
        size = micro_batch or _largest(int(available // bytes_per_item), items, footprint.tokens)
        yield MemoryPlan(
            items=items,
            micro_batch=size,
            recompute_every=every,
            num_recomputed=footprint.num_recomputed(every),
            layers=footprint.layers,
            fixed=fixed,
            activations=min(size, items) * bytes_per_item,
            free=free,
            noun=noun,
            embeds_twice=embeds_twice,
        )


def _largest(fitting: int, items: int, tokens: int) -> int:
    """A micro-batch size: all items if they fit, otherwise 2^n or 3 x 2^n of those that do."""
    if fitting >= items:
        return items
    limit = max(1, min(fitting, MAX_TOKENS // tokens))
    power = 1 << limit.bit_length() - 1
    return power * 3 // 2 if power > 1 and limit >= power * 3 // 2 else power


def format_bytes(size: int) -> str:
    """A size in MiB or GiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.1f} MiB"
