"""caption and synth under real launchers: stopped, killed, and resumed to the full output.

The fork server runs the launchers, and what they start as ranks hands its work to that server.
"""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from megastyle_cli.core.errors import TRY_AGAIN
from megastyle_cli.core.shard import Shard
from tests import fork_server
from tests.chat_server import CONTENT, ChatRequest, RawResponse, completion, serving
from tests.conftest import Runner, draw, free_port, jsonl, lines
from tests.tiny_pipelines import save_tiny_qwen

LAUNCHERS = {
    "torchrun": ("torch.distributed.run", "--nproc-per-node", "2", "--no-python", "--master-port"),
    "accelerate": (
        *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--no_python", "--main_process_port"),
    ),
}

Launched = subprocess.Popen[bytes] | fork_server.ForkedProcess

COUNT = 120
COUNT_OF_PICTURES = 28
LANES = 20  # more than a rank has in flight: after this many answers, some records are written


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A folder where each rank writes its process id and its exit code."""
    folder = tmp_path / "reports"
    folder.mkdir()
    fork_server.write_program(folder / "rank", folder)
    return folder


def launch(launcher: str, reports: Path, *args: object) -> Launched:
    module, *flags = LAUNCHERS[launcher]
    with (reports / "stderr").open("wb") as stderr:
        return fork_server.start(
            *(*flags, free_port(), reports / "rank", *args),
            module=module,
            stdout=subprocess.DEVNULL,
            stderr=stderr.fileno(),
        )


def wait_for_lines(parts: Path, launched: Launched, stderr: Path, more_than: int = 0) -> None:
    """Until both ranks have written some records, and there are more than that many."""

    def is_enough() -> bool:
        found = [path.read_bytes().count(b"\n") for path in parts.rglob("metadata.jsonl.partial")]
        found += [path.read_bytes().count(b"\n") for path in parts.glob("part-*.jsonl.partial")]
        return len([count for count in found if count]) == 2 and sum(found) > more_than

    deadline = time.monotonic() + 240
    while not is_enough():
        assert launched.poll() is None, stderr.read_text()
        assert time.monotonic() < deadline, stderr.read_text()
        time.sleep(0.01)


def written(parts: Path) -> "Counter[str]":
    """How often each id stands in the parts, every line of which must be readable."""
    named = ("metadata.jsonl", "metadata.jsonl.partial", "part-*.jsonl", "part-*.jsonl.partial")
    found = {path for name in named for path in parts.rglob(name) if "errors" not in path.name}
    return Counter(record["id"] for path in found for record in lines(path))


def codes(reports: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in reports.glob("*.code")}


def interrupt(how: str, launched: Launched, reports: Path) -> None:
    """SIGTERM to the launcher, or SIGKILL to a rank."""
    if how == "stopped":
        launched.send_signal(signal.SIGTERM)
    else:
        os.kill(int((reports / "1.pid").read_text()), signal.SIGKILL)
    assert launched.wait(120) != 0


def expected_codes(how: str) -> dict[str, str]:
    ranks = ("0", "1") if how == "stopped" else ("0",)
    return dict.fromkeys(ranks, str(TRY_AGAIN))


@pytest.mark.parametrize(
    ("launcher", "how"),
    [("torchrun", "stopped"), ("torchrun", "killed"), ("accelerate", "stopped")],
)
def test_captions_of_interrupted_ranks_are_whole_and_a_resume_gives_the_rest(
    tmp_path: Path, reports: Path, launcher: str, how: str
) -> None:
    for seed in range(COUNT):
        draw(seed, 64 + seed).save(tmp_path / f"{seed}.png")
    asked = [{"id": f"r{n}", "file_name": f"{n}.png"} for n in range(COUNT)]
    records, out = jsonl(tmp_path / "in.jsonl", asked), tmp_path / "out"

    had: Counter[int] = Counter()  # answers by rank
    over = threading.Event()

    def slowly(request: ChatRequest) -> RawResponse:
        rank = 1 - Shard(index=0, count=2).owns(f"r{request.image.size[0] - 64}")
        while had[rank] >= LANES and had[1 - rank] < LANES and not over.wait(0.02):
            pass  # neither is done before the other has begun
        had[rank] += 1
        return RawResponse(body=completion(CONTENT).body, wait_s=0.1)

    flags = ("caption", records, "--kind", "content", "--concurrency", 1)
    with serving(slowly) as server:
        launched = launch(launcher, reports, *flags, "--base-url", server.url, "-o", out)
        wait_for_lines(out, launched, reports / "stderr")
        over.set()
        interrupt(how, launched, reports)
    before = written(out)
    assert codes(reports) == expected_codes(how), (reports / "stderr").read_text()
    assert 2 <= before.total() < COUNT

    with serving() as server:
        flags = (*flags, "--base-url", server.url, "-o", out, "--resume")
        assert launch(launcher, reports, *flags).wait(240) == 0, (reports / "stderr").read_text()

    assert len(server.requests) == COUNT - before.total()
    assert written(out) == Counter(record["id"] for record in asked)
    assert not list(out.glob("*.partial"))


@pytest.fixture(scope="module")
def synth(tmp_path_factory: pytest.TempPathFactory, megastyle: Runner) -> tuple[object, ...]:
    """A call of synth whose uninterrupted output is in the folder `whole` beside its records."""
    folder = tmp_path_factory.mktemp("synth")
    model = save_tiny_qwen(folder / "tiny")
    asked = [
        {"id": f"s1_c{n}", "content": f"A fox {'very ' * (n % 9)}red", "style": "In woodcut."}
        for n in range(COUNT_OF_PICTURES)
    ]
    records = jsonl(folder / "pairs.jsonl", asked)
    flags = ("--size", 48, "--steps", 20, "--device", "cpu", "--batch-size", 1)
    call = ("synth", records, "--model", model, *flags)
    assert megastyle(*call, "-o", folder / "whole").returncode == 0
    return call


def test_pictures_of_interrupted_ranks_are_whole_and_a_resume_gives_the_rest(
    synth: tuple[object, ...], tmp_path: Path, reports: Path
) -> None:
    out, whole = tmp_path / "out", Path(str(synth[1])).with_name("whole")

    launched = launch("torchrun", reports, *synth, "-o", out)
    wait_for_lines(out, launched, reports / "stderr")
    interrupt("stopped", launched, reports)
    assert codes(reports) == expected_codes("stopped"), (reports / "stderr").read_text()
    stopped = written(out).total()
    assert 2 <= stopped < COUNT_OF_PICTURES

    for report in reports.glob("*.code"):
        report.unlink()
    launched = launch("torchrun", reports, *synth, "-o", out, "--resume")
    wait_for_lines(out, launched, reports / "stderr", more_than=stopped)
    interrupt("killed", launched, reports)
    assert codes(reports) == expected_codes("killed"), (reports / "stderr").read_text()
    assert stopped < written(out).total() < COUNT_OF_PICTURES

    # what a launcher would start; the captions above are resumed by launchers
    command = (*synth, "-o", out, "--resume", "-q")
    ranks = [fork_server.start(*command, RANK=f"{rank}", WORLD_SIZE="2") for rank in range(2)]
    assert [rank.wait(240) for rank in ranks] == [0, 0]

    assert written(out) == written(whole)
    pictures = {path.name: path.read_bytes() for path in out.rglob("*.png")}
    assert pictures == {path.name: path.read_bytes() for path in whole.rglob("*.png")}
