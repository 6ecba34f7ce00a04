"""A small run enters few files, so that a newcomer who follows it has few to open.

A file is entered if one of its functions is called; what runs while modules are imported does not
count.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import draw, jsonl
from tests.contract.tree import ROOT, sources

# Lower these numbers; raise one only for a promise that no file on the way can keep.
LIMITS = {"caption": 39, "dedup": 41}

COUNTED = """\
import json, sys, threading

files, importing = set(), 0

def note(frame, event, _):
    global importing
    code = frame.f_code
    if code.co_name == "<module>":
        importing += (event == "call") - (event == "return")
    elif event == "call" and not importing:
        files.add(code.co_filename)

from megastyle_cli.app import main
threading.setprofile(note)
sys.setprofile(note)
try:
    main()
except SystemExit as ended:
    sys.setprofile(None)
    sys.stderr.write(json.dumps([ended.code, sorted(files)]))
"""


@pytest.mark.parametrize("command", LIMITS)
def test_a_small_run_enters_few_files(command: str, tmp_path: Path) -> None:
    draw(1).save(tmp_path / "a.png")
    styles = [{"style": f"A {kind} with grey lines"} for kind in ("pencil sketch", "wet etching")]
    jsonl(tmp_path / "a.jsonl", styles)
    source = {"caption": "a.png", "dedup": "a.jsonl"}[command]

    ended = subprocess.run(
        [sys.executable, "-c", COUNTED, command, source, "-q"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )

    code, files = json.loads(ended.stderr)
    own = {str(path.relative_to(ROOT)) for path in sources() if str(path) in files}
    assert code == 0 and ended.stdout
    assert len(own) <= LIMITS[command], "\n".join(sorted(own))
