"""What a launcher starts for each GPU in ranks.sh: `python -m megastyle_cli ARGUMENTS`.

When it is stopped it leaves a note and ends with 0 instead of 75: any other code makes the launcher end
the rest and print what it knows of them.
"""

import os
from pathlib import Path

from megastyle_cli.__main__ import main

STOPPED = 75

try:
    main()
except SystemExit as ended:
    if ended.code != STOPPED:
        raise
    Path(os.environ["STOPPED_NOTES"], os.environ["RANK"]).touch()
