"""A forked command behaves like one that a new interpreter runs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fork_server
from tests.conftest import Runner, jsonl

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or Path("/dev/nvidiactl").exists(), reason="forks are not safe here"
)
# Waits on standard input, like every command whose input is "-".
WAITING = ("dedup", "-", "--no-semantic", "-v")


def start_waiting() -> fork_server.ForkedProcess:
    process = fork_server.start(*WAITING, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert isinstance(process, fork_server.ForkedProcess) and process.stderr
    while b"reads its input" not in process.stderr.readline():
        assert process.poll() is None
    return process


def test_libraries_are_imported_without_starting_a_thread() -> None:
    server = fork_server._server()

    assert server and server.num_threads == 1
    assert fork_server.start("--version", stdout=subprocess.DEVNULL).wait() == 0


@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("caption", "--help"), ("no-such-command",), ("dedup", "missing.jsonl")],
)
def test_exit_code_and_words_are_those_of_a_new_interpreter(
    megastyle: Runner, arguments: tuple[str, ...]
) -> None:
    forked, fresh = megastyle(*arguments), megastyle(*arguments, fresh=True)

    assert (forked.returncode, forked.stdout, forked.stderr) == (
        *(fresh.returncode, fresh.stdout, fresh.stderr),
    )


def test_streams_larger_than_a_pipe_pass_in_both_directions(
    megastyle: Runner, tmp_path: Path
) -> None:
    records = [{"id": f"r{n}", "style": f"ink {n:040b}", "note": "x" * 500} for n in range(2000)]
    content = jsonl(tmp_path / "in.jsonl", records).read_bytes()
    assert len(content) > 1_000_000  # a pipe holds 65,536 bytes

    ended = megastyle(*("dedup", "-", "--no-semantic", "--no-near"), stdin=content)

    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout.count(b"\n") == 2000


def test_a_command_that_does_not_read_its_input_ends(megastyle: Runner) -> None:
    assert megastyle("--version", stdin=b"x" * 1_000_000).returncode == 0


def test_each_process_has_its_own_folder(megastyle: Runner, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        jsonl(tmp_path / name / "in.jsonl", [{"id": name, "style": "ink"}])

        ended = megastyle(*("dedup", "in.jsonl", "--no-semantic"), cwd=tmp_path / name)

        assert f'"id":"{name}"'.encode() in ended.stdout.replace(b": ", b":")


def test_a_variable_is_seen_by_one_command_alone(megastyle: Runner) -> None:
    coloured, plain = (megastyle("dedup", "no.jsonl", **env) for env in ({"FORCE_COLOR": "1"}, {}))

    assert b"\033[31m" in coloured.stderr and b"\033[31m" not in plain.stderr


@pytest.mark.parametrize("number, code", [(signal.SIGKILL, -9), (signal.SIGTERM, 75)])
def test_a_signal_ends_one_command_with_its_code(number: signal.Signals, code: int) -> None:
    first, second = start_waiting(), start_waiting()

    first.send_signal(number)

    assert first.communicate() and first.returncode == code
    assert second.poll() is None
    assert second.communicate() and second.returncode == 0


def test_a_shell_script_can_call_it(tmp_path: Path) -> None:
    jsonl(tmp_path / "in.jsonl", [{"id": f"r{n}", "style": "ink"} for n in range(3)])
    fork_server.write_program(tmp_path / "megastyle")
    line = "./megastyle dedup in.jsonl --no-semantic -q | ./megastyle dedup --no-semantic -q"

    ended = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, check=False)
    refused = subprocess.run([tmp_path / "megastyle", "dedup", "no.jsonl"], capture_output=True)

    assert (ended.returncode, ended.stdout.count(b"\n"), ended.stderr) == (0, 1, b"")
    assert refused.returncode == 2 and refused.stderr.startswith(b"error: no.jsonl")


def test_a_wait_that_takes_too_long_ends() -> None:
    process = start_waiting()

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)

    process.kill()
    process.communicate()


def test_no_zombie_and_no_open_file_is_left(megastyle: Runner) -> None:
    server = fork_server._server()
    assert server
    ended = fork_server.start("--version", stdout=subprocess.DEVNULL)
    ended.wait()
    open_files = [Path("/proc", process, "fd") for process in ("self", str(server.pid))]
    before = [len(list(folder.iterdir())) for folder in open_files]

    for _ in range(30):
        megastyle("--version")

    # other processes of pytest use the server, too
    ours, its = (len(list(folder.iterdir())) for folder in open_files)
    assert ours == before[0] and its < before[1] + 20
    assert not Path("/proc", str(ended.pid)).exists()
