"""Options of train-encoder: which of them identify a run, by a key that does not change."""

from megastyle_cli.core.record import Run
from megastyle_cli.training.encoder.config import EncoderConfig


def test_the_run_key_is_that_of_earlier_versions():
    # computed before options were declared as fields: such runs can be resumed
    options = EncoderConfig(init="google/siglip", seed=3).run_options(steps=100)

    assert Run("train-encoder", {**options, "pictures": "01234567"}, "1").key == "3c42f67d"


def test_only_options_that_change_the_weights_are_part_of_the_run():
    options = EncoderConfig().run_options(steps=9)

    layout = EncoderConfig(chunk="2", recompute="all", compile=True, validate_every=7)
    assert layout.run_options(steps=9) == options
    for changed in ({"crop": 0.7}, {"flip": False}, {"images_per_style": 2}, {"seed": 1}):
        assert EncoderConfig(**changed).run_options(steps=9) != options
    assert EncoderConfig().run_options(steps=10) != options


def test_a_batch_holds_groups_of_one_style():
    assert EncoderConfig(global_batch=24, images_per_style=4).groups == 6
