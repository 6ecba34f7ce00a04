"""Batches of FLUX training: drawn pairs encoded to latents and prompt embeddings, some ahead.

Threads open the images, and one more thread encodes whole batches (autoencoder, T5, CLIP) while the
transformer trains on the previous ones; on a GPU it uses a CUDA stream of its own.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from megastyle_cli.compute.engine import usable_cores
from megastyle_cli.core.record import Failure, record_seed
from megastyle_cli.models.device import device_threads
from megastyle_cli.models.encoders.siglip_vision import normalize_pixels
from megastyle_cli.models.flux.model import pack_latents
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.vae import encode_pixels, token_size_px
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.flow_matching import loss_weights, noise_levels
from megastyle_cli.training.flux.pair_images import LoadedPair, load_pair
from megastyle_cli.training.flux.pairs import LEVEL, PairDraw, Pairs, PairSampler
from megastyle_cli.training.flux.text_cache import PromptCache, TextEncoders

# b pairs of a rank, n tokens of an image, 4c values in a token

CACHE_BYTES = 2**28  # of latents that are kept in memory on a CPU
PREFETCH = 2  # batches encoded, or being encoded, ahead of the one being trained on
# Encoded at once: the autoencoder takes about 1 GiB for 4 images of 512 px, or one of 1024 px.
PIXELS_AT_ONCE = 4 * 512**2


@dataclass(kw_only=True)
class PairBatch:
    """A rank's part of a step, on the device; latents, references, noise are tokens (b, n, 4c)."""

    latents: Tensor
    references: Tensor
    noise: Tensor
    prompts: PromptEmbeddings
    sigmas: Tensor  # (b,) float32, noise levels
    weights: Tensor  # (b,) float32, of the loss
    ids: list[str]  # of the targets
    failures: list[Failure]

    @property
    def tensors(self) -> list[Tensor]:
        """Everything that is on the device."""
        prompts = [self.prompts.states, self.prompts.pooled]
        return [self.latents, self.references, self.noise, *prompts, self.sigmas, self.weights]


class FrozenEncoders:
    """The frozen parts of FLUX, which turn images and prompts into the transformer's inputs.

    `text` encodes the prompts, or reads those that were encoded before.
    """

    def __init__(
        self, pipeline: Pipeline, device: torch.device, text: TextEncoders | PromptCache
    ) -> None:
        self.pipeline, self.device, self.text = pipeline, device, text
        self._cache: dict[bytes, Tensor] = {}  # latents of images encoded before
        self._cache_space = CACHE_BYTES if device.type == "cpu" else 0

    def latents(self, images: Sequence[Image.Image]) -> Tensor:
        """The tokens (b, n, 4c), float32, of RGB images of one size.

        On a CPU images are encoded one by one, so that it makes no difference whether one is
        cached; caching pays off because small sets of icons are drawn again and again.
        """
        if self.device.type != "cpu":
            return self._encode(images)
        return torch.cat([self._cached_latents(image) for image in images])

    def _cached_latents(self, image: Image.Image) -> Tensor:
        key = blake2b(image.tobytes() + repr(image.size).encode(), digest_size=16).digest()
        if key not in self._cache:
            latents = self._encode([image])
            if latents.nbytes > self._cache_space:
                return latents
            self._cache_space -= latents.nbytes
            self._cache[key] = latents
        return self._cache[key]

    def _encode(self, images: Sequence[Image.Image]) -> Tensor:
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        on_device = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
        size = images_encoded_at_once(images[0].width)
        starts = range(0, len(on_device), size)
        parts = [normalize_pixels(on_device[start : start + size]) for start in starts]
        return torch.cat(
            [pack_latents(encode_pixels(self.pipeline.vae, part)).float() for part in parts]
        )

    def embed(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """The embeddings of `prompts` by T5 and CLIP."""
        return self.text.embed(prompts)

    def noise(self, seeds: Sequence[int], size_px: int) -> Tensor:
        """Noise as tokens (b, n, 4c), one for each seed: drawn unpacked on the CPU, in float32."""
        vae = self.pipeline.vae
        side = 2 * size_px // token_size_px(vae)
        shape = (vae.config.latent_channels, side, side)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return pack_latents(torch.stack(drawn)).to(self.device, non_blocking=True)


class PairLoader:
    """The batches of one rank, from files to tensors on its device, some of them ahead."""

    def __init__(
        self,
        sampler: PairSampler,
        encoders: FrozenEncoders,
        config: FluxConfig,
        *,
        rank: int,
        world: int,
    ) -> None:
        self.sampler, self.encoders, self.config = sampler, encoders, config
        self.rank, self.world = rank, world
        self.readers = device_threads(usable_cores(), encoders.device)
        self.encoder = device_threads(1, encoders.device)
        is_cuda = encoders.device.type == "cuda"
        self.stream: Any = torch.cuda.Stream(encoders.device) if is_cuda else None  # type: ignore[no-untyped-call]
        self.reported: set[str] = set()

    def batches(self, first: int, last: int) -> Iterator[PairBatch]:
        """The batches of the steps `first` to `last`, exclusive."""
        ahead: deque[Future[PairBatch]] = deque()
        for step in range(first, last):
            ahead.append(self._start(step))
            if len(ahead) > PREFETCH:
                yield self._finish(ahead.popleft())
        while ahead:
            yield self._finish(ahead.popleft())

    def close(self) -> None:
        """Stops the threads and discards what was prepared ahead."""
        self.readers.shutdown(cancel_futures=True)
        self.encoder.shutdown(cancel_futures=True)

    def _start(self, step: int) -> Future[PairBatch]:
        indices = self.sampler.indices(step)
        share = len(indices) // self.world
        mine = indices[self.rank * share : (self.rank + 1) * share]
        draws = [self.sampler.draw(index) for index in mine]
        loading = [self.readers.submit(self._load, draw) for draw in draws]
        return self.encoder.submit(self._encode, draws, loading)

    def _load(self, draw: PairDraw) -> LoadedPair:
        config = self.config
        return load_pair(self.sampler.pairs, draw, config.size, augment=config.augment)

    @torch.no_grad()
    def _encode(self, draws: list[PairDraw], loading: list[Future[LoadedPair]]) -> PairBatch:
        pairs = [loaded.result() for loaded in loading]
        with torch.cuda.stream(self.stream) if self.stream else nullcontext():
            batch = encode_batch(pairs, draws, self.encoders, self.config)
            if self.stream:
                self.stream.synchronize()  # blocks this thread only: training continues meanwhile
        return batch

    def _finish(self, encoding: Future[PairBatch]) -> PairBatch:
        batch = encoding.result()
        if self.stream:
            for tensor in batch.tensors:
                tensor.record_stream(torch.cuda.current_stream(self.encoders.device))
        batch.failures = [f for f in batch.failures if f.message not in self.reported]
        self.reported |= {failure.message for failure in batch.failures}
        return batch


def encode_batch(
    pairs: Sequence[LoadedPair],
    draws: Sequence[PairDraw],
    encoders: FrozenEncoders,
    config: FluxConfig,
) -> PairBatch:
    """The transformer's inputs for the pairs, each a function of the seed and its draw's index."""
    b = len(pairs)
    images = [pair.target for pair in pairs] + [pair.reference for pair in pairs]
    tokens = encoders.latents(images)  # (2b, n, 4c)
    levels = torch.tensor([draw.draws[LEVEL] for draw in draws], dtype=torch.float64)
    sigmas = noise_levels(levels, config.timesteps, tokens.shape[1])
    seeds = [record_seed(config.seed, "noise", draw.index) for draw in draws]
    device = encoders.device
    return PairBatch(
        latents=tokens[:b],
        references=tokens[b:],
        noise=encoders.noise(seeds, config.size),
        prompts=encoders.embed([pair.content for pair in pairs]),
        sigmas=sigmas.to(device),
        weights=loss_weights(sigmas, config.loss_weight).to(device),
        ids=[pair.id for pair in pairs],
        failures=[failure for pair in pairs for failure in pair.failures],
    )


def images_encoded_at_once(size_px: int) -> int:
    """How many square images of a size the autoencoder encodes at once on a GPU."""
    return max(1, PIXELS_AT_ONCE // size_px**2)


def fixed_pairs(pairs: Pairs, max_pairs: int, seed: int, size_px: int) -> list[LoadedPair]:
    """One pair of each of the first `max_pairs` units, the same every time, not augmented."""
    if not len(pairs):
        return []
    sampler = PairSampler(pairs, batch=1, seed=seed)
    by_unit = {draw.unit: draw for draw in map(sampler.draw, range(len(pairs)))}
    draws = [by_unit[unit] for unit in sorted(by_unit)]
    return [load_pair(pairs, draw, size_px, augment=False) for draw in draws[:max_pairs]]
