"""Process identities: an ended process differs from one that runs, and from its successor."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from megastyle_cli.core.process_id import ProcessId, launcher_cores

SHOW = "import json;from megastyle_cli.core.process_id import ProcessId as P;"
SHOW += "print(json.dumps(P.of_this_process().to_json()), flush=True); input()"


@pytest.fixture
def other() -> Iterator[tuple[ProcessId, "subprocess.Popen[bytes]"]]:
    """The identity of a process that waits for its input to end, and the process."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", SHOW], **pipes)
    assert process.stdout
    yield ProcessId.from_json(json.loads(process.stdout.readline())), process
    process.kill()
    process.communicate()


def test_a_process_of_this_machine_runs_until_it_ends(other):
    identity, process = other
    assert identity.is_visible and not identity.has_ended()

    process.send_signal(signal.SIGSTOP)
    assert not identity.has_ended()

    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity.has_ended(), "a zombie writes nothing"

    process.wait()
    assert identity.has_ended()


def test_a_later_process_of_the_same_number_is_another(other):
    identity, _ = other

    assert replace(identity, started=identity.started - 1).has_ended()


@pytest.mark.parametrize("field", ["host", "boot", "pid_namespace"])
def test_what_runs_elsewhere_is_not_visible(field):
    assert not replace(ProcessId.of_this_process(), **{field: "elsewhere"}).is_visible


def test_a_child_of_a_fork_has_an_identity_of_its_own():
    ours = ProcessId.of_this_process()
    child = os.fork()
    if not child:
        os._exit(ProcessId.of_this_process() == ours)

    assert os.waitpid(child, 0)[1] == 0


def test_an_identity_survives_json():
    ours = ProcessId.of_this_process()

    assert ProcessId.from_json(json.loads(json.dumps(ours.to_json()))) == ours


COUNT = """
import os, sys
from megastyle_cli.compute.engine import usable_cores
from megastyle_cli.core.process_id import launcher_cores
os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
print(launcher_cores(), usable_cores())
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs the affinity of Linux")
@pytest.mark.parametrize("shell", [(), ("bash", "-c", '"$@"; exit $?', "-")])
def test_a_rank_knows_the_cores_of_its_launcher_whatever_it_was_bound_to(
    shell: tuple[str, ...],
) -> None:
    before = os.sched_getaffinity(0)
    rank = [*shell, sys.executable, "-c", COUNT]
    env = {**os.environ, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": str(len(before))}

    def counted(cores: set[int]) -> str:
        bound = ",".join(map(str, cores))
        return subprocess.run([*rank, bound], env=env, capture_output=True, text=True).stdout

    # bound to a core of its own, or to all of them: an equal share
    for cores in ({min(before)}, before):
        assert counted(cores).split() == [str(len(before)), "1"]
    try:
        os.sched_setaffinity(0, {min(before)})
        assert counted({min(before)}).split() == ["1", "1"]
    finally:
        os.sched_setaffinity(0, before)


def test_a_process_that_was_not_launched_has_the_cores_of_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launcher_cores.cache_clear()

    assert launcher_cores() == len(os.sched_getaffinity(os.getppid()))
