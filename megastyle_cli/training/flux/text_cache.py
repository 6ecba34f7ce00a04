"""Prompt embeddings by T5 and CLIP: computed during training, or all before the first step.

FLUX.1's text encoders take 10 GB. Where they would leave the transformer too little memory, every
prompt is encoded before the transformer is loaded, into RUN/words/, one file each, and the encoders
are freed. A file's name is a hash of the prompt and of the encoders, so neither can be mistaken for
another.
"""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.models.flux.prompt_embeddings import (
    PromptEmbeddings,
    encode_prompts,
    max_text_tokens,
)
from megastyle_cli.models.strict_weights import fingerprint, first_values
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline
from megastyle_cli.training.common.memory_plan import format_bytes
from megastyle_cli.training.common.run_folder import run_output

BATCH = 8  # prompts encoded at once before the first step
CACHE_BYTES = 2**28  # of embeddings that are kept in memory on a CPU
TEXT_ENCODERS = ("text_encoder", "text_encoder_2")


class TextEncoders:
    """A pipeline's text encoders on a device.

    On a CPU they encode one prompt at a time, so that its embedding does not depend on the others,
    bit for bit, and cache the most recent ones; elsewhere they encode all together.
    """

    def __init__(self, pipeline: Pipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        cache_size = CACHE_BYTES // bytes_per_prompt(pipeline)
        self._cached_embedding = lru_cache(cache_size)(self._embed_one)

    def embed(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """The embeddings of `prompts`, on the device."""
        if self.device.type != "cpu":
            return encode_prompts(self.pipeline, list(prompts), self.device)
        return _concatenate([self._cached_embedding(prompt) for prompt in prompts])

    def _embed_one(self, prompt: str) -> PromptEmbeddings:
        return encode_prompts(self.pipeline, [prompt], self.device)


class PromptCache:
    """Embeddings of prompts by a pipeline's text encoders, stored in a folder."""

    def __init__(self, folder: Path, pipeline: Pipeline, device: torch.device) -> None:
        self.folder, self.device = folder, device
        tensors: dict[str, Tensor] = {}
        for name in TEXT_ENCODERS:
            weights = first_values(getattr(pipeline, name).state_dict())
            tensors |= {f"{name}.{key}": value for key, value in weights.items()}
        dtype = pipeline.text_encoder_2.dtype
        self.encoders_key = f"{fingerprint(tensors)} {dtype} {max_text_tokens(pipeline)}"
        self.bytes_per_prompt = bytes_per_prompt(pipeline)

    def path(self, prompt: str) -> Path:
        """The file for the embeddings of `prompt`, whether or not it exists."""
        content = f"{self.encoders_key}\n{prompt}".encode("utf-8", "surrogatepass")
        name = hashlib.sha256(content).hexdigest()[:32]
        return self.folder / name[:2] / f"{name}.safetensors"

    def missing(self, prompts: Iterable[str]) -> list[str]:
        """The distinct `prompts` that are not stored yet, sorted.

        Raises MegastyleError (exit 1) if the disk has no space for them.
        """
        missing = [prompt for prompt in sorted(set(prompts)) if not self.path(prompt).exists()]
        needed = len(missing) * self.bytes_per_prompt
        free = shutil.disk_usage(self.folder.parent).free
        if needed > free:
            raise MegastyleError(
                f"the embeddings of {len(missing):,} prompts need {format_bytes(needed)} in"
                f" {self.folder}, but {format_bytes(free)} are free",
                hint="give another -o, fewer records (--limit), or --encode-text beside",
                exit_code=UNEXPECTED,
            )
        return missing

    @torch.no_grad()
    def fill(self, missing: Sequence[str], pipeline: Pipeline, accelerator: Accelerator) -> None:
        """Encodes and stores the `missing` prompts, each rank its share; all ranks wait.

        Raises MegastyleError (exit 1) if the disk fills up; the stored prompts stay.
        """
        accelerator.wait_for_everyone()  # no rank writes before all have checked what is missing
        encoders = TextEncoders(pipeline, accelerator.device)
        mine = missing[accelerator.process_index :: accelerator.num_processes]
        for start in range(0, len(mine), BATCH):
            prompts = mine[start : start + BATCH]
            embeddings = encoders.embed(prompts)
            for k, prompt in enumerate(prompts):
                self._write(prompt, embeddings.states[k], embeddings.pooled[k])
        accelerator.wait_for_everyone()

    def embed(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """The stored embeddings of `prompts`, on the device; all must be stored."""
        stored = [load_file(self.path(prompt)) for prompt in prompts]
        embeddings = _concatenate(
            [PromptEmbeddings(states=s["states"][None], pooled=s["pooled"][None]) for s in stored]
        )
        return PromptEmbeddings(
            states=embeddings.states.to(self.device, non_blocking=True),
            pooled=embeddings.pooled.to(self.device, non_blocking=True),
        )

    def _write(self, prompt: str, states: Tensor, pooled: Tensor) -> None:
        path = self.path(prompt)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"states": states.cpu().contiguous(), "pooled": pooled.cpu().contiguous()}
        with run_output(path) as temporary:
            save_file(tensors, temporary)


def bytes_per_prompt(pipeline: Pipeline) -> int:
    """The size of one prompt's embeddings: 4.2 MB for FLUX.1 in half precision."""
    t5, clip = pipeline.text_encoder_2, pipeline.text_encoder
    numbers = max_text_tokens(pipeline) * t5.config.hidden_size + clip.config.hidden_size
    return int(numbers * t5.dtype.itemsize)


def _concatenate(rows: Sequence[PromptEmbeddings]) -> PromptEmbeddings:
    return PromptEmbeddings(
        states=torch.cat([row.states for row in rows]),
        pooled=torch.cat([row.pooled for row in rows]),
    )
