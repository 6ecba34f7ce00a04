"""CPU time of `megastyle -h`, compared with importing typer and rich alone."""

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version

RUNS = 20


def cpu_seconds(command: list[str]) -> float:
    """The shortest CPU time (user + system) of RUNS runs, in seconds."""
    return min(_one(command) for _ in range(RUNS))


def _one(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # as an installation has it, with compiled bytecode
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints one line per command: CPU seconds and the ratio to the baseline."""
    plain = cpu_seconds([sys.executable, "-c", "import typer, rich"])
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, typer {version('typer')}\n")
    out(f"import typer, rich         {plain:.3f} s\n")
    for arguments in (["-h"], ["caption", "-h"], ["--version"]):
        took = cpu_seconds([sys.executable, "-m", "megastyle_cli", *arguments])
        out(f"megastyle {' '.join(arguments):16s} {took:.3f} s  {took / plain:.2f}x\n")


if __name__ == "__main__":
    main()
