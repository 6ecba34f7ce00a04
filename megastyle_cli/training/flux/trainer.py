"""Trainer of FLUX: the flow-matching loss of style pairs, by a LoRA or all weights.

A step in `FluxTrainer.forward_backward`: the target's latents get noise at a random level, the
transformer predicts its velocity beside the clean reference, and the weighted squared error is
averaged over the global batch. The loop is `Trainer.train` in common/trainer.py.
"""

import shutil
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, is_out_of_memory
from megastyle_cli.models.device import require_compiler
from megastyle_cli.models.flux.model import Transformer, position_ids, velocity
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings, max_text_tokens
from megastyle_cli.models.flux.vae import token_size_px
from megastyle_cli.training.common.memory_plan import format_bytes
from megastyle_cli.training.common.memory_probe import least_free_bytes
from megastyle_cli.training.common.optimizer import MOMENT_BYTES, build_optimizer
from megastyle_cli.training.common.parquet import describe_parquet
from megastyle_cli.training.common.run import Metrics, RunContext, TrainingResult
from megastyle_cli.training.common.trainer import Trainer
from megastyle_cli.training.flux.batch import FrozenEncoders, PairBatch, PairLoader
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.flow_matching import add_noise, squared_errors
from megastyle_cli.training.flux.memory_cost import plan_flux_memory
from megastyle_cli.training.flux.pairs import TrainingPairs
from megastyle_cli.training.flux.text_cache import TEXT_ENCODERS, PromptCache, TextEncoders
from megastyle_cli.training.flux.trainable import TrainableModel
from megastyle_cli.training.flux.validation import held_out_losses, paint_samples

# b pairs of a rank, n tokens of an image, 4c values in a token

BETAS = (0.9, 0.999)  # PyTorch's default, as in the official trainer
PROMPT_FOLDER = "words"  # in the run folder, while all prompts are encoded first
SMALLER = (
    "give --optimizer adamw8bit, --quantize int8 or nf4, a smaller --size or --rank,"
    " or a device with more memory"
)


class FlowMatching(nn.Module):
    """The transformer and its loss as one module: DDP synchronizes the gradients of its forward."""

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
        """The mean squared error (b,) of each target's predicted velocity, float32.

        The reference is clean at every noise level and does not count in the error.
        """
        noisy = add_noise(latents, noise, sigmas).to(self.dtype)
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


class FluxTrainer(Trainer[PairBatch]):
    """A FLUX transformer in training; `trainable` knows whether a LoRA or all of it is trained."""

    items, noun = "samples", "pairs"
    out_of_memory_hint = SMALLER
    config: FluxConfig

    def __init__(self, config: FluxConfig, data: TrainingPairs, context: RunContext) -> None:
        super().__init__(config, config.steps, context)
        self.data = data
        self.sample_every = config.sample_every if config.samples else 0
        with self._explain_out_of_memory(is_loading=True):
            self._build()

    def _build(self) -> None:
        """Loads the model, plans memory, and puts everything on the device.

        The text encoders come first: they may have to be freed before the transformer is moved.
        """
        config, world = self.config, self.accelerator.num_processes
        free = least_free_bytes(self.accelerator)  # before anything is allocated
        self.trainable = TrainableModel(config, self.dtype)
        self.pipeline = self.trainable.pipeline
        self.transformer = self.trainable.transformer
        self.rows = token_rows(config.size, token_size_px(self.pipeline.vae))
        if config.compile:
            require_compiler(self.device)
        self.memory = plan_flux_memory(
            self.trainable,
            device=self.device,
            dtype=self.dtype,
            rows=self.rows,
            free=free,
            world=world,
        )
        self.plan = self.memory.plan
        self.micro_batch = self.plan.micro_batch
        self.encoders = self._load_encoders()
        self.transformer.train().to(self.device)
        self.trained = [w for w in self.transformer.parameters() if w.requires_grad]
        self.ema = [w.detach().clone() for w in self.trained] if config.ema else []
        self.optimizer = build_optimizer(self.transformer, config, betas=BETAS, fused=True)
        self.ids = position_ids(self.rows, self.rows, 1).to(self.device)
        _recompute_activations(self.transformer, self.plan.recompute_every)
        if config.compile:
            self.transformer.compile_repeated_blocks(fullgraph=True)
        model = FlowMatching(self.transformer, self.dtype, config.guidance)
        frozen = [name for name, w in model.named_parameters() if not w.requires_grad]
        # Every rank has read the same files; 24 GB need not be sent, nor can quantized weights be.
        ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        ignore(model, frozen)
        self.model: nn.Module = self.accelerator.prepare(model)

    def train(self) -> TrainingResult:
        """As `Trainer.train`; running out of memory is reported with what would fit."""
        with self._explain_out_of_memory():
            return super().train()

    def batches(self) -> Generator[PairBatch, None, None]:
        """This rank's batches from the current step to the last, encoded ahead."""
        loader = PairLoader(
            self.data.sampler,
            self.encoders,
            self.config,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        with closing(loader):
            yield from loader.batches(self.step, self.num_steps)

    def forward_backward(self, batch: PairBatch) -> Metrics:
        """Adds the gradient of the mean weighted error over the global batch; the loss."""
        b, total = len(batch.ids), torch.zeros((), device=self.device)
        for start in range(0, b, self.micro_batch):
            rows = slice(start, start + self.micro_batch)
            is_last = rows.stop >= b
            with nullcontext() if is_last else self.accelerator.no_sync(self.model):
                loss = (batch.weights[rows] * self.errors(batch, rows, self.model)).sum() / b
                torch.autograd.backward(loss)
            total += loss.detach()
        return {"loss": float(self.accelerator.reduce(total, "mean"))}

    def errors(self, batch: PairBatch, rows: slice, model: nn.Module) -> Tensor:
        """The unweighted squared error (b,) of those rows of a batch."""
        errors: Tensor = model(
            batch.latents[rows],
            batch.references[rows],
            batch.noise[rows],
            batch.prompts.states[rows],
            batch.prompts.pooled[rows],
            batch.sigmas[rows],
            self.ids,
        )
        return errors

    def batch_ids(self, batch: PairBatch) -> list[str]:
        """The ids of the targets in a batch."""
        return batch.ids

    def validate(self) -> Metrics:
        """The losses of held-out pairs at fixed noise levels; empty if there are none."""
        losses = held_out_losses(self, self.data.split.held_out)
        if losses:
            self.log_validation(losses)
        return losses

    def paint_samples(self) -> None:
        """Paints held-out pairs, or training pairs if none are held out, into RUN/samples/."""
        split = self.data.split
        paint_samples(self, split.held_out if len(split.held_out) else split.training)

    def write_weights(self, folder: Path) -> None:
        """Writes the trained weights to the folder of a checkpoint."""
        self.trainable.write_checkpoint(folder, self.trainable.metadata(self.step))

    def read_weights(self, folder: Path) -> None:
        """Reads the trained weights back from the folder of a checkpoint."""
        self.trainable.read_checkpoint(folder)

    def ema_state(self) -> dict[str, Any]:
        """The averaged weights in the order of the trained weights."""
        return {"averages": self.ema}

    def load_ema(self, state: dict[str, Any]) -> None:
        """Copies the averaged weights from the state of training.pt."""
        for average, saved in zip(self.ema, state["averages"], strict=True):
            average.copy_(saved)

    def restore(self) -> None:
        """As `Trainer.restore`; running out of memory is reported with what would fit."""
        with self._explain_out_of_memory(is_loading=True):
            super().restore()

    def export(self) -> Path:
        """Writes RUN/lora/ or RUN/flux/ and deletes the stored prompt embeddings."""
        dtype = getattr(torch, self.config.export_dtype)
        metadata = self.trainable.metadata(self.step)
        finished = self.trainable.export(self.folder, metadata, dtype)
        shutil.rmtree(self.folder / PROMPT_FOLDER, ignore_errors=True)
        return finished

    def probe_memory(self, micro_batch: int) -> None:
        """Takes the memory of a step with that micro-batch, and changes no weight."""
        parameters = sum(weight.numel() for weight in self.trained)
        moments = round(MOMENT_BYTES[self.config.optimizer] * parameters)
        later = 0 if self.optimizer.state else moments
        size = min(micro_batch, self.plan.items)
        config, n = self.transformer.config, self.rows**2
        text = max_text_tokens(self.pipeline)
        try:
            reserved = torch.empty(later, dtype=torch.uint8, device=self.device)
            tokens = torch.zeros(size, n, config.in_channels, device=self.device)
            states = torch.zeros(size, text, config.joint_attention_dim, device=self.device)
            pooled = torch.zeros(size, config.pooled_projection_dim, device=self.device)
            prompts = (states.to(self.dtype), pooled.to(self.dtype))
            sigmas = torch.ones(size, device=self.device)
            model = self.accelerator.unwrap_model(self.model)
            model(tokens, tokens, tokens, *prompts, sigmas, self.ids).sum().backward()
            del reserved
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def describe(self) -> list[str]:
        """The plan of the run, in words: weights, batch, memory, steps, noise levels."""
        config, trainable = self.config, self.trainable
        parameters = sum(weight.numel() for weight in self.trained)
        dtype = str(self.dtype).removeprefix("torch.")
        world, batch = self.accelerator.num_processes, config.global_batch
        kind = "all weights"
        if trainable.rank is not None:
            kind = f"a LoRA of rank {trainable.rank} on {len(trainable.targets)} modules"
        frozen = f", frozen weights in {config.quantize}" if config.quantize else ""
        lines = [
            f"{parameters:,} parameters to train: {kind} of {trainable.model}, {dtype}{frozen}",
            f"batch {batch:,} = {world} x {batch // world:,} pairs of {config.size} px on"
            f" {self.device.type}",
            f"memory: {self.plan.sentence}",
            self.memory.sentence,
            f"{config.steps:,} steps of {config.optimizer}, {config.schedule} schedule, from step"
            f" {self.step:,}; noise levels {config.timesteps}, loss weight {config.loss_weight},"
            f" guidance {config.guidance:g}",
        ]
        return [*lines, *describe_parquet(self.data.split.training.targets)]

    def _load_encoders(self) -> FrozenEncoders:
        """The frozen parts on the device; if text is encoded first, the text encoders are freed."""
        pipeline = self.pipeline
        for name in ("vae", *TEXT_ENCODERS):
            getattr(pipeline, name).requires_grad_(False).to(self.device)
        if not self.memory.encodes_first:
            return FrozenEncoders(pipeline, self.device, TextEncoders(pipeline, self.device))
        cache = PromptCache(self.folder / PROMPT_FOLDER, pipeline, self.device)
        missing = cache.missing(self.data.prompts)
        if missing:
            size = format_bytes(len(missing) * cache.bytes_per_prompt)
            self.context.say(f"encoding {len(missing):,} prompts first: {size} in {cache.folder}")
        cache.fill(missing, pipeline, self.accelerator)
        for name in TEXT_ENCODERS:
            setattr(pipeline, name, None)
        clear_device_cache(garbage_collection=True)
        return FrozenEncoders(pipeline, self.device, cache)

    @contextmanager
    def _explain_out_of_memory(self, *, is_loading: bool = False) -> Iterator[None]:
        """Inside, running out of memory raises MegastyleError (exit 1) with what would fit."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._too_large() if is_loading else self._out_of_memory() from error

    def _too_large(self) -> MegastyleError:
        return MegastyleError(
            f"out of memory: training {self.config.model} does not fit on {self.device}",
            hint=SMALLER,
            exit_code=UNEXPECTED,
        )

    def _out_of_memory(self) -> MegastyleError:
        plan = self.plan
        if self.micro_batch > 1:
            hint = f"give --chunk {self.micro_batch // 2} and --resume"
        elif plan.num_recomputed < plan.layers:
            hint = "give --chunk 1 --recompute all and --resume"
        elif not self.memory.encodes_first:
            hint = "give --encode-text first and --resume"
        else:
            hint = SMALLER
        return MegastyleError(
            f"out of memory at step {self.step} with {self.micro_batch} pairs at once and"
            f" {plan.num_recomputed} of {plan.layers} blocks recomputed",
            hint=hint,
            exit_code=UNEXPECTED,
        )


def token_rows(size_px: int, token_px: int) -> int:
    """Rows of tokens in an image. Raises MegastyleError if a token does not divide the size."""
    if size_px % token_px or size_px < token_px:
        near = max(token_px, size_px // token_px * token_px)
        raise MegastyleError(
            f"--size {size_px} is not a multiple of {token_px}, the size of a token of this model",
            hint=f"give {near} or {near + token_px}",
        )
    return size_px // token_px


def _recompute_activations(transformer: Transformer, every: int) -> None:
    """Lets every n-th block keep its input only and recompute the rest in the backward pass."""
    if not every:
        return
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    recomputed = {id(block) for block in blocks[::every]}

    def call_block(block: nn.Module, *inputs: Any) -> Any:
        if id(block) in recomputed:
            return checkpoint(block.__call__, *inputs, use_reentrant=False)
        return block(*inputs)

    transformer.enable_gradient_checkpointing(call_block)
