"""Help and version import nothing heavy: watched in a fresh process, by name, not by clock."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from megastyle_cli.app import COMMANDS

HEAVY = {
    "torch",
    "numpy",
    "PIL",
    "transformers",
    "diffusers",
    "sentence_transformers",
    "faiss",
    "accelerate",
    "ray",
    "pyarrow",
    "jsonlines",
    "tqdm",
    "onnxruntime",
    "tokenizers",
    "safetensors",
    "wordllama",
}

WATCH = """
import sys
from megastyle_cli.app import main
sys.argv = ["megastyle", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert end.code in (0, 2), end.code
heavy = sorted({heavy!r} & set(sys.modules))
sys.stderr.write("heavy:" + ",".join(heavy))
"""


def heavy_after(*arguments: str) -> str:
    script = WATCH.format(arguments=arguments, heavy=HEAVY)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return ended.stderr.rsplit("heavy:", 1)[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    assert heavy_after(command, "--help") == ""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["completion", "bash"]])
def test_help_version_and_completion_import_nothing_heavy(arguments: list[str]) -> None:
    assert heavy_after(*arguments) == ""


def test_the_functions_for_python_import_nothing_heavy() -> None:
    script = f"import sys, megastyle_cli.api; assert not {HEAVY!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_watch_sees_a_heavy_import(tmp_path: object) -> None:
    # the check itself: a command that does work imports numpy
    assert "numpy" in heavy_after("retrieve", "missing.png", "--index", "missing.png")


@pytest.mark.parametrize(
    "arguments", [["caption", "a.png"], ["eval", "a.png", "--backend", "imagenet"]]
)
def test_the_networks_that_describe_pictures_run_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 32), "teal").save("a.png")

    imported = heavy_after(*arguments, "-o", "out.jsonl").split(",")

    assert "onnxruntime" in imported and "torch" not in imported
    assert Path("out.jsonl").stat().st_size > 0


def test_help_works_without_docstrings() -> None:
    words = [sys.executable, "-OO", "-m", "megastyle_cli", "pair", "--help"]
    ended = subprocess.run(words, capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert COMMANDS["pair"].encode() in ended.stdout
