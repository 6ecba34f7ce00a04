"""Drawn pairs to what a step is fed: latents, words, noise; the next batches are under way.

Threads open the pictures, and one more encodes whole batches (autoencoder, T5, CLIP) while the
transformer learns from the last ones; on a GPU it does so on a stream of its own.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from megastyle_cli.core.parallel import usable_cores
from megastyle_cli.core.record import Failure, record_seed
from megastyle_cli.models.encoders.siglip_vision import normalize_pixels
from megastyle_cli.models.flux.model import pack_latents
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.vae import encode_pixels, token_size_px
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline
from megastyle_cli.training.flux.augment import Opened, opened
from megastyle_cli.training.flux.config import Settings
from megastyle_cli.training.flux.objective import loss_weights, noise_levels
from megastyle_cli.training.flux.pairs import LEVEL, Drawn, Pairs, PairSampler
from megastyle_cli.training.flux.text_cache import TextEncoders, WordStore

# b pairs of a rank, n tokens of a picture, 4c numbers in a token

REMEMBERED_BYTES = 2**28  # of latents that are kept in memory
AHEAD = 2  # batches that are encoded or being encoded beside the one that is learned from
PICTURES = 4  # encoded at once: at 512 px the autoencoder takes some 1 GiB for them


@dataclass(kw_only=True)
class Conditions:
    """A rank's part of a step, on the device; latents, references, noise are tokens (b, n, 4c)."""

    latents: Tensor
    references: Tensor
    noise: Tensor
    words: PromptEmbeddings
    sigmas: Tensor  # (b,) float32
    weights: Tensor  # (b,) float32, of the loss
    ids: list[str]  # of the targets
    failures: list[Failure]

    @property
    def tensors(self) -> list[Tensor]:
        """All that is on the device."""
        words = self.words
        known = [self.latents, self.references, self.noise, words.states, words.pooled]
        return [*known, self.sigmas, self.weights]


class Encoders:
    """The frozen parts of FLUX that turn pictures and words into what the transformer sees.

    With a `store` the words were encoded before and are read from there.
    """

    def __init__(
        self, pipeline: Pipeline, device: torch.device, store: WordStore | None = None
    ) -> None:
        self.pipeline, self.device = pipeline, device
        self._words: Callable[[Sequence[str]], PromptEmbeddings]
        if store is None:
            self._words = TextEncoders(pipeline, device).words
        else:
            self._words = partial(store.words, device=device)
        self.remembered: dict[bytes, Tensor] = {}  # of pictures met before
        self.room = REMEMBERED_BYTES if device.type == "cpu" else 0

    def latents(self, pictures: Sequence[Image.Image]) -> Tensor:
        """The tokens (b, n, 4c), float32, of RGB pictures of one size.

        On a CPU pictures are encoded one by one, so that it makes no difference whether one was met
        before, and what was made of the first is kept: small sets of icons are met again and again.
        """
        if self.device.type != "cpu":
            return self._latents(pictures)
        return torch.cat([self._latents_of(picture) for picture in pictures])

    def _latents_of(self, picture: Image.Image) -> Tensor:
        pixels = blake2b(picture.tobytes() + repr(picture.size).encode(), digest_size=16).digest()
        if pixels not in self.remembered:
            made = self._latents([picture])
            if made.nbytes > self.room:
                return made
            self.room -= made.nbytes
            self.remembered[pixels] = made
        return self.remembered[pixels]

    def _latents(self, pictures: Sequence[Image.Image]) -> Tensor:
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        on_device = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
        starts = range(0, len(on_device), PICTURES)
        some = [normalize_pixels(on_device[start : start + PICTURES]) for start in starts]
        return torch.cat(
            [pack_latents(encode_pixels(self.pipeline.vae, pixels)).float() for pixels in some]
        )

    def words(self, prompts: list[str]) -> PromptEmbeddings:
        """What T5 and CLIP make of `prompts`."""
        return self._words(prompts)

    def noise(self, seeds: Sequence[int], size_px: int) -> Tensor:
        """Noise as tokens (b, n, 4c), one for each seed: drawn unpacked on the CPU, in float32."""
        vae = self.pipeline.vae
        side = 2 * size_px // token_size_px(vae)
        shape = (vae.config.latent_channels, side, side)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return pack_latents(torch.stack(drawn)).to(self.device, non_blocking=True)


class PairLoader:
    """The batches of one rank, from files to conditions on its device, some of them ahead."""

    def __init__(
        self,
        sampler: PairSampler,
        encoders: Encoders,
        settings: Settings,
        *,
        rank: int,
        world: int,
    ) -> None:
        self.sampler, self.encoders, self.settings = sampler, encoders, settings
        self.rank, self.world = rank, world
        self.pool = ThreadPoolExecutor(usable_cores())
        self.encoder = ThreadPoolExecutor(1)
        is_cuda = encoders.device.type == "cuda"
        self.stream: Any = torch.cuda.Stream(encoders.device) if is_cuda else None  # type: ignore[no-untyped-call]
        self.told: set[str] = set()

    def batches(self, first: int, last: int) -> Iterator[Conditions]:
        """The batches of the steps `first` to `last`, the last not included."""
        ahead: deque[Future[Conditions]] = deque()
        for step in range(first, last):
            ahead.append(self._begun(step))
            if len(ahead) > AHEAD:
                yield self._finished(ahead.popleft())
        while ahead:
            yield self._finished(ahead.popleft())

    def close(self) -> None:
        """Ends the threads; what was made ahead is thrown away."""
        self.pool.shutdown(cancel_futures=True)
        self.encoder.shutdown(cancel_futures=True)

    def _begun(self, step: int) -> Future[Conditions]:
        places = self.sampler.places(step)
        share = len(places) // self.world
        mine = places[self.rank * share : (self.rank + 1) * share]
        drawn = [self.sampler.drawn(place) for place in mine]
        settings, pairs = self.settings, self.sampler.pairs
        open_one = partial(opened, pairs, size_px=settings.size_px, augment=settings.augment)
        opening = [self.pool.submit(open_one, one) for one in drawn]
        return self.encoder.submit(self._encoded, drawn, opening)

    @torch.no_grad()
    def _encoded(self, drawn: list[Drawn], opening: list[Future[Opened]]) -> Conditions:
        found = [one.result() for one in opening]
        with torch.cuda.stream(self.stream) if self.stream else nullcontext():
            made = conditions(found, drawn, self.encoders, self.settings)
            if self.stream:
                self.stream.synchronize()  # of this thread alone: the steps go on meanwhile
        return made

    def _finished(self, encoding: Future[Conditions]) -> Conditions:
        made = encoding.result()
        if self.stream:
            for tensor in made.tensors:
                tensor.record_stream(torch.cuda.current_stream(self.encoders.device))
        made.failures = [one for one in made.failures if one.message not in self.told]
        self.told |= {one.message for one in made.failures}
        return made


def conditions(
    found: Sequence[Opened], drawn: Sequence[Drawn], encoders: Encoders, settings: Settings
) -> Conditions:
    """What the pairs come to, each a function of the seed and its place among all pairs."""
    b = len(found)
    pictures = [one.target for one in found] + [one.reference for one in found]
    tokens = encoders.latents(pictures)  # (2b, n, 4c)
    draws = torch.tensor([one.draws[LEVEL] for one in drawn], dtype=torch.float64)
    sigmas = noise_levels(draws, settings.timesteps, tokens.shape[1])
    seeds = [record_seed(settings.seed, "noise", one.place) for one in drawn]
    device = encoders.device
    return Conditions(
        latents=tokens[:b],
        references=tokens[b:],
        noise=encoders.noise(seeds, settings.size_px),
        words=encoders.words([one.content for one in found]),
        sigmas=sigmas.to(device),
        weights=loss_weights(sigmas, settings.loss_weight).to(device),
        ids=[one.id for one in found],
        failures=[failure for one in found for failure in one.failures],
    )


def first_pairs(pairs: Pairs, most: int, seed: int, size_px: int) -> list[Opened]:
    """One pair of each of the first `most` units, always the same ones, nothing augmented."""
    if not len(pairs):
        return []
    sampler = PairSampler(pairs, batch=1, seed=seed)
    drawn = sorted((sampler.drawn(place) for place in range(len(pairs))), key=_unit)
    return [opened(pairs, one, size_px, augment=False) for one in drawn[:most]]


def _unit(drawn: Drawn) -> int:
    return drawn.unit
