"""A dry run of train-flux plans as the training does, from the configs of the model's parts."""

from pathlib import Path

import pytest
import torch

from megastyle_cli.core.check import Check, is_complete
from megastyle_cli.core.record import Run
from megastyle_cli.models.flux.loader import BUILTIN_FLUX, BUILTIN_FOLDER
from megastyle_cli.models.flux.vae import token_size_px
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.memory_cost import plan_flux_memory
from megastyle_cli.training.flux.preflight import check_flux_run
from megastyle_cli.training.flux.trainable import TrainableModel
from megastyle_cli.training.flux.trainer import token_rows

RUN = Run("train-flux", {}, "0")
FREE = 1 << 30


@pytest.fixture(autouse=True)
def free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """FREE bytes for every plan."""
    name = "megastyle_cli.training.flux.preflight.least_free_bytes"
    monkeypatch.setattr(name, lambda accelerator: FREE)


def config_for(**how: object) -> FluxConfig:
    values = {"model": BUILTIN_FLUX, "size": 64, "global_batch": 4, **how}
    return FluxConfig(**values)  # type: ignore[arg-type]


def checks_of(config: FluxConfig, folder: Path) -> dict[str, Check]:
    found = check_flux_run(config, RUN, folder, RunOptions())
    return {check.name: check for check in found}


@pytest.mark.parametrize("how", [{"rank": 4}, {"full": True}])
def test_the_plan_is_that_of_the_trainer(how: dict[str, object], tmp_path: Path) -> None:
    config = config_for(**how)

    checks = checks_of(config, tmp_path / "run")

    model = TrainableModel(config, torch.float32)
    rows = token_rows(64, token_size_px(model.pipeline.vae))
    how_far = {"dtype": torch.float32, "rows": rows, "free": FREE, "world": 1}
    plan = plan_flux_memory(model, device=torch.device("cpu"), **how_far)
    assert list(checks) == ["output", "weights", "tokenizers", "memory", "text", "disk"]
    assert is_complete(checks.values())
    assert (checks["memory"].text, checks["text"].text) == (plan.plan.sentence, plan.sentence)


def test_quantized_weights_are_counted_as_such(tmp_path: Path) -> None:
    whole = checks_of(config_for(rank=4), tmp_path / "run")["memory"].text
    small = checks_of(config_for(rank=4, quantize="int8"), tmp_path / "run")["memory"].text

    assert small < whole  # 17 MiB and 35 MiB, in words of one length


def test_a_model_that_is_not_downloaded_is_missing(tmp_path: Path) -> None:
    checks = checks_of(config_for(model="owner/flux"), tmp_path / "run")

    assert "owner/flux is not in the local cache" in checks["model"].text
    assert not is_complete(checks.values())


def test_a_model_without_a_tokenizer_is_missing_it(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for part in BUILTIN_FOLDER.iterdir():
        if part.name != "tokenizer_2":
            (model / part.name).symlink_to(part)

    checks = checks_of(config_for(model=str(model)), tmp_path / "run")

    assert "tokenizer_2 holds no tokenizer" in checks["model"].text
    assert not is_complete(checks.values())


def test_a_size_that_the_model_cannot_paint_is_refused(tmp_path: Path) -> None:
    checks = checks_of(config_for(size=63), tmp_path / "run")

    assert "--size 63 is not a multiple of" in checks["model"].text
