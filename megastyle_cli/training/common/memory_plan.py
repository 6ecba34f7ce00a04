"""How many pictures fit on a device at once, and which layers to compute twice so that they do.

Arithmetic alone: bytes in, a plan out. The figures of a layer are counted from what its backward
pass keeps, in units of one number for each token and each of the tower's widths.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from megastyle_cli.training.encoder.losses import MOST_CELLS

GIB = 2**30
FLOAT = 4  # bytes of a weight, of its gradient, of each of its moments

USABLE = 0.9  # of what is free: the rest is the allocator's, the kernels' and the network's
MOST_TOKENS = 2**17  # worked on at once: matrix products gain nothing from more
FEWEST_TOKENS = 2**12  # below that they lose so much that computing layers twice costs less
EVERY = (0, 4, 3, 2, 1)  # which layers may be computed twice: none, every fourth, ..., all


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes that one picture of `tokens` tokens leaves in a tower of `layers` layers.

    `kept` is of a layer that keeps its activations, `inputs` of one that keeps its input alone,
    `outside` what is before the layers and after them.
    """

    layers: int
    tokens: int
    kept: int
    inputs: int
    outside: int

    def num_twice(self, every: int) -> int:
        """How many layers are computed twice if it is every n-th; 0: none."""
        return len(range(0, self.layers, every)) if every else 0

    def picture(self, every: int) -> int:
        """Bytes of a picture at their peak: a layer computed again is whole while it is live."""
        twice = self.num_twice(every)
        live = self.kept if twice else 0
        return self.outside + (self.layers - twice) * self.kept + twice * self.inputs + live


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Pictures of one rank in chunks, every n-th layer computed twice, and what it should take."""

    pictures: int
    chunk: int
    every: int  # 0: no layer
    num_twice: int
    layers: int
    fixed: int  # bytes, whatever the chunk is
    activations: int  # bytes of a chunk
    free: int  # bytes, before anything of ours was there
    noun: str = "pictures"
    embeds_twice: bool = True  # whether chunks are embedded before their gradient is known

    @property
    def is_single_pass(self) -> bool:
        """Whether all pictures are embedded once, with their graph."""
        return self.chunk >= self.pictures

    @property
    def forwards(self) -> float:
        """What a picture costs, in forward passes of the tower; a backward pass counts as two."""
        again = self.embeds_twice and not self.is_single_pass
        return 3 + self.num_twice / self.layers + again

    @property
    def fits(self) -> bool:
        """Whether it should fit."""
        return self.fixed + self.activations <= USABLE * self.free

    @property
    def is_tight(self) -> bool:
        """Whether it takes so much of what is free that it is better tried first."""
        return self.fixed + self.activations > self.free / 2

    @property
    def sentence(self) -> str:
        """The plan in words."""
        if self.is_single_pass:
            passes = f"one pass over {self.pictures:,} {self.noun}"
        else:
            number = -(-self.pictures // self.chunk)
            again = ", each embedded twice" if self.embeds_twice else ""
            passes = f"{number:,} chunks of {self.chunk:,} {self.noun}{again}"
        layers = {0: "all activations kept", self.layers: "only the layers' inputs kept"}.get(
            self.num_twice, f"{self.num_twice} of {self.layers} layers computed twice"
        )
        return (
            f"{passes}, {layers}: about {said(self.fixed)} + {said(self.activations)}"
            f" of activations, of {said(self.free)} free"
            + ("" if self.fits else "; that may not be enough")
        )


def footprint(config: Any, *, is_half: bool, is_compiled: bool) -> Footprint:
    """What a picture leaves in a tower of a SiglipVisionConfig, in bytes.

    In single precision a layer keeps 8 units (both norms' inputs and outputs, queries, keys,
    values, and what attention makes of them) and its MLP's inner numbers twice, before and after
    the activation function. Under autocast it is 12: what passes from layer to layer stays float32,
    and each product casts its own input. Compiled it is about 7.25 and the inner numbers once.
    Counted from autograd in eager mode (tests), an estimate from published figures when compiled.
    """
    tokens = int(config.image_size // config.patch_size) ** 2
    size = 2 if is_half else FLOAT
    unit = tokens * config.hidden_size * size
    inner = float(config.intermediate_size / config.hidden_size)
    units = 7.25 + inner if is_compiled else (12 if is_half else 8) + 2 * inner
    softmax = config.num_attention_heads * tokens * FLOAT  # a sum for each row of attention
    return Footprint(
        layers=config.num_hidden_layers,
        tokens=tokens,
        kept=round(units * unit) + softmax,
        inputs=tokens * config.hidden_size * FLOAT,
        outside=5 * unit + 3 * config.image_size**2 * size,
    )


def state_bytes(
    parameters: int, *, moments: int, has_average: bool, is_half: bool, world: int
) -> int:
    """Bytes of weights and gradients, of the optimiser's `moments`, of averaged weights if they are
    kept, of autocast's copies in half precision, and of the buckets that ranks exchange.
    """
    floats = 2 + moments + has_average + is_half / 2 + (world > 1)
    return round(parameters * FLOAT * floats)


def batch_bytes(batch: int, pictures: int, decoded_px: int) -> int:
    """Bytes of a rank's `pictures` as they were decoded, and of the loss of the whole `batch`: five
    matrices of similarities at once.
    """
    return pictures * 3 * decoded_px**2 + 5 * FLOAT * min(batch**2, MOST_CELLS)


def plan(
    foot: Footprint,
    *,
    pictures: int,
    fixed: int,
    free: int,
    chunk: int | None = None,
    every: int | None = None,
    noun: str = "pictures",
    embeds_twice: bool = True,
) -> Plan:
    """The cheapest way to work off a rank's `pictures` in `free` bytes, of which `fixed` are taken.

    One pass over all of them if they fit, else chunks as large as products gain from; layers are
    computed twice only if that saves a pass, or if a chunk would be too small without. A `chunk` or
    `every` that is given stays. If nothing fits, the plan that needs least. Chunks cost a pass more
    where they are embedded twice, as they are not if a loss is a mean over `noun`.
    """
    plans = [
        replace(made, noun=noun, embeds_twice=embeds_twice)
        for made in _plans(foot, pictures, fixed, free, chunk, every)
    ]
    fewest = min(pictures, -(-FEWEST_TOKENS // foot.tokens))
    good = [p for p in plans if p.fits and (chunk is not None or p.chunk >= fewest)]
    if good:
        return min(good, key=lambda p: p.forwards)
    return plans[-1]


def _plans(
    foot: Footprint, pictures: int, fixed: int, free: int, chunk: int | None, every: int | None
) -> Iterator[Plan]:
    """A plan for each choice of layers, the fewest computed twice first."""
    for n in EVERY if every is None else (every,):
        room = max(0, USABLE * free - fixed)
        size = chunk or _largest(int(room // foot.picture(n)), pictures, foot.tokens)
        yield Plan(
            pictures=pictures,
            chunk=size,
            every=n,
            num_twice=foot.num_twice(n),
            layers=foot.layers,
            fixed=fixed,
            activations=min(size, pictures) * foot.picture(n),
            free=free,
        )


def _largest(fitting: int, pictures: int, tokens: int) -> int:
    """A chunk: all pictures if they fit, else 2^n or 3 x 2^n of those that do."""
    if fitting >= pictures:
        return pictures
    most = max(1, min(fitting, MOST_TOKENS // tokens))
    power = 1 << most.bit_length() - 1
    return power * 3 // 2 if power > 1 and most >= power * 3 // 2 else power


def said(size: int) -> str:
    """So many bytes in words."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.1f} MiB"
