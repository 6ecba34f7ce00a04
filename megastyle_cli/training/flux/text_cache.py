"""What T5 and CLIP make of prompts: beside the steps, or of all prompts before the first step.

FLUX.1's text encoders are 10 GB. Where these leave the transformer too little room, every prompt is
encoded before it takes its place, into RUN/words/, a file each, and the encoders are gone then. A
file's name is a hash of the prompt and of the encoders, so that neither can be taken for another.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
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
from megastyle_cli.training.common.atomic_folder import write_whole
from megastyle_cli.training.common.memory_plan import said

TOGETHER = 8  # prompts encoded at once before the first step
REMEMBERED = 2**28  # bytes of words that are kept on a CPU
ENCODERS = ("text_encoder", "text_encoder_2")


class TextEncoders:
    """A pipeline's text encoders on a device.

    On a CPU they encode one prompt after the other, so that its words depend on nothing else, bit
    for bit, and remember those asked for last; elsewhere all together.
    """

    def __init__(self, pipeline: Pipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self._remembered = lru_cache(REMEMBERED // bytes_a_prompt(pipeline))(self._alone)

    def words(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """What they make of `prompts`."""
        if self.device.type != "cpu":
            return encode_prompts(self.pipeline, list(prompts), self.device)
        return _together([self._remembered(prompt) for prompt in prompts])

    def _alone(self, prompt: str) -> PromptEmbeddings:
        return encode_prompts(self.pipeline, [prompt], self.device)


class WordStore:
    """Prompts that a pipeline's text encoders have encoded, in a folder."""

    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        self.folder = folder
        tensors: dict[str, Tensor] = {}
        for name in ENCODERS:
            held = first_values(getattr(pipeline, name).state_dict())
            tensors |= {f"{name}.{key}": value for key, value in held.items()}
        dtype = pipeline.text_encoder_2.dtype
        self.encoders = f"{fingerprint(tensors)} {dtype} {max_text_tokens(pipeline)}"

    def path(self, prompt: str) -> Path:
        """Where the words of `prompt` are, or would be."""
        name = hashlib.sha256(
            f"{self.encoders}\n{prompt}".encode("utf-8", "surrogatepass")
        ).hexdigest()[:32]
        return self.folder / name[:2] / f"{name}.safetensors"

    def lacking(self, prompts: Iterable[str]) -> list[str]:
        """Those of the distinct `prompts` that are not there, sorted."""
        return [prompt for prompt in sorted(set(prompts)) if not self.path(prompt).exists()]

    @torch.no_grad()
    def fill(
        self,
        prompts: Iterable[str],
        pipeline: Pipeline,
        accelerator: Accelerator,
        tell: Callable[[str], None],
    ) -> None:
        """Encodes the `prompts` that are not there, each rank its share; all wait for all.

        Raises MegastyleError (exit 1) if the disk has no room, before anything is encoded; if it
        fills up meanwhile, what was encoded stays.
        """
        lacking = self.lacking(prompts)
        needed = len(lacking) * bytes_a_prompt(pipeline)
        self._refuse_full_disk(len(lacking), needed)
        if lacking:
            tell(f"encoding {len(lacking):,} prompts first, {said(needed)} in {self.folder}")
        accelerator.wait_for_everyone()  # nobody writes before everybody has looked
        encoders = TextEncoders(pipeline, accelerator.device)
        mine = lacking[accelerator.process_index :: accelerator.num_processes]
        for start in range(0, len(mine), TOGETHER):
            some = mine[start : start + TOGETHER]
            words = encoders.words(some)
            for k, prompt in enumerate(some):
                self._write(prompt, words.states[k], words.pooled[k])
        accelerator.wait_for_everyone()

    def words(self, prompts: Sequence[str], device: torch.device) -> PromptEmbeddings:
        """Those of `prompts`, which are all there."""
        held = [load_file(self.path(prompt)) for prompt in prompts]
        rows = [PromptEmbeddings(states=h["states"][None], pooled=h["pooled"][None]) for h in held]
        words = _together(rows)
        return PromptEmbeddings(
            states=words.states.to(device, non_blocking=True),
            pooled=words.pooled.to(device, non_blocking=True),
        )

    def _refuse_full_disk(self, count: int, needed: int) -> None:
        free = shutil.disk_usage(self.folder.parent).free
        if needed > free:
            raise MegastyleError(
                f"the words of {count:,} prompts take {said(needed)} in {self.folder},"
                f" {said(free)} are free",
                hint="give another -o, fewer records (--limit), or --encode-text beside",
                exit_code=UNEXPECTED,
            )

    def _write(self, prompt: str, states: Tensor, pooled: Tensor) -> None:
        path = self.path(prompt)
        path.parent.mkdir(parents=True, exist_ok=True)
        held = {"states": states.cpu().contiguous(), "pooled": pooled.cpu().contiguous()}
        write_whole(path, lambda aside: save_file(held, aside))


def bytes_a_prompt(pipeline: Pipeline) -> int:
    """Of the words of one prompt: 4.2 MB for FLUX.1 in half precision."""
    t5, clip = pipeline.text_encoder_2, pipeline.text_encoder
    numbers = max_text_tokens(pipeline) * t5.config.hidden_size + clip.config.hidden_size
    return int(numbers * t5.dtype.itemsize)


def _together(rows: Sequence[PromptEmbeddings]) -> PromptEmbeddings:
    return PromptEmbeddings(
        states=torch.cat([row.states for row in rows]),
        pooled=torch.cat([row.pooled for row in rows]),
    )
