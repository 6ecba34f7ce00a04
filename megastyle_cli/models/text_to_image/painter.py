"""Any text-to-image pipeline of diffusers as a painter: Qwen-Image, FLUX.1, FLUX.2, SD3, SDXL."""

import inspect
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from torch import Tensor

from megastyle_cli.core.errors import BadRecord, MegastyleError, is_out_of_memory
from megastyle_cli.models.device import resolve_device, resolve_dtype
from megastyle_cli.models.hub import find_model
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.quantization import Quantized
from megastyle_cli.models.text_to_image.guidance import guidance_recipe, resolve_guidance
from megastyle_cli.models.text_to_image.lora_adapter import add_lora
from megastyle_cli.models.text_to_image.pipeline_loader import (
    HOW_TO_FETCH,
    denoiser_of,
    folder_fingerprint,
    load_pipeline,
)
from megastyle_cli.models.text_to_image.presets import PRESETS, apply_preset

log = logging.getLogger(__name__)

Offload = Literal["model", "layers"]
Size = tuple[int, int]  # width, height in pixels
Words = dict[str, Tensor]  # what a pipeline is told of one prompt, each (1, ...)

STEPS = 40  # the paper's, with guidance 4.0 of Qwen-Image
SIDE_PX = 512  # the released pictures'
PIXELS_AT_ONCE = 1024 * 1024  # a batch of 4096 tokens keeps a large GPU busy
MULTIPLE = 16  # 8 pixels a latent, 2 latents a token


class DiffusionPainter:
    """Paints "content. style" of each request with the pipeline in a folder or hub NAME[@REVISION].

    The order of the two is rebuilt, as is the plain " " that Qwen-Image's guidance is real
    against. Prompts are encoded alone, before anything is painted; pictures are painted together
    if they have one size and their prompts one number of tokens, so that nothing is padded. Noise
    is drawn on the CPU, from the request's seed alone. On a CPU pictures are painted one at a
    time: each depends on its request alone, bit for bit; elsewhere batches agree up to rounding.

    `batch_size` pictures at a time, by default as many as make a megapixel; half as many from then
    on if the memory does not suffice. `offload` "model" has the text encoders on the device while
    they encode, and the rest while it paints; "layers" each layer while it works.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        lora: str | None = None,
        lora_strength: float = 1.0,
        preset: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str | None = None,
        quantize: Quantized | None = None,
        device: str | None = None,
        dtype: str | None = None,
        offload: Offload | None = None,
        compiled: bool = False,
        batch_size: int | None = None,
    ) -> None:
        if model is None:
            raise MegastyleError(
                "the diffusers backend needs a model", hint="give --model FOLDER or Qwen/Qwen-Image"
            )
        self.device = resolve_device(device)
        if offload and self.device.type == "cpu":
            raise MegastyleError("--offload needs a GPU to save memory on", hint="leave it out")
        if quantize == "nf4" and self.device.type == "cpu":
            raise MegastyleError("--quantize nf4 needs a GPU", hint="give int8 or fp8")
        folder = find_model(model, hint=HOW_TO_FETCH, is_pipeline=True)
        self.pipeline = load_pipeline(str(folder), resolve_dtype(dtype, self.device), quantize)
        self.pipeline.set_progress_bar_config(disable=True)
        self.recipe = guidance_recipe(type(self.pipeline))
        self.name = f"{model}@{folder_fingerprint(folder)}"
        if preset is not None:
            apply_preset(self.pipeline, preset)
            guidance = PRESETS[preset].guidance if guidance is None else guidance
        if lora is not None:
            add_lora(self.pipeline, Path(lora), lora_strength, fuse=quantize is None)
        self.guidance = resolve_guidance(self.pipeline, self.recipe, guidance, negative)
        self.negative = self.recipe.negative if negative is None else negative
        self.steps = steps or (PRESETS[preset].steps if preset else STEPS)
        self.offload = offload
        if offload is None:
            self.pipeline.to(self.device)
        elif offload == "layers":
            self.pipeline.enable_group_offload(
                self.device, offload_type="leaf_level", use_stream=True
            )
        if compiled:
            denoiser_of(self.pipeline).compile_repeated_blocks(fullgraph=True)
        self.batch_size = batch_size
        self._halvings = 0
        self._negative_words: Words = {}
        self.settings: dict[str, Any] = {"steps": self.steps, "guidance": self.guidance}
        self.settings |= {"negative": self.negative} if self._contrasts else {}
        diffusers_logging.set_verbosity_error()

    @property
    def _contrasts(self) -> bool:
        """Whether each step takes a second pass with the negative prompt."""
        return self.recipe.kind == "contrast" and (self.guidance or 0) > 1

    @torch.inference_mode()
    def paint(self, requests: Sequence[PictureRequest]) -> list[Image.Image | BadRecord]:
        """One RGB picture a request, in order, sides rounded up to multiples of 16.

        BadRecord stands for a request without words (missing_key), for a picture that is no
        picture (model_error: NaN), and for one that does not fit the memory (out_of_memory).
        """
        prompts = [prompt_of(asked) for asked in requests]
        sizes = [self._size(asked) for asked in requests]
        told = self._encoded([text for text in prompts if isinstance(text, str)])
        painted: list[Image.Image | BadRecord] = [
            text if isinstance(text, BadRecord) else BadRecord("model_error", "not painted")
            for text in prompts
        ]
        alike: dict[tuple[Size, tuple[torch.Size, ...]], list[int]] = {}
        for row, (text, size) in enumerate(zip(prompts, sizes, strict=True)):
            if isinstance(text, str):
                shapes = tuple(tensor.shape for tensor in told[text].values())
                alike.setdefault((size, shapes), []).append(row)
        with self._on_device("painting"):
            for (size, _), rows in alike.items():
                seeds = [requests[row].seed for row in rows]
                words = [
                    (text, told[text]) for row in rows if isinstance(text := prompts[row], str)
                ]
                found = self._in_batches(list(zip(words, seeds, strict=True)), size)
                for row, picture in zip(rows, found, strict=True):
                    painted[row] = picture
        return painted

    def _in_batches(
        self, asked: list[tuple[tuple[str, Words], int]], size: Size
    ) -> Iterator[Image.Image | BadRecord]:
        """The pictures of one size and prompt length, as many at a time as the memory holds."""
        done = 0
        while done < len(asked):
            some = asked[done : done + self._at_once(size)]
            try:
                pictures = self._painted(some, size)
            except (RuntimeError, MemoryError) as fault:
                if not is_out_of_memory(fault):
                    raise
                pictures = []
            if not pictures and len(some) == 1:
                pictures = [
                    BadRecord(
                        "out_of_memory",
                        f"one picture of {size[0]} x {size[1]} does not fit on {self.device}: try a"
                        " smaller --size, --offload model, --offload layers or --quantize",
                    )
                ]
            elif not pictures:
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                self._halvings += 1
                log.warning(
                    "%d pictures of %d x %d do not fit on %s: going on with %d at a time",
                    *(len(some), *size, self.device, self._at_once(size)),
                )
            yield from pictures
            done += len(pictures)

    def _painted(
        self, asked: list[tuple[tuple[str, Words], int]], size: Size
    ) -> list[Image.Image | BadRecord]:
        texts, words = zip(*(told for told, _ in asked), strict=True)
        generators = [torch.Generator().manual_seed(seed) for _, seed in asked]
        how: dict[str, Any] = {}
        if self.recipe.encoded:
            how |= {
                name: torch.cat([told[name] for told in words]).to(self.device) for name in words[0]
            }
            how |= {
                name: tensor.expand(len(asked), *tensor.shape[1:]).to(self.device)
                for name, tensor in self._negative_words.items()
            }
        else:
            how["prompt"] = list(texts)
            if self._contrasts and self.negative is not None:
                how["negative_prompt"] = [self.negative] * len(asked)
        if self.recipe.argument is not None and self.guidance is not None:
            how[self.recipe.argument] = self.guidance
        made = self.pipeline(
            **how,
            width=size[0],
            height=size[1],
            num_inference_steps=self.steps,
            generator=generators,
            output_type="np",
        )
        return [_picture(pixels) for pixels in made.images]

    def _encoded(self, prompts: Sequence[str]) -> dict[str, Words]:
        """What the pipeline is told of each prompt; nothing where it encodes words itself."""
        if not self.recipe.encoded:
            return dict.fromkeys(prompts, {})
        with self._on_device("encoding"):
            if self._contrasts and not self.recipe.paired and not self._negative_words:
                words = self._words(self.negative or "")
                self._negative_words = {f"negative_{name}": told for name, told in words.items()}
            return {text: self._words(text) for text in dict.fromkeys(prompts)}

    def _words(self, prompt: str) -> Words:
        """One prompt, encoded alone: nothing is padded to the length of another."""
        how: dict[str, Any] = {"prompt": prompt, "device": self.device}
        if self.recipe.paired:
            how |= {"do_classifier_free_guidance": self._contrasts}
            how |= {"negative_prompt": self.negative}
        asked = inspect.signature(self.pipeline.encode_prompt).parameters
        how |= {name: None for name in ("prompt_2", "prompt_3") if name in asked}  # the same words
        values = self.pipeline.encode_prompt(**how)
        return {
            name: value
            for name, value in zip(self.recipe.encoded, values, strict=True)
            if name is not None and value is not None
        }

    @contextmanager
    def _on_device(self, what: Literal["encoding", "painting"]) -> Iterator[None]:
        """With --offload model, has the parts that work now on the device, and the others not."""
        if self.offload != "model":
            yield
            return
        encoders = {
            name: part
            for name, part in self.pipeline.components.items()
            if name.startswith("text_encoder") and part is not None
        }
        others = [
            part
            for name, part in self.pipeline.components.items()
            if isinstance(part, torch.nn.Module) and name not in encoders
        ]
        away = dict.fromkeys(encoders) if what == "painting" and self.recipe.encoded else {}
        working = [*encoders.values()] if what == "encoding" else others
        if what == "painting" and not self.recipe.encoded:
            working = [*working, *encoders.values()]
        for part in working:
            part.to(self.device)
        # A pipeline takes the device of its first part for its own.
        for name in away:
            setattr(self.pipeline, name, None)
        try:
            yield
        finally:
            for name in away:
                setattr(self.pipeline, name, encoders[name])
            for part in working:
                part.to("cpu")

    def _at_once(self, size: Size) -> int:
        if self.device.type == "cpu" or not self.recipe.encoded:
            return 1
        most = self.batch_size or PIXELS_AT_ONCE // math.prod(size)
        return max(1, most >> self._halvings)

    def _size(self, asked: PictureRequest) -> Size:
        side = asked.long_side or SIDE_PX
        factor = int(getattr(self.pipeline.image_processor.config, "vae_scale_factor", MULTIPLE))
        multiple = math.lcm(MULTIPLE, factor)
        width, height = asked.size_px or (side, side)
        return math.ceil(width / multiple) * multiple, math.ceil(height / multiple) * multiple


def prompt_of(asked: PictureRequest) -> str | BadRecord:
    """The words a request is painted from: content, then style, as the dataset's auditors joined.

    BadRecord (missing_key) if one of the two is missing or empty.
    """
    if not asked.content or not asked.content.strip(" .") or not asked.style:
        lacking = "style" if asked.content and asked.content.strip(" .") else "content"
        return BadRecord(
            "missing_key",
            f"a text-to-image model paints content and style in words, and there is no {lacking}:"
            " give records as caption and pair write them",
        )
    return f"{asked.content.strip(' .')}. {asked.style.strip()}"


def _picture(pixels: Any) -> Image.Image | BadRecord:
    """Pixels (h, w, 3) in [0, 1] as a picture; BadRecord if some are no numbers."""
    if not np.isfinite(pixels).all():
        share = 1 - np.isfinite(pixels).mean()
        return BadRecord(
            "model_error",
            f"{share:.0%} of the pixels are no numbers (NaN): try --dtype float32 or bfloat16",
        )
    return Image.fromarray((pixels * 255).round().astype(np.uint8)).convert("RGB")
