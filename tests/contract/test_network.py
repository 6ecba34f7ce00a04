"""Nothing is sent or printed, no file is left beside the outputs: commands in a watched process.

Python's audit events show the connections and files of Python code. strace, where it is allowed,
shows the connections of compiled libraries; an empty HOME and TMPDIR show what these libraries
store: onnxruntime's telemetry, for one, queues its reports in files.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from megastyle_cli import NO_TELEMETRY
from megastyle_cli.app import COMMANDS
from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import save_lora
from tests.conftest import draw, jsonl
from tests.strace import traced
from tests.tiny_flux import LETTERS, random_lora, save_tiny_flux

ROOT = Path(__file__).parents[2]
STYLES = {"teal": "cut paper", "navy": "ink wash", "plum": "oil on canvas"}
TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
TOWER |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 8}
# `{}` is the folder of inputs and outputs; the outputs of commands are the inputs of later ones.
CHAIN = """
caption {}/imgs -o {}/captions.jsonl
dedup {}/captions.jsonl -o {}/styles.jsonl --rejected {}/rejected.jsonl
cluster {}/styles.jsonl -o {}/clusters.jsonl --levels 2 --vectors {}/vectors.npy --page {}/map.html
pair {}/styles.jsonl --contents {}/captions.jsonl --per-style 1 -o {}/pairs.jsonl
synth {}/pairs.jsonl -o {}/synth --size 64 --sheet {}/sheet.png --stats {}/stats.json
retrieve {}/imgs --index {}/index --add {}/imgs -o {}/found.jsonl
transfer {}/imgs --style {}/imgs/0.png --size 64 -o {}/transferred
transfer --style {}/imgs/0.png --prompt a --model {}/flux --lora {}/lora.safetensors -o {}/x.png
eval {}/imgs --backend imagenet -o {}/scores.json
train-encoder {}/imgs --init {}/size.json --steps 1 --global-batch 4 --images-per-style 2 -o {}/enc
train-flux {}/imgs --model {}/flux --size 32 --rank 2 --steps 1 --global-batch 2 -o {}/lora
"""
WATCH = """
import json, os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
def watch(event, arguments):
    if event == "open" and not isinstance(arguments[0], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR):
            note = ["file", os.path.abspath(os.fsdecode(arguments[0]))]
            os.write(log, json.dumps(note).encode() + b"\\n")
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"):
        os.write(log, json.dumps(["network", repr(arguments)]).encode() + b"\\n")
sys.addaudithook(watch)
from megastyle_cli.app import build
for line in sys.argv[2:]:
    words = line.split()
    code = build(words[0]).run([*words, "-q"])
    assert not code, (code, line)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of the tests, without telemetry settings, and with an empty HOME and TMPDIR."""
    kept = {name: value for name, value in os.environ.items() if name not in NO_TELEMETRY}
    folders = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "tmp"}
    for folder in folders.values():
        folder.mkdir()
    return {**kept, **{name: str(folder) for name, folder in folders.items()}}


def make_inputs(folder: Path) -> None:
    """Six captioned images of three styles, the size of a tiny tower, and a tiny FLUX."""
    (folder / "imgs").mkdir(parents=True)
    records = []
    for n in range(6):
        draw(n, 64, 64).save(folder / "imgs" / f"{n}.png")
        label, prompt = list(STYLES.items())[n // 2]
        known = {"style_id": label, "style": prompt, "content": f"thing {LETTERS[n]}"}
        records.append({"id": f"r{n}", "file_name": f"{n}.png", **known})
    jsonl(folder / "imgs" / "metadata.jsonl", records)
    (folder / "size.json").write_text(json.dumps(TOWER))
    save_tiny_flux(folder / "flux", text_tokens=16)
    save_lora(random_lora(target_modules(2, 2)), folder / "lora.safetensors")


def test_commands_connect_to_nothing_print_nothing_and_leave_nothing_but_outputs(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder, log, calls = tmp_path / "work", tmp_path / "log", tmp_path / "calls"
    make_inputs(folder)
    commands = CHAIN.replace("{}", str(folder)).strip().splitlines()
    assert {line.split()[0] for line in commands} == set(COMMANDS), "add the new command"

    process = [*traced(calls), sys.executable, "-c", WATCH, str(log), *commands]
    ended = subprocess.run(process, env=environment, cwd=ROOT, capture_output=True, check=False)

    assert (ended.returncode, ended.stderr.decode()) == (0, "")
    # with -q trainers print their result, and no library prints when it is imported
    assert [json.loads(line)["step"] for line in ended.stdout.splitlines()] == [1, 1]
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert [what for kind, what in seen if kind == "network"] == []
    if calls.exists():
        assert [line for line in calls.read_text().splitlines() if "AF_INET" in line] == []
    assert [*(tmp_path / "home").iterdir(), *(tmp_path / "tmp").iterdir()] == []
    # compiled code stands beside the sources
    places = (folder, tmp_path / "tmp", ROOT, Path(os.devnull), sys.prefix, sys.base_prefix)
    written = {Path(what) for kind, what in seen if kind == "file"}
    assert [path for path in written if not any(map(path.is_relative_to, places))] == []


@pytest.mark.parametrize("module", ["megastyle_cli", "megastyle_cli.core.record"])
def test_telemetry_is_off_before_any_library_is_imported(
    module: str, environment: dict[str, str]
) -> None:
    environment |= {"ORT_DISABLE_TELEMETRY": "", "RAY_USAGE_STATS_ENABLED": "false"}
    script = f"import {module}, os, json; print(json.dumps(dict(os.environ)))"

    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True
    )

    found = json.loads(ended.stdout)
    settings = {name: found[name] for name in NO_TELEMETRY}
    assert settings == {**NO_TELEMETRY, "RAY_USAGE_STATS_ENABLED": "false"}
