"""What a training of FLUX keeps on its device, by what is free: chunk, blocks, text encoders."""

from dataclasses import dataclass

import torch

from megastyle_cli.models.flux.memory import activation_bytes
from megastyle_cli.models.flux.prompt_embeddings import max_text_tokens
from megastyle_cli.training.common import memory_plan as memory
from megastyle_cli.training.flux.batch import AHEAD, PICTURES
from megastyle_cli.training.flux.memory_cost import footprint, weight_bytes
from megastyle_cli.training.flux.optimizer import MOMENT_BYTES
from megastyle_cli.training.flux.text_cache import bytes_a_prompt
from megastyle_cli.training.flux.trainable import Student


@dataclass(frozen=True, kw_only=True)
class Room:
    """The plan of memory, and whether text is encoded before the first step to make it fit."""

    plan: memory.Plan
    encodes_first: bool
    encoders: int  # bytes of T5 and CLIP

    @property
    def sentence(self) -> str:
        """Where the text encoders are, in words."""
        size = memory.said(self.encoders)
        if self.encodes_first:
            return f"text encoders ({size}): encode every prompt first, and make room then"
        return f"text encoders ({size}): stay, and encode beside the steps"


def room_for(student: Student, *, dtype: torch.dtype, rows: int, free: int, world: int) -> Room:
    """The plan for `free` bytes on each of `world` devices; a picture has `rows`^2 tokens.

    The text encoders stay if all fits with them, or if they are asked to; what is asked for stands,
    whether it fits or not.
    """
    pipeline = student.pipeline
    text = weight_bytes(pipeline.text_encoder, pipeline.text_encoder_2)
    kept = _plan(student, dtype, rows, free, world, text)
    asked = student.settings.layout.encode_text
    if asked == "beside" or (asked == "auto" and kept.fits):
        return Room(plan=kept, encodes_first=False, encoders=text)
    plan = _plan(student, dtype, rows, free, world, 0)
    return Room(plan=plan, encodes_first=True, encoders=text)


def _plan(
    student: Student, dtype: torch.dtype, rows: int, free: int, world: int, text: int
) -> memory.Plan:
    """The plan where the text encoders take `text` bytes of the device."""
    settings, pipeline, transformer = student.settings, student.pipeline, student.transformer
    is_half = dtype != torch.float32
    pairs = settings.batch // world
    number = sum(weight.numel() for weight in transformer.parameters() if weight.requires_grad)
    state = memory.state_bytes(
        number, moments=0, has_average=bool(settings.ema), is_half=is_half, world=world
    )
    side = settings.size_px
    encoding = min(PICTURES, 2 * pairs) * activation_bytes((side, side), 0, 0, dtype.itemsize)
    words = (AHEAD + 1) * pairs * bytes_a_prompt(pipeline)
    return memory.plan(
        footprint(
            transformer.config,
            text_tokens=max_text_tokens(pipeline),
            picture_tokens=rows**2,
            rank=student.rank,
            is_half=is_half,
            is_compiled=settings.layout.compile,
        ),
        pictures=pairs,
        fixed=text
        + weight_bytes(transformer, pipeline.vae)
        + state
        - number * memory.FLOAT  # the trained weights are among both
        + round(MOMENT_BYTES[settings.optimizer] * number)
        + encoding
        + words,
        free=free,
        chunk=settings.layout.chunk,
        every=settings.layout.recompute,
        noun="pairs",
        embeds_twice=False,
    )
