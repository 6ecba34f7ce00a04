"""benchmarks/gpu.sh runs anywhere: without a GPU tiny versions, and no figure is kept."""

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PARTS = import_module("benchmarks.gpu.__main__").PARTS
RESULTS = ROOT / "benchmarks" / "RESULTS.md"

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU runs the real sizes")


@pytest.mark.parametrize("part", PARTS)
def test_the_tiny_version_of_a_part_gives_rows(part: str) -> None:
    module, function, _ = PARTS[part]

    rows = list(getattr(import_module(f"benchmarks.gpu.{module}"), function)())

    assert rows and not [row for row in rows if "failed" in row]


def test_without_a_gpu_it_says_so_and_keeps_no_figure() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    before = RESULTS.read_bytes()

    ended = subprocess.run(
        [bash, ROOT / "benchmarks" / "gpu.sh", "kmeans"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr.decode()
    assert b"kmeans: no GPU here" in ended.stderr and b"no GPU, " in ended.stdout
    assert RESULTS.read_bytes() == before


def test_a_missing_package_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("benchmarks.gpu.synth")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setattr(sys, "argv", ["gpu", "synth"])

    assert import_module("benchmarks.gpu.__main__").main() == 2
    assert capsys.readouterr().err == "synth: this Python has no package diffusers\n"
