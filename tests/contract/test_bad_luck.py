"""Bad inputs, closed streams, odd places through real commands: a sentence each, nothing lost."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.runner.signals import stop_signals
from tests.conftest import Runner, jsonl, lines

MEGASTYLE = f"'{sys.executable}' -m megastyle_cli"
ODD_IDS = ["../../x", "a/b", "", 7, None, "\0\n\u2028", "\ud800", "L" * 5000]
# Texts that people, scrapers and models write: none may crash a command or be changed by it.
ODD_TEXTS = [
    *("", " ", "\0", "\0teal\0ink", "\ud800 x", "ink \udcff", "one", "!!!", "\U0001f600\U0001f3a8"),
    *(
        "\u05e9\u05de\u05df \u05e2\u05dc \u05d1\u05d3",
        "\u0645\u0627\u0626\u064a",
        "\u202eteal\u2028ink",
    ),
    *("x" * 1_000_000, "teal " * 200_000, "<script>alert(1)</script>", "cafe\u0301"),
]


def in_shell(script: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """`megastyle` in a shell script: for closed streams and pipes."""
    script = script.replace("megastyle", MEGASTYLE)
    return subprocess.run(["bash", "-c", script], capture_output=True, cwd=cwd, check=False)


def odd_records() -> list[dict[str, Any]]:
    """Records as people and tables write them, each wrong in its own way."""
    names: list[Any] = [
        7,
        None,
        ["a"],
        "",
        "imgs",
        "a\0b",
        "https://example.org/a.png",
        "~/none.png",
    ]
    return [
        *({"id": odd, "style": f"{n} ink", "file_name": "0.png"} for n, odd in enumerate(ODD_IDS)),
        *({"id": f"n{n}", "style": f"{n} oil", "file_name": odd} for n, odd in enumerate(names)),
        {"file_name": None, "style": "no id and no picture"},
        {"id": "notes", "style": "chalk", "file_name": "0.png", "_megastyle": None},
        {"id": "error", "style": "lone \ud800", "file_name": "missing.png", "_error": "boom"},
        {"id": "blank", "style": "   "},
    ]


@pytest.mark.parametrize(
    "command", ["caption --kind style", "dedup", "cluster", "retrieve --index .", "eval --each"]
)
def test_odd_records_fail_alone(megastyle: Runner, pictures: Path, command: str) -> None:
    records = jsonl(pictures / "odd.jsonl", odd_records())
    with records.open("ab") as file:
        file.write(b'\xff\n{"a":1e999}\n{"a":NaN}\n[1]\n{"_error":{"line":""}}\n')

    ended = megastyle(*command.split(), records, "-o", "../out.jsonl", cwd=pictures)

    words = ended.stderr.decode()
    assert ended.returncode == 3 and "unexpected" not in words, words
    failed = lines(pictures.parent / "out.errors.jsonl")
    assert sum(found["_error"]["kind"] == "bad_json" for found in failed) == 5
    assert "model_error" not in [found["_error"]["kind"] for found in failed]
    if command != "dedup":
        assert len(failed) + len(lines(pictures.parent / "out.jsonl")) == len(odd_records()) + 5


def test_pictures_of_odd_ids_stay_inside_and_apart(megastyle: Runner, pictures: Path) -> None:
    records = jsonl(
        pictures / "pairs.jsonl",
        [
            {"id": odd, "style_file_name": f"{n % 2}.png", "content_file_name": "2.png"}
            for n, odd in enumerate([*ODD_IDS, "a", "a"])
        ],
    )
    out = pictures / "sub" / "out"

    ended = megastyle("synth", records, "--size", 32, "-o", out)

    assert ended.returncode == 0, ended.stderr.decode()
    made = {(out / found["file_name"]).resolve() for found in lines(out / "metadata.jsonl")}
    assert len(made) == len(ODD_IDS) + 2  # equal ids, different styles: a picture each
    assert all(path.is_file() and path.is_relative_to(out) for path in made)


def test_equal_contents_in_two_styles_are_two_pictures(megastyle: Runner, pictures: Path) -> None:
    asked = [{"file_name": "0.png", "style_file_name": f"{style}.png"} for style in (1, 2)]
    records, out = jsonl(pictures / "two.jsonl", asked), pictures / "out"

    megastyle("transfer", records, "--size", 32, "-o", out)

    first, second = (out / found["file_name"] for found in lines(out / "metadata.jsonl"))
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
def test_an_input_is_never_the_output(megastyle: Runner, pictures: Path, flag: str) -> None:
    for output in ("in.jsonl", "metadata.jsonl"):
        source = jsonl(pictures / output, [{"file_name": "0.png"}])
        before = source.read_bytes()
        named = source if output == "in.jsonl" else pictures

        ended = megastyle("retrieve", named, "--index", pictures, "-o", source, flag)

        words = b"both input and output" if named == source else b"is inside the input"
        assert ended.returncode == 2 and words in ended.stderr
        assert source.read_bytes() == before
        source.unlink()


@pytest.mark.parametrize("flag", ["", "--overwrite", "--resume"])
def test_an_output_never_lies_among_the_pictures(
    megastyle: Runner, pictures: Path, flag: str
) -> None:
    out = pictures / "found.jsonl"

    ended = megastyle("retrieve", pictures, "--index", pictures, "-o", out, *flag.split())

    assert ended.returncode == 2 and b"found.jsonl is inside" in ended.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "script, code, words",
    [
        ("megastyle retrieve . --index . -o ../out.jsonl >&-", 0, b"6 out"),
        ("megastyle retrieve . --index . -o ../out.jsonl 2>&-", 0, b""),
        ("megastyle retrieve . --index . -o ../out.jsonl <&- >&- 2>&-", 0, b""),
        ("megastyle retrieve . --index . >&-", 1, b"standard output: bad file descriptor"),
        ("megastyle retrieve - --index . <&-", 2, b"standard input is closed"),
        ("megastyle --help > /dev/full", 1, b"error: no space left on device"),
        (
            "megastyle transfer --style 0.png 1.png --size 64 -o - > /dev/full",
            1,
            b"error: standard output: no space left on device",
        ),
        ("RANK=x megastyle retrieve . --index . -o ../out.jsonl", 2, b"RANK is 'x', not a number"),
        ("RANK=0 WORLD_SIZE=2 megastyle dedup . -o ../out.jsonl", 2, b"without accelerate"),
        ("RANK=1 WORLD_SIZE=2 megastyle retrieve . --index . -o ../parts", 0, b""),
        ("RANK=1 WORLD_SIZE=2 megastyle retrieve --index ../x --add .", 2, b"MASTER_ADDR is not"),
        (
            "megastyle dedup . --near-threshold nan",
            2,
            b"--near-threshold must be a number from 0 to 1",
        ),
        ("megastyle retrieve . --index . -o ../out.jsonl --max-errors nan%", 2, b"--max-errors"),
        (
            "megastyle retrieve . --index . -o ../out.jsonl --stats ../no/s.json",
            2,
            b"../no is not a writable folder",
        ),
        ("megastyle retrieve /dev/zero --index .", 2, b"/dev/zero is a device"),
        ("megastyle dedup /dev/null", 0, b"0 in"),
        ("megastyle retrieve . --index . --backend json:loads", 1, b"the model does not load"),
    ],
)
def test_odd_surroundings_are_one_sentence(
    pictures: Path, script: str, code: int, words: bytes
) -> None:
    ended = in_shell(script, pictures)

    assert ended.returncode == code, ended.stderr.decode()
    assert words in ended.stderr and b"Traceback" not in ended.stderr
    assert ended.stdout == b""
    if not words:
        assert ended.stderr == b""
    if "-o ../out.jsonl" in script and code == 0:
        assert len(lines(pictures.parent / "out.jsonl")) == 6


def test_names_that_are_no_utf8_come_back_byte_for_byte(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    odd = Path(str(pictures / "\udcff\udcfe.png"))
    (pictures / "0.png").rename(odd)
    found = tmp_path / "found.jsonl"

    by_folder = megastyle("retrieve", pictures, "--index", pictures, "-o", found)
    by_lines = megastyle("retrieve", found, "--index", pictures, "-q")
    by_names = megastyle("retrieve", "-0", "--index", pictures, "-q", stdin=bytes(odd) + b"\0")

    assert by_folder.returncode == by_lines.returncode == 0, by_lines.stderr.decode()
    assert len(lines(by_lines.stdout)) == 6
    assert json.loads(by_names.stdout)["file_name"] == str(odd)


def test_a_stop_is_not_swallowed_by_code_that_catches_all_errors() -> None:
    stopped = pytest.raises(MegastyleError, match="SIGTERM")
    with stopped as caught, stop_signals(at_once=True), suppress(Exception):
        os.kill(os.getpid(), signal.SIGTERM)

    assert caught.value.exit_code == TRY_AGAIN
