"""FLUX that paints a prompt in a reference's style: the method's own stylist."""

import logging
from collections.abc import Sequence
from itertools import groupby

import torch
from PIL import Image
from torch import Tensor

from megastyle_cli.core.errors import BadRecord, MegastyleError, is_out_of_memory
from megastyle_cli.models.flux.loader import is_reference_trained, training_size_px
from megastyle_cli.models.flux.memory import activation_bytes
from megastyle_cli.models.flux.model import (
    pack_latents,
    position_ids,
    reference_bias,
    unpack_latents,
)
from megastyle_cli.models.flux.prompt_embeddings import (
    check_known_words,
    encode_prompts,
    max_text_tokens,
)
from megastyle_cli.models.flux.sampling import INFERENCE_GUIDANCE, denoise
from megastyle_cli.models.flux.schedule import sampling_sigmas
from megastyle_cli.models.flux.setup import Offload, PreparedFlux, Preset, resolve_runtime
from megastyle_cli.models.flux.vae import (
    Size,
    decode_latents,
    encode_pixels,
    finite_images,
    images_to_pixels,
    resize_image,
    round_up,
    token_size_px,
)
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.quantization import Quantized

log = logging.getLogger(__name__)
BATCH = 8
REMEMBERED = 256  # references whose tokens are kept, 131 kB each at 512 px


class FluxStylist:
    """Paints requests that have words, in the style of their references, as MegaStyle does.

    `model` is a FLUX folder or hub name (see `read_flux`), `lora` a file in any form that
    `read_lora` knows, fused at `lora_strength`. References are squashed to the picture's size as in
    training, or with `keep_aspect` cut to its shape. Of several, each counts by its share; a
    request's strength scales them all (see `reference_bias`), and 0 paints without them. A content
    picture is a starting point: with `content_strength` above 0 painting begins at its latents,
    that share of the steps further on, and at 1 nothing is painted over it (ours). `guidance` is
    3.5 where none is given, and refused where the model reads none. What else there is says how it
    runs (see `Running`).

    Noise comes from the request's seed alone. On a CPU pictures are painted one at a time, so that
    a picture depends on its request alone, bit for bit; elsewhere batches agree up to rounding.
    """

    def __init__(
        self,
        model: str | None = None,
        lora: str | None = None,
        *,
        lora_strength: float = 1.0,
        steps: int = 30,
        guidance: float | None = None,
        content_strength: float = 0.0,
        keep_aspect: bool = False,
        device: str | None = None,
        dtype: str | None = None,
        offload: Offload | None = None,
        quantize: Quantized | None = None,
        preset: Preset | None = None,
        compiled: bool = False,
    ) -> None:
        if model is None:
            raise MegastyleError(
                "the flux backend needs a model", hint="give --model FOLDER or a hub name"
            )
        how = resolve_runtime(device, dtype, offload, quantize, preset, compiled=compiled)
        self.guidance = INFERENCE_GUIDANCE if guidance is None else guidance
        self.content_strength = content_strength
        self.keep_aspect = keep_aspect
        self.levels = sampling_sigmas(steps)
        self.flux = PreparedFlux(model, lora, lora_strength, how)
        self.pipeline, self.name, self.device = self.flux.pipeline, self.flux.name, how.device
        if guidance is not None and not self.pipeline.transformer.config.guidance_embeds:
            raise MegastyleError(
                f"{model} reads no guidance, and --guidance {guidance:g} is given",
                hint="leave it out",
            )
        self.side_px = training_size_px(model)
        self.multiple = token_size_px(self.pipeline.vae)
        # a picture depends on its request alone: bit for bit, and in what a cache leaves out
        self.batch = 1 if self.device.type == "cpu" or preset == "fast-cache" else BATCH
        self._remark_is_due = lora is None and not is_reference_trained(model)
        self._remembered: dict[tuple[str, Size], Tensor] = {}

    @torch.inference_mode()
    def restyle(self, requests: Sequence[PictureRequest]) -> list[Image.Image | BadRecord]:
        """One RGB picture a request, in order, sides rounded up to multiples of 16.

        One whose pixels are no numbers has a BadRecord (model_error) in its place.
        Raises BadRecord before painting anything (missing_key) if a request has no words or
        (unknown_word) has some that the model does not know, and (out_of_memory) if the device
        cannot hold a batch.
        """
        planned = [(self._size(asked), tuple(counts(asked).values())) for asked in requests]
        painted: list[Image.Image | BadRecord] = []
        if any(shares for _, shares in planned):
            self._remark_once_if_untaught()
        together = zip(planned, requests, strict=True)
        for (size, shares), alike in groupby(together, key=lambda pair: pair[0]):
            group = [asked for _, asked in alike]
            for start in range(0, len(group), self.batch):
                painted += self._painted(group[start : start + self.batch], size, shares)
        return painted

    def _remark_once_if_untaught(self) -> None:
        if self._remark_is_due:
            log.warning(
                "%s was never taught to look at a reference picture, so its style will hardly"
                " show: give --lora megastyle_flux.safetensors",
                self.name.rpartition("@")[0],
            )
            self._remark_is_due = False

    def _painted(
        self, requests: Sequence[PictureRequest], size: Size, shares: tuple[float, ...]
    ) -> list[Image.Image | BadRecord]:
        try:
            return self._paint(requests, size, shares)
        except RuntimeError as fault:
            if not is_out_of_memory(fault):
                raise
            raise BadRecord(
                "out_of_memory",
                f"{len(requests)} pictures of {size[0]} x {size[1]} do not fit on {self.device}: "
                + self.flux.what_fits(self._work_bytes(size, len(shares))),
            ) from fault
        finally:
            self.flux.rest()

    def _paint(
        self, requests: Sequence[PictureRequest], size: Size, shares: tuple[float, ...]
    ) -> list[Image.Image | BadRecord]:
        columns, rows = (side // self.multiple for side in size)
        start, noisy = self._start(requests, size)
        target = pack_latents(noisy)  # (b, n, 4c)
        words = encode_prompts(
            self.pipeline, [asked.content or "" for asked in requests], self.device
        )
        bias = reference_bias(shares, words.states.shape[1], rows * columns)
        levels = self.levels[start:]
        modulation = self.flux.modulation
        if modulation is not None:
            modulation.compute(levels[:-1].to(self.device), words, self.guidance)
        tokens = denoise(
            self.pipeline.transformer,
            target,
            torch.cat([self._references(asked, size, target) for asked in requests]),  # (b, m, 4c)
            words,
            levels,
            position_ids(rows, columns, len(shares)).to(self.device),
            guidance=self.guidance,
            bias=None if bias is None else bias.to(target),
            modulation=modulation,
        )
        pixels = decode_latents(self.pipeline.vae, unpack_latents(tokens, rows, columns))
        return finite_images(pixels)

    def _start(self, requests: Sequence[PictureRequest], size: Size) -> tuple[int, Tensor]:
        """The step painting begins at, and the noisy latents (b, c, h, w) there."""
        noise = torch.cat([self._noise(asked.seed, size) for asked in requests])
        start = round(self.content_strength * (len(self.levels) - 1))
        if start == 0:
            return start, noise
        pictures = [
            resize_image(asked.content_picture, size, keep_aspect=True)
            for asked in requests
            if asked.content_picture is not None
        ]
        level = float(self.levels[start])
        latents = encode_pixels(self.pipeline.vae, images_to_pixels(pictures).to(self.device))
        return start, (1 - level) * latents + level * noise

    def _noise(self, seed: int, size: Size) -> Tensor:
        """Noise (1, c, h, w) of a seed: drawn on the CPU in float32, so that devices agree."""
        vae, (width, height) = self.pipeline.vae, size
        shape = (1, vae.config.latent_channels, *(2 * s // self.multiple for s in (height, width)))
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return drawn.to(self.device, vae.dtype)

    def _references(self, asked: PictureRequest, size: Size, target: Tensor) -> Tensor:
        """The tokens (1, m, 4c) of the references that count, one after the other."""
        names = asked.reference_keys
        tokens = [self._tokens(names[k], asked.references[k], size) for k in counts(asked)]
        return torch.cat([target[:1, :0], *tokens], dim=1)

    def _tokens(self, name: str, reference: Image.Image, size: Size) -> Tensor:
        """The clean tokens (1, n, 4c) of one reference; those used lately are remembered."""
        if (name, size) not in self._remembered:
            if len(self._remembered) == REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            shaped = resize_image(reference, size, keep_aspect=self.keep_aspect)
            pixels = images_to_pixels([shaped]).to(self.device)
            self._remembered[name, size] = pack_latents(encode_pixels(self.pipeline.vae, pixels))
        return self._remembered[name, size]

    def _size(self, asked: PictureRequest) -> Size:
        """Width and height of the picture asked for. Raises BadRecord if it cannot be painted."""
        if not asked.content:
            raise BadRecord(
                "missing_key",
                "FLUX paints from words: give --prompt, or records with content, as caption has it",
            )
        check_known_words(self.pipeline, asked.content)
        side = asked.long_side or self.side_px
        size = asked.size_px or (side, side)
        if self.content_strength > 0:
            if asked.content_picture is None:
                raise BadRecord(
                    "missing_key", "--content-strength needs a content picture: give --content"
                )
            size = asked.size_px or scaled(asked.content_picture.size, side)
        return round_up(size, self.multiple)

    def _work_bytes(self, size: Size, num_references: int) -> int:
        """About what painting one picture of that size takes beside the weights."""
        num_pictures = 1 + num_references
        tokens = (
            max_text_tokens(self.pipeline) + num_pictures * size[0] * size[1] // self.multiple**2
        )
        width = self.pipeline.transformer.inner_dim
        return activation_bytes(size, tokens, width, self.pipeline.vae.dtype.itemsize)


def counts(asked: PictureRequest) -> dict[int, float]:
    """The references that count, by place, and how much: strength times share."""
    weighed = enumerate(asked.weights)
    return {k: count for k, share in weighed if (count := asked.strength * share) > 0}


def scaled(size: Size, side: int) -> Size:
    """`size` in its proportions, with the longer side as given."""
    width, height = (max(1, round(length * side / max(size))) for length in size)
    return width, height
