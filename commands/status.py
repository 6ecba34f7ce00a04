"""Show how far outputs are: parts done, running, stopped and missing.

Examples:

  megastyle status captions/
  megastyle status captions/ synth/ runs/encoder
  sbatch --array="$(megastyle status captions/ --array)" caption.sbatch
  megastyle status captions/ --json | jq -r 'select(.failed > 0) | .path'
"""

from megastyle_cli.status.options import StatusOptions


def main(options: StatusOptions) -> int:
    import json
    import sys
    from pathlib import Path

    from megastyle_cli.core.array_list import array_list
    from megastyle_cli.core.errors import DONE, TRY_AGAIN, MegastyleError
    from megastyle_cli.status.output_status import find_output
    from megastyle_cli.status.table import as_table

    if not options.outputs:
        raise MegastyleError("no output is named", hint="megastyle status captions/")
    found = [find_output(Path(name)) for name in options.outputs]
    if options.array:
        if len(found) > 1 or found[0].tasks is None:
            raise MegastyleError(
                "--array takes one folder of parts", hint="megastyle status captions/ --array"
            )
        if tasks := found[0].to_submit:
            sys.stdout.write(f"{array_list(tasks)}\n")
    elif options.as_json or not sys.stdout.isatty():
        for part in (part for output in found for part in output.parts):
            sys.stdout.write(f"{json.dumps(part.as_dict(), ensure_ascii=False)}\n")
    else:
        sys.stdout.write(as_table(found))
    return DONE if all(output.is_done for output in found) else TRY_AGAIN
