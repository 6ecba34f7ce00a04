"""Batches: each pair has its own latents, prompt, noise and level; cached latents are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.models.flux.model import pack_latents
from megastyle_cli.models.flux.schedule import NUM_TRAINING_SIGMAS, shifted_sigmas
from megastyle_cli.models.flux.vae import encode_pixels, images_to_pixels
from megastyle_cli.training.flux.batch import (
    FrozenEncoders,
    PairLoader,
    encode_batch,
    fixed_pairs,
)
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.flow_matching import loss_weights
from megastyle_cli.training.flux.pair_images import LoadedPair
from megastyle_cli.training.flux.pairs import LEVEL, PairDraw, PairSampler, split_pairs
from megastyle_cli.training.flux.text_cache import TextEncoders
from tests.conftest import draw
from tests.tiny_flux import save_tiny_flux

CPU = torch.device("cpu")
SIZE = 32
CONFIG = FluxConfig(seed=3, size=SIZE)
IMAGES = [draw(k, 32, 32) for k in range(3)]


def encoders_of(pipeline):
    return FrozenEncoders(pipeline, CPU, TextEncoders(pipeline, CPU))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = save_tiny_flux(tmp_path_factory.mktemp("model"), text_tokens=5)
    return encoders_of(load_flux(str(folder), torch.float32))


def pair(k):
    """The k-th of three loaded pairs, and its draw."""
    target, reference = (draw(seed, SIZE, SIZE) for seed in (2 * k, 2 * k + 1))
    draws = np.full(8, 0.5)
    draws[LEVEL] = 0.1 + 0.2 * k
    pair_draw = PairDraw(index=10 + k, unit=k, target=0, reference=1, draws=draws)
    content = ["a fox", "a hill", "an owl"][k]
    return LoadedPair(target=target, reference=reference, content=content, id=str(k)), pair_draw


def encoded(encoders, *numbers):
    pairs, pair_draws = zip(*(pair(k) for k in numbers), strict=True)
    with torch.no_grad():
        return encode_batch(pairs, pair_draws, encoders, CONFIG)


def tokens(encoders, image):
    with torch.no_grad():
        return pack_latents(encode_pixels(encoders.pipeline.vae, images_to_pixels([image])))[0]


def test_targets_and_references_are_not_mixed_up(encoders):
    found = encoded(encoders, 0, 1, 2)

    for k in range(3):
        loaded_pair, _ = pair(k)
        assert torch.allclose(found.latents[k], tokens(encoders, loaded_pair.target), atol=1e-5)
        assert torch.allclose(
            found.references[k], tokens(encoders, loaded_pair.reference), atol=1e-5
        )
        assert not torch.allclose(found.latents[k], found.references[k], atol=1e-2)
    assert found.ids == ["0", "1", "2"]


def test_prompts_are_the_targets_contents_and_levels_those_drawn(encoders):
    found = encoded(encoders, 0, 1, 2)

    with torch.no_grad():
        expected = encoders.embed(["a fox", "a hill", "an owl"])
    assert torch.equal(found.prompts.states, expected.states)
    assert torch.equal(found.prompts.pooled, expected.pooled)
    indices = [int((0.1 + 0.2 * k) * NUM_TRAINING_SIGMAS) for k in range(3)]
    assert torch.equal(found.sigmas, shifted_sigmas(NUM_TRAINING_SIGMAS)[indices])
    assert torch.equal(found.weights, loss_weights(found.sigmas, "bell"))


def test_a_pair_is_encoded_the_same_in_any_batch(encoders):
    together, alone = encoded(encoders, 0, 1, 2), encoded(encoders, 1)

    assert torch.equal(together.noise[1], alone.noise[0])
    assert torch.equal(together.prompts.states[1], alone.prompts.states[0])
    assert torch.allclose(together.latents[1], alone.latents[0], atol=1e-5)
    assert not torch.equal(together.noise[0], together.noise[1])


def test_noise_is_drawn_unpacked(encoders):
    noise = encoders.noise([7], SIZE)

    drawn = torch.randn(4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(7))
    assert torch.equal(noise, pack_latents(drawn[None]))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return load_flux(str(save_tiny_flux(tmp_path_factory.mktemp("tiny"))), torch.float32)


@torch.no_grad()
def test_latents_do_not_depend_on_the_batch(pipeline):
    together = encoders_of(pipeline).latents(IMAGES)
    alone = torch.cat([encoders_of(pipeline).latents([image]) for image in IMAGES])

    assert torch.equal(together, alone)


@torch.no_grad()
def test_a_cached_image_is_not_encoded_again(pipeline):
    encoders = encoders_of(pipeline)
    first = encoders.latents(IMAGES)
    encoders.pipeline = None  # nothing can be encoded any more

    assert torch.equal(encoders.latents(IMAGES[::-1]), first.flip(0))


@torch.no_grad()
def test_images_beyond_the_cache_are_encoded_each_time(pipeline):
    encoders = encoders_of(pipeline)
    encoders._cache_space = 0

    assert torch.equal(encoders.latents(IMAGES), encoders.latents(IMAGES))
    assert not encoders._cache


@pytest.fixture
def sampler(tmp_path):
    """Batches of four pairs out of three styles of two images each."""
    records = []
    for style in range(3):
        for n in range(2):
            path = tmp_path / f"{style}-{n}.png"
            draw(10 * style + n, SIZE, SIZE).save(path)
            known = {"id": path.stem, "style_id": f"s{style}", "content": "a fox"}
            records.append({**known, "file_name": str(path)})
    split = split_pairs(records, label="style_id", holdout=0, split_key=None, seed=0)
    return PairSampler(split.training, batch=4, seed=3)


def loaded(sampler, encoders, first, last, rank=0, world=1):
    loader = PairLoader(sampler, encoders, CONFIG, rank=rank, world=world)
    found = list(loader.batches(first, last))
    loader.close()
    return found


def test_ranks_and_resumed_loaders_give_parts_of_the_same_batches(encoders, sampler):
    whole = loaded(sampler, encoders, 0, 4)

    for step, batch in zip((2, 3), loaded(sampler, encoders, 2, 4), strict=True):
        assert all(map(torch.equal, batch.tensors, whole[step].tensors))
    parts = [loaded(sampler, encoders, 1, 2, rank, 2)[0] for rank in range(2)]
    joined = [torch.cat(each) for each in zip(*(part.tensors for part in parts), strict=True)]
    assert all(map(torch.equal, joined, whole[1].tensors))
    assert parts[0].ids + parts[1].ids == whole[1].ids


def test_an_unreadable_image_is_reported_once(encoders, sampler):
    Path(sampler.pairs.targets[0]).write_bytes(b"no image")

    failures = [f for batch in loaded(sampler, encoders, 0, 6) for f in batch.failures]

    assert [failure.record["id"] for failure in failures] == [sampler.pairs.ids[0]]


def test_fixed_pairs_are_one_of_each_unit_and_always_the_same(sampler):
    first = fixed_pairs(sampler.pairs, 2, seed=5, size_px=SIZE)
    everything = fixed_pairs(sampler.pairs, 9, seed=5, size_px=SIZE)

    assert [pair.id for pair in everything[:2]] == [pair.id for pair in first]
    assert [pair.id[0] for pair in everything] == ["0", "1", "2"]
