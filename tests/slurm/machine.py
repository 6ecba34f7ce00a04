"""A machine that runs Slurm, as the first process of its own namespaces: `machine.py FOLDER NODES`.

It starts munged, slurmctld, and one slurmd for each virtual node, all on the loopback device, the
only one there is. A line on its standard input starts the daemon of that node once more. It ends
with its standard input; the kernel then ends all other processes there: daemons, steps, jobs.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

CPUS = 2  # of each node; they share those of the machine
MEMORY_MIB = 16_000
SCRATCH_MIB = 8  # disk of each node
GPUS = 2  # to be counted, not to be used: files in the place of devices
FIRST_PORT = 26_817
PREEMPTION = {"low": "Default=YES GraceTime=0", "grace": "GraceTime=20", "high": "PreemptMode=OFF"}

# An expired credential is what every requeue waits for: two minutes by default.
SETTINGS = """
ClusterName=lab
SlurmctldHost=lab(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmctldPort={port}
FirstJobId={first_job}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
LaunchParameters=disable_send_gids
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=10
MinJobAge=3600
MaxArraySize=1001
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=0,requeue_delay=0
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
GresTypes=gpu
"""


def configure(folder: Path, names: list[str]) -> None:
    """Writes the settings of Slurm, and a hosts file in which every node is 127.0.0.1.

    A step listens where its host's name points, and is answered where its call came from: of the
    loopback addresses, the kernel takes this one.
    """
    (folder / "state").mkdir(mode=0o700)
    (folder / "scratch").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    (folder / "hosts").write_text(f"127.0.0.1 localhost lab {' '.join(names)}\n")
    for gpu in range(GPUS):
        (folder / f"gpu{gpu}").touch()
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    # not 1: jobs of several clusters have folders in /tmp with their numbers
    first_job = int.from_bytes(os.urandom(3)) + 1
    lines = [SETTINGS.format(folder=folder, port=FIRST_PORT, first_job=first_job)]
    for number, name in enumerate(names):
        (folder / f"spool-{name}").mkdir()
        lines.append(
            f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={FIRST_PORT + 1 + number}"
            f" CPUs={CPUS} Sockets=1 CoresPerSocket={CPUS} ThreadsPerCore=1"
            f" RealMemory={MEMORY_MIB} Gres=gpu:{GPUS} State=UNKNOWN\n"
        )
    for name, kind in PREEMPTION.items():
        tier = 10 if name == "high" else 1
        lines.append(
            f"PartitionName={name} Nodes=ALL PriorityTier={tier} {kind}"
            " MaxTime=INFINITE DefMemPerCPU=500 State=UP\n"
        )
    (folder / "slurm.conf").write_text("".join(lines))


def enter_namespaces(folder: Path) -> None:
    """Names this host, hides the machine's hosts file, and switches the loopback device on."""
    socket.sethostname("lab")
    libc = ctypes.CDLL(None, use_errno=True)
    bind = 4096  # MS_BIND
    hosts = os.fsencode(folder / "hosts")
    if libc.mount(hosts, b"/etc/hosts", None, bind, None) != 0:
        raise OSError(ctypes.get_errno(), "the hosts file cannot be mounted")
    up, set_flags, set_address = 1, 0x8914, 0x8916  # IFF_UP, SIOCSIFFLAGS, SIOCSIFADDR
    with socket.socket() as device:
        fcntl.ioctl(device, set_flags, struct.pack("16sh14x", b"lo", up))
        # names are not looked up on a host that has no other address than 127.0.0.1
        second = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, bytes((127, 0, 0, 2)))
        fcntl.ioctl(device, set_address, second)


def start(folder: Path, name: str, *command: str) -> None:
    """Starts a daemon in a session of its own."""
    with (folder / f"{name}.out").open("ab") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def start_node(folder: Path, name: str) -> None:
    """Starts the daemon of a node, whose jobs see its name as `hostname` and a disk of its own."""
    run = 'hostname "$1"; mount -t tmpfs -o size="$2"m scratch "$3"; exec slurmd -D -N "$1"'
    enter = ("unshare", "--uts", "--mount", "sh", "-c", run, "slurmd")
    start(folder, name, *enter, name, str(SCRATCH_MIB), str(folder / "scratch"))


def reap(number: int, frame: FrameType | None) -> None:
    """Takes note of all that has ended: orphans are left to the first process."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main(folder: Path, count: int) -> None:
    names = [f"n{number}" for number in range(count)]
    configure(folder, names)
    enter_namespaces(folder)
    signal.signal(signal.SIGCHLD, reap)
    files = ("key-file", "key"), ("pid-file", "pid"), ("seed-file", "seed"), ("log-file", "log")
    flags = [f"--{flag}={folder}/munge.{name}" for flag, name in (*files, ("socket", "socket"))]
    start(folder, "munged", "munged", "--foreground", "--force", *flags)
    while not (folder / "munge.socket").exists():
        time.sleep(0.05)
    start(folder, "slurmctld", "slurmctld", "-D")
    for name in names:
        start_node(folder, name)
    for line in sys.stdin:
        start_node(folder, line.strip())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
