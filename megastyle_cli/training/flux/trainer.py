"""One update of FLUX from one global batch of pairs, and where the trainer stands."""

import copy
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.models.device import require_compiler
from megastyle_cli.models.flux.model import Transformer, position_ids, velocity
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings, max_text_tokens
from megastyle_cli.models.flux.vae import token_size_px
from megastyle_cli.training.common.checkpoint import load_checkpoint, save_checkpoint
from megastyle_cli.training.common.loop import Measured, refuse_no_finite, refuse_no_number
from megastyle_cli.training.common.memory_probe import (
    chunk_that_fits,
    least_free_bytes,
    told_where_full,
)
from megastyle_cli.training.encoder.optimizer import learning_rate
from megastyle_cli.training.flux.batch import Conditions, Encoders
from megastyle_cli.training.flux.config import Settings
from megastyle_cli.training.flux.memory_plan import room_for
from megastyle_cli.training.flux.objective import mixed, squared_errors
from megastyle_cli.training.flux.optimizer import moment_bytes, optimizer_of
from megastyle_cli.training.flux.text_cache import ENCODERS, WordStore
from megastyle_cli.training.flux.trainable import Student

# b pairs of a rank, n tokens of a picture, 4c numbers in a token

log = logging.getLogger(__name__)


class Loss(nn.Module):
    """The transformer with its loss around it: what the ranks exchange gradients of."""

    def __init__(self, transformer: Transformer, dtype: torch.dtype, guidance: float) -> None:
        super().__init__()
        self.transformer = transformer
        self.dtype, self.guidance = dtype, guidance

    def forward(
        self,
        latents: Tensor,
        references: Tensor,
        noise: Tensor,
        states: Tensor,
        pooled: Tensor,
        sigmas: Tensor,
        ids: Tensor,
    ) -> Tensor:
        """The mean squared error (b,) of the velocity of each target, float32.

        The reference is clean at every noise level and has no part in the error.
        """
        noisy = mixed(latents, noise, sigmas).to(self.dtype)
        is_half = self.dtype != torch.float32
        with torch.autocast(latents.device.type, self.dtype, enabled=is_half):
            flow = velocity(
                self.transformer,
                noisy,
                references.to(self.dtype),
                PromptEmbeddings(states=states, pooled=pooled),
                sigmas,
                ids,
                guidance=self.guidance,
            )
        return squared_errors(flow, latents, noise)


class Trainer:
    """The transformer, its optimiser and its place, moved on one global batch at a time by `step`.

    What is trained, a LoRA or all of the transformer, is the `student`'s to know. `prompts` are all
    that will ever be asked for; where they are encoded first, `tell` hears of it. Raises
    MegastyleError if something is missing, or if there is no room on the disk for their words.
    """

    def __init__(
        self,
        settings: Settings,
        accelerator: Accelerator,
        folder: Path,
        prompts: Sequence[str] = (),
        tell: Callable[[str], None] = log.info,
    ) -> None:
        self.settings, self.accelerator, self.folder = settings, accelerator, folder
        self.device = accelerator.device
        self.at = 0  # updates made
        free = least_free_bytes(accelerator)  # before anything of ours is there
        self.dtype = _chosen(settings.dtype, self.device)
        self.student = Student(settings, self.dtype)
        self.pipeline = self.student.pipeline
        self.transformer = self.student.transformer
        self.rows = self._rows()
        if settings.layout.compile:
            require_compiler(self.device)
        world = accelerator.num_processes
        self.room = room_for(self.student, dtype=self.dtype, rows=self.rows, free=free, world=world)
        self.plan = self.room.plan
        self.chunk = self.plan.chunk
        self.encoders = self._encoders(prompts, tell)  # before the transformer takes its place
        self.transformer.train().to(self.device)
        self.trained = [w for w in self.transformer.parameters() if w.requires_grad]
        self.averages = [w.detach().clone() for w in self.trained] if settings.ema else []
        self.optimizer = optimizer_of(
            self.transformer,
            settings.optimizer,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
        )
        self.ids = position_ids(self.rows, self.rows, 1).to(self.device)
        _compute_twice(self.transformer, self.plan.every)
        if settings.layout.compile:
            self.transformer.compile_repeated_blocks(fullgraph=True)
        loss = Loss(self.transformer, self.dtype, settings.guidance)
        frozen = [name for name, w in loss.named_parameters() if not w.requires_grad]
        # Every rank has read the same files; 24 GB need not be sent, nor can rounded weights be.
        ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        ignore(loss, frozen)
        self.loss: nn.Module = accelerator.prepare(loss)

    def step(self, batch: Conditions) -> Measured:
        """One update with a rank's part of the global batch; the loss before it.

        Raises MegastyleError (exit 1), and saves the ids, if the loss or gradient is no number, or
        if memory runs out.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with told_where_full(self.told_full):
            loss = self._backward(batch)
        norm = nn.utils.clip_grad_norm_(self.trained, self.settings.clip or math.inf)
        losses = {"loss": loss, "gradient_norm": float(norm)}
        refuse_no_number(losses, batch.ids, self.at, self.folder, self.accelerator)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.at, self.settings)
        self.optimizer.step()
        self.at += 1
        for average, weight in zip(self.averages, self.trained, strict=False):
            average.lerp_(weight.detach(), 1 - self.settings.ema)
        return losses

    def errors(self, batch: Conditions, rows: slice = slice(None)) -> Tensor:
        """The unweighted squared error (b,) of those rows of a batch."""
        errors: Tensor = self.loss(
            batch.latents[rows],
            batch.references[rows],
            batch.noise[rows],
            batch.words.states[rows],
            batch.words.pooled[rows],
            batch.sigmas[rows],
            self.ids,
        )
        return errors

    def settle_chunk(self) -> None:
        """Where memory is tight, halves the chunk until it fits; the gradient stays the same."""
        if self.plan.is_tight:
            self.chunk = chunk_that_fits(
                self.chunk, self._rehearse, self.accelerator, "pairs", SMALLER
            )

    def save(self) -> None:
        """A checkpoint of this step; the first rank writes, the others wait.

        Raises MegastyleError (exit 1) if the weights are not finite.
        """
        refuse_no_finite([*self.trained, *self.averages], self.at)
        if self.accelerator.is_main_process:
            state = {"optimizer": self.optimizer.state_dict(), "averages": self.averages}
            write = partial(self.student.write_checkpoint, facts=self.facts)
            save_checkpoint(self.folder, self.at, write, state)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Goes on from the newest checkpoint of the run, if there is one."""
        held = load_checkpoint(self.folder)
        if held is None:
            return
        saved, state = held
        self.student.read_checkpoint(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        for average, before in zip(self.averages, state["averages"], strict=True):
            average.copy_(before)
        self.at = state["step"]

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Inside, the averaged weights are in place, if there are any, and nothing is learned."""
        kept = copy.deepcopy([w.detach() for w in self.trained]) if self.averages else []
        with torch.no_grad():
            for weight, average in zip(self.trained, self.averages, strict=False):
                weight.copy_(average)
            try:
                yield
            finally:
                for weight, before in zip(self.trained, kept, strict=False):
                    weight.copy_(before)

    @property
    def facts(self) -> dict[str, str]:
        """What is written into the header of the weights."""
        return self.student.facts(self.at)

    def _backward(self, batch: Conditions) -> float:
        """The gradient of the mean weighted error over the global batch; the loss."""
        b, total = len(batch.ids), torch.zeros((), device=self.device)
        starts = range(0, b, self.chunk)
        for start in starts:
            rows = slice(start, start + self.chunk)
            is_last = start == starts[-1]
            waits = nullcontext() if is_last else self.accelerator.no_sync(self.loss)
            with waits:
                loss = (batch.weights[rows] * self.errors(batch, rows)).sum() / b
                torch.autograd.backward(loss)
            total += loss.detach()
        return float(self.accelerator.reduce(total, "mean"))

    def _rehearse(self, chunk: int) -> None:
        """Takes the memory of a step with that chunk, and changes nothing."""
        moments = moment_bytes(self.trained, self.settings.optimizer)
        later = 0 if self.optimizer.state else moments
        size = min(chunk, self.plan.pictures)
        config, n = self.transformer.config, self.rows**2
        text = max_text_tokens(self.pipeline)
        try:
            held = torch.empty(later, dtype=torch.uint8, device=self.device)
            tokens = torch.zeros(size, n, config.in_channels, device=self.device)
            states = torch.zeros(size, text, config.joint_attention_dim, device=self.device)
            pooled = torch.zeros(size, config.pooled_projection_dim, device=self.device)
            sigmas = torch.ones(size, device=self.device)
            words = (states.to(self.dtype), pooled.to(self.dtype))
            inner = self.accelerator.unwrap_model(self.loss)
            inner(tokens, tokens, tokens, *words, sigmas, self.ids).sum().backward()
            del held
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def _rows(self) -> int:
        """Rows of tokens in a picture. Raises MegastyleError if the size is no multiple of one."""
        side, size = token_size_px(self.pipeline.vae), self.settings.size_px
        if size % side or size < side:
            near = max(side, size // side * side)
            raise MegastyleError(
                f"--size {size} is no multiple of {side}, the pixels of a token of this model",
                hint=f"give {near} or {near + side}",
            )
        return size // side

    def _encoders(self, prompts: Sequence[str], tell: Callable[[str], None]) -> Encoders:
        """The frozen parts on the device; without the text encoders if all text is encoded now."""
        pipeline = self.pipeline
        for name in ("vae", *ENCODERS):
            getattr(pipeline, name).requires_grad_(False).to(self.device)
        if not self.room.encodes_first:
            return Encoders(pipeline, self.device)
        store = WordStore(self.folder / WORDS, pipeline)
        store.fill(prompts, pipeline, self.accelerator, tell)
        for name in ENCODERS:
            setattr(pipeline, name, None)
        clear_device_cache(garbage_collection=True)
        return Encoders(pipeline, self.device, store)

    def told_full(self) -> MegastyleError:
        """The sentence for work that found no memory, with what would fit."""
        plan = self.plan
        if self.chunk > 1:
            hint = f"give --chunk {self.chunk // 2} and --resume"
        elif plan.num_twice < plan.layers:
            hint = "give --chunk 1 --recompute all and --resume"
        elif not self.room.encodes_first:
            hint = "give --encode-text first and --resume"
        else:
            hint = SMALLER
        return MegastyleError(
            f"out of memory at step {self.at} with {self.chunk} pairs at once and"
            f" {plan.num_twice} of {plan.layers} blocks computed twice",
            hint=hint,
            exit_code=UNEXPECTED,
        )


WORDS = "words"  # the folder of a run's encoded prompts
SMALLER = (
    "give --optimizer adamw8bit, --quantize int8 or nf4, a smaller --size or --rank,"
    " or a device with more memory"
)


def _compute_twice(transformer: Transformer, every: int) -> None:
    """Every n-th block keeps its input alone and is computed again for the backward pass."""
    if not every:
        return
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    chosen = {id(block) for block in blocks[::every]}

    def pass_on(block: nn.Module, *inputs: Any) -> Any:
        if id(block) in chosen:
            return checkpoint(block.__call__, *inputs, use_reentrant=False)
        return block(*inputs)

    transformer.enable_gradient_checkpointing(pass_on)


def _chosen(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    chosen: torch.dtype = getattr(torch, dtype)
    return chosen
