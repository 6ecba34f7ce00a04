"""Options of train-flux: which of them identify a run, by a key that does not change."""

from dataclasses import fields

from megastyle_cli.core.record import Run
from megastyle_cli.training.flux.config import FluxConfig


def test_the_run_key_is_that_of_earlier_versions():
    # computed before options were declared as fields: such runs can be resumed
    options = FluxConfig(model="FLUX.1-dev/", rank=4, seed=3).run_options

    assert Run("train-flux", {**options, "pairs": "01234567"}, "1").key == "a5dfec9e"


def test_every_option_changes_the_run_or_is_recorded_beside_it():
    config = FluxConfig()

    recorded_as = {"size": "size_px", "global_batch": "batch"}
    names = {recorded_as.get(field.name, field.name) for field in fields(config)}
    # a key of the pairs stands for these; --pack trains nothing
    data = {"output", "label", "holdout", "split_key", "pack"}
    assert config.run_options.keys() | config.execution_options.keys() | data == names
    assert not config.run_options.keys() & config.execution_options.keys()


def test_execution_options_are_recorded_as_numbers():
    options = FluxConfig(chunk="4", recompute="all").execution_options

    assert (options["chunk"], options["recompute"]) == (4, 1)
    assert FluxConfig().execution_options["chunk"] is None  # memory decides
