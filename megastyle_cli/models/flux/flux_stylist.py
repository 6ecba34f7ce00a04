"""FLUX that renders a prompt in the style of reference images: the method's own stylist."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    PromptEmbeddings,
    check_known_words,
    encode_prompts,
    max_text_tokens,
)
from megastyle_cli.models.flux.sampling import INFERENCE_GUIDANCE, denoise
from megastyle_cli.models.flux.schedule import sampling_sigmas
from megastyle_cli.models.flux.setup import Offload, PreparedFlux, Preset, resolve_runtime
from megastyle_cli.models.flux.vae import (
    decode_latents,
    encode_pixels,
    finite_images,
    images_to_pixels,
    resize_image,
    token_size_px,
)
from megastyle_cli.models.image_size import Size, round_up, scale_long_side
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.quantization import Quantized

# b images, c latent channels, h w latent rows and columns, n target tokens, m reference tokens

log = logging.getLogger(__name__)
BATCH_SIZE = 8
CACHED_REFERENCES = 256  # whose tokens are kept, 131 kB each at 512 px


class FluxStylist:
    """Renders prompts in the style of their references, as MegaStyle does.

    `model` is a FLUX folder or hub name (see `load_flux`), `lora` a file in any format that
    `read_lora` knows, fused at `lora_strength`. References are squashed to the image's size as in
    training, or with `keep_aspect` cropped to its shape. Of several, each counts by its weight; a
    request's strength scales them all (see `reference_bias`), and 0 renders without them. A content
    image is a starting point: with `content_strength` above 0 denoising starts at its latents, that
    share of the steps further on, and at 1 returns it as the autoencoder does (ours). `guidance`
    defaults to 3.5 and raises MegastyleError where the model has none. The remaining options say
    how the model runs (see `RuntimeConfig`).

    Noise comes from the request's seed alone. On a CPU images are generated one at a time, so that
    an image depends on its request alone, bit for bit; elsewhere batches agree up to rounding.
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
        batch_size: int | None = None,
    ) -> None:
        if model is None:
            raise MegastyleError(
                "the flux backend needs a model", hint="give --model FOLDER or a hub name"
            )
        config = resolve_runtime(device, dtype, offload, quantize, preset, compiled=compiled)
        self.guidance = INFERENCE_GUIDANCE if guidance is None else guidance
        self.content_strength = content_strength
        self.keep_aspect = keep_aspect
        self.sigmas = sampling_sigmas(steps)
        self.flux = PreparedFlux(model, lora, lora_strength, config)
        self.pipeline, self.name, self.device = self.flux.pipeline, self.flux.name, config.device
        if guidance is not None and not self.pipeline.transformer.config.guidance_embeds:
            raise MegastyleError(
                f"{model} has no guidance input, but --guidance {guidance:g} is given",
                hint="omit it",
            )
        self.size_px = training_size_px(model)
        self.token_px = token_size_px(self.pipeline.vae)
        # An image depends on its request alone: bit for bit on a CPU, and in the steps that the
        # cache skips.
        is_alone = self.device.type == "cpu" or preset == "fast-cache"
        self.batch_size = 1 if is_alone else batch_size or BATCH_SIZE
        self._warns_untrained = lora is None and not is_reference_trained(model)
        self._reference_tokens: dict[tuple[str, Size], Tensor] = {}

    def restyle(self, requests: Sequence[PictureRequest]) -> list[Image.Image | BadRecord]:
        """One RGB image for each request, in order, with sides rounded up to multiples of 16.

        A BadRecord (model_error) stands for an image with NaN pixels. Raises BadRecord before
        anything is generated (missing_key) if a request has no prompt or (unknown_word) has words
        that the model does not know, and (out_of_memory) if a batch does not fit on the device.
        """
        return [image for images in self.restyle_batches(requests) for image in images]

    @torch.inference_mode()
    def restyle_batches(
        self, requests: Sequence[PictureRequest]
    ) -> Iterator[list[Image.Image | BadRecord]]:
        """The images of `restyle` in order, in lists: a batch of the model each."""
        layouts = [
            (self._size(request), tuple(reference_counts(request).values())) for request in requests
        ]
        if any(counts for _, counts in layouts):
            self._warn_once_if_untrained()
        batches = []
        for layout, group in groupby(zip(layouts, requests, strict=True), key=lambda one: one[0]):
            alike = [request for _, request in group]
            starts = range(0, len(alike), self.batch_size)
            batches += [(alike[start : start + self.batch_size], layout) for start in starts]
        # offloaded models move once for all batches
        with self.flux.on_device("encoding"):
            prompts = [self._encode_prompts(batch, *layout) for batch, layout in batches]
        with self.flux.on_device("denoising"):
            for (batch, layout), encoded in zip(batches, prompts, strict=True):
                yield self._generate(batch, encoded, *layout)

    def _encode_prompts(
        self, requests: Sequence[PictureRequest], size: Size, counts: tuple[float, ...]
    ) -> PromptEmbeddings:
        with self._explain_out_of_memory(len(requests), size, counts):
            prompts = [request.content or "" for request in requests]
            return encode_prompts(self.pipeline, prompts, self.device)

    def _warn_once_if_untrained(self) -> None:
        if self._warns_untrained:
            log.warning(
                "%s was not trained to use a reference image, so its style will hardly"
                " show: give --lora megastyle_flux.safetensors",
                self.name.rpartition("@")[0],
            )
            self._warns_untrained = False

    def _generate(
        self,
        requests: Sequence[PictureRequest],
        prompts: PromptEmbeddings,
        size: Size,
        counts: tuple[float, ...],
    ) -> list[Image.Image | BadRecord]:
        """The images of requests that share a size and the counts of their references."""
        try:
            with self._explain_out_of_memory(len(requests), size, counts):
                return self._denoise(requests, prompts, size, counts)
        finally:
            self.flux.release()

    @contextmanager
    def _explain_out_of_memory(
        self, number: int, size: Size, counts: tuple[float, ...]
    ) -> Iterator[None]:
        """Inside, running out of memory raises BadRecord with what would fit."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise BadRecord(
                "out_of_memory",
                f"{number} images of {size[0]} x {size[1]} do not fit on {self.device}: "
                + self.flux.memory_hint(self._activation_bytes(size, len(counts))),
            ) from error

    def _denoise(
        self,
        requests: Sequence[PictureRequest],
        prompt_embeds: PromptEmbeddings,
        size: Size,
        counts: tuple[float, ...],
    ) -> list[Image.Image | BadRecord]:
        columns, rows = (side // self.token_px for side in size)
        start, noisy = self._start(requests, size)
        target = pack_latents(noisy)  # (b, n, 4c)
        bias = reference_bias(counts, prompt_embeds.states.shape[1], rows * columns)
        sigmas = self.sigmas[start:]
        modulation = self.flux.modulation
        if modulation is not None:
            modulation.compute(sigmas[:-1].to(self.device), prompt_embeds, self.guidance)
        tokens = denoise(
            self.pipeline.transformer,
            target,
            torch.cat([self._references(one, size, target) for one in requests]),  # (b, m, 4c)
            prompt_embeds,
            sigmas,
            position_ids(rows, columns, len(counts)).to(self.device),
            guidance=self.guidance,
            bias=None if bias is None else bias.to(target),
            modulation=modulation,
        )  # (b, n, 4c)
        latents = unpack_latents(tokens, rows, columns)  # (b, c, h, w)
        return finite_images(decode_latents(self.pipeline.vae, latents))

    def _start(self, requests: Sequence[PictureRequest], size: Size) -> tuple[int, Tensor]:
        """The first step, and the noisy latents (b, c, h, w) there."""
        noise = torch.cat([self._noise(request.seed, size) for request in requests])
        start = round(self.content_strength * (len(self.sigmas) - 1))
        if start == 0:
            return start, noise
        contents = [
            resize_image(request.content_picture, size, keep_aspect=True)
            for request in requests
            if request.content_picture is not None
        ]
        sigma = float(self.sigmas[start])
        latents = encode_pixels(self.pipeline.vae, images_to_pixels(contents).to(self.device))
        return start, (1 - sigma) * latents + sigma * noise

    def _noise(self, seed: int, size: Size) -> Tensor:
        """Noise (1, c, h, w) of a seed: drawn on the CPU in float32, so that devices agree."""
        vae, (width, height) = self.pipeline.vae, size
        shape = (1, vae.config.latent_channels, *(2 * s // self.token_px for s in (height, width)))
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return noise.to(self.device, vae.dtype)

    def _references(self, request: PictureRequest, size: Size, target: Tensor) -> Tensor:
        """The tokens (1, m, 4c) of the references that count, one after the other."""
        keys = request.reference_keys
        tokens = [
            self._encode_reference(keys[k], request.references[k], size)
            for k in reference_counts(request)
        ]
        return torch.cat([target[:1, :0], *tokens], dim=1)

    def _encode_reference(self, key: str, reference: Image.Image, size: Size) -> Tensor:
        """The clean tokens (1, n, 4c) of one reference; the newest 256 are cached."""
        if (key, size) not in self._reference_tokens:
            if len(self._reference_tokens) == CACHED_REFERENCES:
                self._reference_tokens.pop(next(iter(self._reference_tokens)))
            shaped = resize_image(reference, size, keep_aspect=self.keep_aspect)
            pixels = images_to_pixels([shaped]).to(self.device)
            latents = encode_pixels(self.pipeline.vae, pixels)  # (1, c, h, w)
            self._reference_tokens[key, size] = pack_latents(latents)
        return self._reference_tokens[key, size]

    def _size(self, request: PictureRequest) -> Size:
        """Width and height of the image. Raises BadRecord if the request cannot be rendered."""
        if not request.content:
            raise BadRecord(
                "missing_key",
                "FLUX needs a prompt: give --prompt, or records with content (megastyle caption)",
            )
        check_known_words(self.pipeline, request.content)
        side = request.long_side or self.size_px
        size = request.size_px or (side, side)
        if self.content_strength > 0:
            if request.content_picture is None:
                raise BadRecord(
                    "missing_key", "--content-strength needs a content image: give --content"
                )
            size = request.size_px or scale_long_side(request.content_picture.size, side)
        return round_up(size, self.token_px)

    def _activation_bytes(self, size: Size, num_references: int) -> int:
        """About what one image of that size needs beside the weights."""
        num_image_tokens = size[0] * size[1] // self.token_px**2
        num_tokens = max_text_tokens(self.pipeline) + (1 + num_references) * num_image_tokens
        width = self.pipeline.transformer.inner_dim
        return activation_bytes(size, num_tokens, width, self.pipeline.vae.dtype.itemsize)


def reference_counts(request: PictureRequest) -> dict[int, float]:
    """The references that count, by position, and how much: strength times weight."""
    weights = enumerate(request.weights)
    return {k: count for k, weight in weights if (count := request.strength * weight) > 0}
