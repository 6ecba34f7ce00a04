"""Any text-to-image pipeline of diffusers as a painter: Qwen-Image, FLUX.1, FLUX.2, SD3, SDXL."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from megastyle_cli.core.errors import BadRecord, MegastyleError, is_out_of_memory
from megastyle_cli.models.device import resolve_device, resolve_dtype
from megastyle_cli.models.hub import find_model
from megastyle_cli.models.image_size import Size, images_per_batch, round_up
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.quantization import Quantized
from megastyle_cli.models.text_to_image.guided_pipeline import (
    EncodedPrompt,
    GuidedPipeline,
    Offload,
)
from megastyle_cli.models.text_to_image.lora_adapter import add_lora
from megastyle_cli.models.text_to_image.painting_memory import check_memory
from megastyle_cli.models.text_to_image.pipeline_class import model_names
from megastyle_cli.models.text_to_image.pipeline_loader import (
    denoiser_fingerprint,
    denoiser_of,
    load_pipeline,
)
from megastyle_cli.models.text_to_image.presets import apply_preset

log = logging.getLogger(__name__)

SIDE_PX = 512  # the released images'
HOW_TO_FETCH = (
    "fetch one with: hf download Qwen/Qwen-Image --local-dir Qwen-Image; and give --model"
    " Qwen-Image"
)


class DiffusionPainter:
    """Renders "content. style" of each request with the pipeline in a folder or on the hub.

    `model` is a folder or NAME[@REVISION]. The order of the two texts is our reconstruction, as is
    the plain " " as negative prompt of Qwen-Image. Prompts are encoded one by one, before anything
    is generated; images share a batch if they have one size and their prompts one number of tokens,
    so that nothing is padded. Noise comes from the request's seed alone. On a CPU images are
    generated one at a time: each depends on its request alone, bit for bit; elsewhere batches agree
    up to rounding.

    Without `steps` and `guidance` those of the model's card apply (`model_defaults`).

    `batch_size` images at a time, by default a megapixel of them; if memory runs out, half as many
    from then on. `offload` is that of `GuidedPipeline`. `say` is given the memory plan before
    anything is loaded.
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
        say: Callable[[str], None] | None = None,
    ) -> None:
        if model is None:
            raise MegastyleError(
                "the diffusers backend needs a model", hint="give --model FOLDER or Qwen/Qwen-Image"
            )
        self.device = resolve_device(device)
        if offload and self.device.type == "cpu":
            raise MegastyleError("--offload needs a GPU", hint="omit it")
        if quantize == "nf4" and self.device.type == "cpu":
            raise MegastyleError("--quantize nf4 needs a GPU", hint="give int8 or fp8")
        folder = find_model(model, hint=HOW_TO_FETCH, is_pipeline=True)
        number = resolve_dtype(dtype, self.device)
        plan = check_memory(folder, model, self.device, number, offload, quantize)
        if say is not None:
            say(plan)
        pipeline = load_pipeline(folder, number, quantize)
        self.name = f"{model}@{denoiser_fingerprint(folder)}"
        if preset is not None:
            settings = apply_preset(pipeline, preset)
            steps = steps or settings.steps
            guidance = settings.guidance if guidance is None else guidance
        if lora is not None:
            add_lora(pipeline, Path(lora), lora_strength, fuse=quantize is None)
        self.model = GuidedPipeline(
            pipeline,
            self.device,
            steps=steps,
            guidance=guidance,
            negative=negative,
            offload=offload,
            names=model_names(model, folder),
        )
        if compiled:
            denoiser_of(pipeline).compile_repeated_blocks(fullgraph=True)
        self.batch_size = batch_size
        self._halvings = 0
        self.settings: dict[str, Any] = {
            "steps": self.model.steps,
            "guidance": self.model.guidance,
        }
        if self.model.uses_negative:
            self.settings["negative"] = self.model.negative
        diffusers_logging.set_verbosity_error()

    def paint(self, requests: Sequence[PictureRequest]) -> list[Image.Image | BadRecord]:
        """One RGB image for each request, in order, with sides rounded up to multiples of 16 or 32.

        A BadRecord stands for a request without content or style (missing_key), for an image with
        NaN pixels (model_error), and for one that does not fit into memory (out_of_memory).
        """
        return [image for images in self.paint_batches(requests) for image in images]

    @torch.inference_mode()
    def paint_batches(
        self, requests: Sequence[PictureRequest]
    ) -> Iterator[list[Image.Image | BadRecord]]:
        """The images of `paint` in order: after each batch of the model, those that are next."""
        made: dict[int, Image.Image | BadRecord] = {}
        prompts: dict[int, str] = {}
        for row, request in enumerate(requests):
            try:
                prompts[row] = build_prompt(request)
            except BadRecord as bad:
                made[row] = bad
        encoded = self.model.encode([*prompts.values()])
        alike = {
            row: (self._size(requests[row]), encoded[text].shapes) for row, text in prompts.items()
        }
        groups: dict[tuple[Size, tuple[torch.Size, ...]], list[int]] = {}
        for row, group in alike.items():
            groups.setdefault(group, []).append(row)
        batches = {
            group: self._generate(
                [(encoded[prompts[row]], requests[row].seed) for row in rows], group[0]
            )
            for group, rows in groups.items()
        }
        left = {group: iter(rows) for group, rows in groups.items()}
        row = 0
        with self.model.on_device("denoising"):
            while row < len(requests):
                if row not in made:
                    group = alike[row]
                    images = next(batches[group])
                    made |= {at: image for image, at in zip(images, left[group], strict=False)}
                following = []
                while row in made:
                    following.append(made.pop(row))
                    row += 1
                yield following

    def _generate(
        self, prompts: list[tuple[EncodedPrompt, int]], size: Size
    ) -> Iterator[list[Image.Image | BadRecord]]:
        """The images of prompts and seeds, in batches as large as memory allows."""
        done = 0
        while done < len(prompts):
            batch = prompts[done : done + self._batch_size(size)]
            images: list[Image.Image | BadRecord] = []
            try:
                encoded, seeds = zip(*batch, strict=True)
                images = [to_image(px) for px in self.model.generate(encoded, seeds, size)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of `except`: there the traceback would still hold the batch's tensors.
            if not images and self.device.type == "cuda":
                torch.cuda.empty_cache()
            if not images and len(batch) == 1 and not self.model.tile_autoencoder():
                images = [
                    BadRecord(
                        "out_of_memory",
                        f"one image of {size[0]} x {size[1]} does not fit on {self.device}: try a"
                        " smaller --size, --offload model, --offload layers or --quantize",
                    )
                ]
            elif not images and len(batch) > 1:
                self._halvings += 1
                log.warning(
                    "%d images of %d x %d do not fit on %s: continuing with %d at a time",
                    *(len(batch), *size, self.device, self._batch_size(size)),
                )
            if images:
                yield images
            done += len(images)

    def _batch_size(self, size: Size) -> int:
        if self.device.type == "cpu" or not self.model.spec.encoded:
            return 1
        return max(1, (self.batch_size or images_per_batch(size)) >> self._halvings)

    def _size(self, request: PictureRequest) -> Size:
        side = request.long_side or SIDE_PX
        config = self.model.pipeline.image_processor.config
        multiple = self.model.spec.multiple_px
        factor = int(getattr(config, "vae_scale_factor", multiple))
        return round_up(request.size_px or (side, side), math.lcm(multiple, factor))


def build_prompt(request: PictureRequest) -> str:
    """The prompt of a request: content, then style, as the auditors of the dataset found them.

    Raises BadRecord (missing_key) if one of the two is missing or empty.
    """
    content, style = (request.content or "").strip(" ."), request.style
    if not content or not style:
        missing = "style" if content else "content"
        raise BadRecord(
            "missing_key",
            f"a text-to-image model needs content and style texts, but there is no {missing}:"
            " give records as caption and pair write them",
            missing,
        )
    return f"{content}. {style.strip()}"


def to_image(pixels: Any) -> Image.Image | BadRecord:
    """Pixels (h, w, 3) in [0, 1] as an image; a BadRecord if some are NaN or infinite.

    A fourth channel, which Qwen-Image 2.1 paints, is opacity: white shows through.
    """
    if not np.isfinite(pixels).all():
        share = 1 - np.isfinite(pixels).mean()
        return BadRecord(
            "model_error",
            f"{share:.0%} of the pixels are NaN: try --dtype float32 or bfloat16",
        )
    if pixels.shape[-1] == 4:
        opacity = pixels[..., 3:]
        pixels = pixels[..., :3] * opacity + (1 - opacity)
    return Image.fromarray((pixels * 255).round().astype(np.uint8)).convert("RGB")
