"""Latents of pictures met before: the same numbers, made once, and no more of them than fit."""

import pytest
import torch

from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.training.flux.batch import Encoders
from tests.conftest import draw
from tests.tiny_flux import save_tiny_flux

CPU = torch.device("cpu")
PICTURES = [draw(k, 32, 32) for k in range(3)]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return load_flux(str(save_tiny_flux(tmp_path_factory.mktemp("tiny"))), torch.float32)


@torch.no_grad()
def test_a_batch_makes_no_difference_to_the_latents_of_a_picture(pipeline):
    together = Encoders(pipeline, CPU).latents(PICTURES)
    alone = torch.cat([Encoders(pipeline, CPU).latents([picture]) for picture in PICTURES])

    assert torch.equal(together, alone)


@torch.no_grad()
def test_a_picture_met_again_is_not_encoded_again(pipeline):
    encoders = Encoders(pipeline, CPU)
    first = encoders.latents(PICTURES)
    encoders.pipeline = None  # nothing can be encoded any more

    assert torch.equal(encoders.latents(PICTURES[::-1]), first.flip(0))


@torch.no_grad()
def test_what_does_not_fit_is_encoded_each_time(pipeline):
    encoders = Encoders(pipeline, CPU)
    encoders.room = 0

    assert torch.equal(encoders.latents(PICTURES), encoders.latents(PICTURES))
    assert not encoders.remembered
