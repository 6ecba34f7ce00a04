"""`megastyle`, and `python -m megastyle_cli`, which is what accelerate launch starts."""

import atexit

from megastyle_cli.core.early_signals import exit_on_signals, ignore_signals


def main() -> None:
    """Runs the command line; signals have their exit codes before anything else is imported."""
    exit_on_signals()
    atexit.register(ignore_signals)  # the first one registered is called last
    from megastyle_cli.app import main as run

    run()


if __name__ == "__main__":
    main()
