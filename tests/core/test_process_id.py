"""Process identities: an ended process differs from one that runs, and from its successor."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from megastyle_cli.core.process_id import ProcessId

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
