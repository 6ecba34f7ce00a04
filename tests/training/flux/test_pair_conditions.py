"""Drawn pairs to what a step is fed: each picture in its place, its own words, noise and level."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.models.flux.model import pack_latents
from megastyle_cli.models.flux.schedule import NUM_TRAINING_SIGMAS, shifted_sigmas
from megastyle_cli.models.flux.vae import encode_pixels, images_to_pixels
from megastyle_cli.training.flux.augment import Opened
from megastyle_cli.training.flux.batch import Encoders, conditions
from megastyle_cli.training.flux.objective import loss_weights
from megastyle_cli.training.flux.pairs import LEVEL, Drawn
from tests.conftest import draw
from tests.tiny_flux import save_tiny_flux

CPU = torch.device("cpu")
SIZE = 32
TOLD = SimpleNamespace(seed=3, size_px=SIZE, timesteps="megastyle", loss_weight="bell")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = save_tiny_flux(tmp_path_factory.mktemp("model"), text_tokens=5)
    return Encoders(load_flux(str(folder), torch.float32), CPU)


def pair(k):
    """The k-th of some pairs, opened, and how it was drawn."""
    target, reference = (draw(seed, SIZE, SIZE) for seed in (2 * k, 2 * k + 1))
    draws = np.full(8, 0.5)
    draws[LEVEL] = 0.1 + 0.2 * k
    drawn = Drawn(place=10 + k, unit=k, target=0, reference=1, draws=draws)
    content = ["a fox", "a hill", "an owl"][k]
    return Opened(target=target, reference=reference, content=content, id=str(k)), drawn


def made(encoders, *numbers):
    opened, drawn = zip(*(pair(k) for k in numbers), strict=True)
    with torch.no_grad():
        return conditions(opened, drawn, encoders, TOLD)


def tokens(encoders, picture):
    with torch.no_grad():
        return pack_latents(encode_pixels(encoders.pipeline.vae, images_to_pixels([picture])))[0]


def test_targets_and_references_are_each_in_their_place(encoders):
    found = made(encoders, 0, 1, 2)

    for k in range(3):
        opened, _ = pair(k)
        assert torch.allclose(found.latents[k], tokens(encoders, opened.target), atol=1e-5)
        assert torch.allclose(found.references[k], tokens(encoders, opened.reference), atol=1e-5)
        assert not torch.allclose(found.latents[k], found.references[k], atol=1e-2)
    assert found.ids == ["0", "1", "2"]


def test_words_are_the_targets_content_and_levels_those_drawn(encoders):
    found = made(encoders, 0, 1, 2)

    with torch.no_grad():
        wanted = encoders.words(["a fox", "a hill", "an owl"])
    assert torch.equal(found.words.states, wanted.states)
    assert torch.equal(found.words.pooled, wanted.pooled)
    places = [int((0.1 + 0.2 * k) * NUM_TRAINING_SIGMAS) for k in range(3)]
    assert torch.equal(found.sigmas, shifted_sigmas(NUM_TRAINING_SIGMAS)[places])
    assert torch.equal(found.weights, loss_weights(found.sigmas, "bell"))


def test_a_pair_has_the_same_conditions_in_any_company(encoders):
    together, alone = made(encoders, 0, 1, 2), made(encoders, 1)

    assert torch.equal(together.noise[1], alone.noise[0])
    assert torch.equal(together.words.states[1], alone.words.states[0])
    assert torch.allclose(together.latents[1], alone.latents[0], atol=1e-5)
    assert not torch.equal(together.noise[0], together.noise[1])


def test_noise_is_drawn_unpacked(encoders):
    noise = encoders.noise([7], SIZE)

    drawn = torch.randn(4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(7))
    assert torch.equal(noise, pack_latents(drawn[None]))
