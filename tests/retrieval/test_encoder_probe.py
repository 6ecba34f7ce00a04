"""The probe image, and what it tells about encoders."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.builtin.style_descriptor import StyleDescriptor, WhitenedDescriptor
from megastyle_cli.models.registry import load
from megastyle_cli.retrieval.encoder_probe import check_same_encoder, embed_probe, probe_image


def test_the_probe_is_always_the_same_image():
    assert probe_image().tobytes() == probe_image().tobytes()
    assert len(probe_image().getcolors(96 * 96)) > 100


def test_the_encoder_that_made_an_index_is_recognized():
    encoder = StyleDescriptor()
    probe = embed_probe(encoder)

    check_same_encoder("x", encoder.name, probe.tolist(), encoder, probe)


def test_a_model_folder_may_move_but_not_change():
    class Trained(StyleDescriptor):
        name = "new/place@12345678"

    probe = embed_probe(Trained())

    check_same_encoder("x", "old/place@12345678", probe.tolist(), Trained(), probe)
    with pytest.raises(MegastyleError, match="made with old/place@87654321"):
        check_same_encoder("x", "old/place@87654321", probe.tolist(), Trained(), probe)


@pytest.mark.parametrize(
    ("change", "made_by", "message"),
    [
        (
            lambda probe: probe,
            "a@12345678",
            "made with a@12345678, but the encoder is style-statistics",
        ),
        (lambda probe: probe[:-1], "style-statistics", "1355 and 1356 dimensions"),
        (
            lambda probe: np.roll(probe, 1),
            "style-statistics",
            "vector of the probe image has changed",
        ),
    ],
)
def test_another_encoder_than_that_of_the_index_is_refused(change, made_by, message):
    probe = embed_probe(StyleDescriptor())

    with pytest.raises(MegastyleError, match=message):
        check_same_encoder("x", made_by, change(probe).tolist(), StyleDescriptor(), probe)


def test_an_index_of_an_earlier_version_is_refused_with_the_backend_that_opens_it():
    former = WhitenedDescriptor()
    probe = embed_probe(former)

    with pytest.raises(MegastyleError) as refusal:
        check_same_encoder("x", former.name, probe.tolist(), StyleDescriptor(), probe[:9])

    assert refusal.value.hint == "give --backend whitened, or build a new one"
    encoder = load("style_encoder", "whitened")
    check_same_encoder("x", former.name, probe.tolist(), encoder, embed_probe(encoder))
