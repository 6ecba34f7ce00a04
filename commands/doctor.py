"""Check this machine: packages, extras, GPU, caches and models.

Examples:

  megastyle doctor
  megastyle doctor --prepare
  megastyle doctor --json | jq '.checks[] | select(.ok | not)'
  megastyle doctor -- train-encoder synth/ --init google/siglip-so400m-patch14-384 -o runs/enc
"""

from megastyle_cli.doctor.options import DoctorOptions


def main(options: DoctorOptions) -> int:
    import subprocess
    import sys

    if options.command:
        words = options.command[options.command[0] == "megastyle" :]
        line = [sys.executable, "-m", "megastyle_cli", *words, "--dry-run"]
        return subprocess.run(line).returncode

    from megastyle_cli import __version__
    from megastyle_cli.core.check import as_table, is_complete
    from megastyle_cli.core.errors import DONE, USAGE
    from megastyle_cli.doctor.abilities import check_builtin, check_models
    from megastyle_cli.doctor.machine import check_machine, check_packages
    from megastyle_cli.doctor.prepare import prepare
    from megastyle_cli.doctor.storage import check_storage, downloaded_models

    if options.prepare:
        sys.stderr.write("doctor: compiling what dedup and pair need\n")
        prepare()
    checks = [
        *check_machine(),
        *check_packages(),
        *check_storage(),
        *check_builtin(),
        *check_models(downloaded_models()),
    ]
    works = is_complete(checks)
    if options.as_json:
        import json

        report = {"version": __version__, "ok": works, "checks": [c.as_dict() for c in checks]}
        sys.stdout.write(f"{json.dumps(report)}\n")
    else:
        sys.stdout.write(f"megastyle {__version__}\n{as_table(checks)}")
    return DONE if works else USAGE
