"""How do time and memory of each command grow, and what would shell tools or a database take?

Runs each command of TASKS on inputs of growing size, one process after the other, start-up included
and warm, and keeps CPU seconds and peak memory in how_fast.json, from which `make docs` makes the
tables of docs/how-fast.md. The lesser time of two runs counts; what takes more than 10 s at the
largest size runs once. The peers need an environment of their own:

  python -m venv peers && peers/bin/pip install duckdb numpy pillow
  python benchmarks/how_fast.py --peers peers/bin/python
  python benchmarks/how_fast.py --peers peers/bin/python --only pairs
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FIGURES = Path(__file__).with_suffix(".json")
RECORDS = (1_000, 100_000, 1_000_000)
PICTURES = (10, 100, 1_000)
TWICE_S = 10  # what takes less is repeated at the largest size too
SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu".split(" ")  # noqa: SIM905
WORDS = [one + two + three for one in SYLLABLES for two in SYLLABLES for three in ("", "n", "sh")]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is done, to how many records or pictures, and the shell command of each tool.

    `prepare` writes the inputs of n records to the folder in which the commands run. `{clusters}`
    in a command is a twentieth of the records, at most 1,000; `{python}` is that of the peers.
    """

    name: str
    what: str
    prepare: Callable[[Path, int], None]
    commands: dict[str, str]
    sizes: tuple[int, ...] = RECORDS


def write_prompts(folder: Path, count: int) -> None:
    """prompts.jsonl: prompts of 38 drawn words, 30 % exact copies, 20 % with one word replaced."""
    rng = random.Random(0)
    texts: list[str] = []
    with (folder / "prompts.jsonl").open("w") as file:
        for number in range(count):
            words = rng.choices(WORDS, k=38)
            kind = rng.random() if texts else 1.0
            if kind < 0.5:
                words = rng.choice(texts).split(" ")
            if 0.3 <= kind < 0.5:
                words[rng.randrange(len(words))] = "unlike"
            texts.append(" ".join(words))
            file.write(f'{{"id":"{number:016x}","style":"{texts[-1]}"}}\n')


def write_parents(folder: Path, count: int) -> None:
    """styles.jsonl and contents.jsonl for `count` pairs of 8 a style."""
    from benchmarks.pair import write_galleries

    write_galleries(folder, count // 8, count // 4)


def write_names(folder: Path, count: int) -> None:
    """imgs/: empty files in folders of a thousand."""
    for number in range(count):
        path = folder / "imgs" / f"{number // 1000:04}" / f"{number:07}.jpg"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.touch()


def write_index(folder: Path, count: int) -> None:
    """gallery.index: a saved index of drawn vectors, also as a file of FAISS, and query.png."""
    from PIL import Image

    from benchmarks import retrieve
    from megastyle_cli.models.registry import load

    retrieve.write_index(folder / "gallery.index", count, load("style_encoder", "builtin"))
    Image.linear_gradient("L").convert("RGB").save(folder / "query.png")
    (folder / "numpy_query.py").write_text(retrieve.NUMPY)


def write_pictures(folder: Path, count: int) -> None:
    """imgs/: drawn JPEG of 1024 px, all different, and pairs.jsonl for as many prompts."""
    from PIL import Image, ImageDraw

    rng = random.Random(0)
    (folder / "imgs").mkdir()
    with (folder / "pairs.jsonl").open("w") as file:
        for number in range(count):
            picture = Image.effect_noise((1024, 768), 40 + rng.randrange(40)).convert("RGB")
            draw = ImageDraw.Draw(picture)
            for _ in range(12):
                x, y = rng.randrange(900), rng.randrange(700)
                color = tuple(rng.randrange(256) for _ in range(3))
                draw.ellipse((x, y, x + rng.randrange(20, 400), y + rng.randrange(20, 300)), color)
            picture.save(folder / "imgs" / f"{number:06}.jpg", quality=90)
            pair = {"id": f"{number:06}", "style": "ink wash, teal", "content": "a fox"}
            pair |= {"style_file_name": f"imgs/{number:06}.jpg"}
            pair |= {"content_file_name": f"imgs/{count - 1 - number:06}.jpg"}
            pair |= {"style_id": f"{number % 10}", "file_name": f"imgs/{number:06}.jpg"}
            file.write(json.dumps(pair) + "\n")


AWK = (
    """awk -F'"style":"' '{split($2, text, "\\""); if (!seen[text[1]]++) print}'"""
    " prompts.jsonl > kept.jsonl"
)
DUCKDB_DISTINCT = (
    """{python} -c "import duckdb; duckdb.sql(\\"copy (select distinct on (style) *"""
    """ from 'prompts.jsonl') to 'kept.jsonl'\\")\""""
)
DECODE = (
    '{python} -c "from pathlib import Path; from PIL import Image;'
    " max(len(Image.open(p).tobytes()) for p in Path('imgs').iterdir())\""
)
DEDUP = "megastyle dedup prompts.jsonl -o kept.jsonl --overwrite -q"
TASKS = (
    Task(
        name="copies",
        what="exact copies of prompts removed",
        prepare=write_prompts,
        commands={
            "`dedup`, which also finds near ones": f"{DEDUP} --no-semantic",
            "awk": AWK,
            "jq, sort -u (texts alone)": "jq -r .style prompts.jsonl | sort -u > texts.txt",
            "duckdb": DUCKDB_DISTINCT,
        },
    ),
    Task(
        name="meanings",
        what="semantic duplicates of prompts removed too",
        prepare=write_prompts,
        commands={"`dedup`": DEDUP},
    ),
    Task(
        name="clusters",
        what="prompts clustered",
        prepare=write_prompts,
        commands={
            "`cluster`": "megastyle cluster prompts.jsonl --levels {clusters} -o clusters.jsonl"
            " --overwrite -q"
        },
    ),
    Task(
        name="pairs",
        what="pairs of styles and contents, 8 a style",
        prepare=write_parents,
        commands={
            "`pair`": "megastyle pair styles.jsonl --contents contents.jsonl --per-style 8"
            " -o pairs.jsonl --overwrite -q",
            "duckdb": "{python} duckdb_pairs.py styles.jsonl contents.jsonl pairs.jsonl",
        },
    ),
    Task(
        name="names",
        what="images in folders listed",
        prepare=write_names,
        commands={
            "`ls`": "megastyle ls imgs -o listing.jsonl --overwrite -q",
            "find, sort": "find imgs -name '*.jpg' | sort > listing.txt",
        },
        sizes=RECORDS[:2],
    ),
    Task(
        name="queries",
        what="one query among saved vectors of 256 numbers",
        prepare=write_index,
        commands={
            "`retrieve`": "megastyle retrieve query.png --index gallery.index -q -o -",
            "NumPy, mapped file": "{python} numpy_query.py gallery.index",
        },
    ),
    Task(
        name="captions",
        what="1024 px JPEG described",
        prepare=write_pictures,
        commands={
            "`caption`": "megastyle caption imgs -o captions.jsonl --overwrite -q",
            "`caption --kind style`": "megastyle caption imgs --kind style -o captions.jsonl"
            " --overwrite -q",
            "Pillow, decoded only": DECODE,
        },
        sizes=PICTURES,
    ),
    Task(
        name="indexes",
        what="1024 px JPEG added to an index",
        prepare=write_pictures,
        commands={
            "`retrieve --add`": "rm -rf x.index && megastyle retrieve --index x.index --add imgs -q"
        },
        sizes=PICTURES,
    ),
    Task(
        name="scores",
        what="1024 px JPEG evaluated",
        prepare=write_pictures,
        commands={"`eval`": "megastyle eval pairs.jsonl -o scores.json --overwrite -q"},
        sizes=PICTURES,
    ),
    Task(
        name="paintings",
        what="384 px images painted",
        prepare=write_pictures,
        commands={
            "`synth`": "megastyle synth pairs.jsonl -o synth --size 384 --overwrite -q",
            "`transfer`": "megastyle transfer --style imgs/000000.jpg imgs -o painted --size 384"
            " --overwrite -q",
        },
        sizes=PICTURES[:2],
    ),
)


# Measuring


def measure(command: str, folder: Path, bin_folder: Path) -> tuple[float, float]:
    """CPU seconds and peak MB of a shell command and all its processes."""
    from benchmarks.pair import bytecode_kept

    env = bytecode_kept()
    env["PATH"] = f"{bin_folder}{os.pathsep}{env['PATH']}"
    process = subprocess.Popen(["sh", "-c", command], cwd=folder, env=env, stdout=-3)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def measured(task: Task, count: int, peers: str | None) -> list[dict[str, Any]]:
    """The figures of all commands of a task, one after the other."""
    from benchmarks.pair import DUCKDB

    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # in another process: a process counts the memory of the one that started it as its own
        preparing = multiprocessing.Process(target=task.prepare, args=(folder, count))
        preparing.start()
        preparing.join()
        if preparing.exitcode:
            raise SystemExit(f"the inputs of {task.name} could not be written")
        (folder / "duckdb_pairs.py").write_text(DUCKDB)
        for tool, command in task.commands.items():
            if "{python}" in command and not peers:
                continue
            filled = command.replace("{python}", peers or "")
            filled = filled.replace("{clusters}", str(min(1000, count // 20)))
            runs = found[tool] = [measure(filled, folder, Path(sys.executable).parent)]
            if runs[0][0] < TWICE_S or count < task.sizes[-1]:
                runs.append(measure(filled, folder, Path(sys.executable).parent))
    return [
        {
            "task": task.name,
            "tool": tool,
            "count": count,
            "cpu_s": round(min(runs)[0], 3),
            "peak_mb": round(min(runs)[1]),
        }
        for tool, runs in found.items()
    ]


# Tables


def tables() -> dict[str, str]:
    """The tables of docs/how-fast.md by the names of their markers, from the stored figures."""
    kept = json.loads(FIGURES.read_text())
    made = {
        "how-fast-records": _table(kept["rows"], RECORDS),
        "how-fast-pictures": _table(kept["rows"], PICTURES),
        "how-fast-machine": f"{kept['machine']}.\n",
    }
    lines = [f"{command}" for task in TASKS for command in task.commands.values()]
    shown = "\n".join(lines).replace("{python}", "python").replace("{clusters}", "1000")
    made["how-fast-commands"] = (
        f"```sh\n# not run here: inputs of a million records\n{shown}\n```\n"
    )
    return made


def _table(rows: list[dict[str, Any]], sizes: tuple[int, ...]) -> str:
    figures = {(row["task"], row["tool"], row["count"]): row for row in rows}
    lines = [
        ["what", "tool", *(f"{size:,}" for size in sizes), "ten times as many take"],
        ["---"] * (len(sizes) + 3),
    ]
    for task in TASKS:
        if not set(task.sizes) <= set(sizes):
            continue
        for number, tool in enumerate(task.commands):
            cells = [figures.get((task.name, tool, size)) for size in sizes]
            shown = [f"{c['cpu_s']:.2f} s, {c['peak_mb']:,} MB" if c else "-" for c in cells]
            lines.append(["" if number else task.what, tool, *shown, _growth(cells)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _growth(cells: list[dict[str, Any] | None]) -> str:
    """How much the time grows between the two largest sizes, for ten times as many records."""
    less, more = cells[-2:]
    if not less or not more:
        return "-"
    power = len(str(more["count"])) - len(str(less["count"]))
    if less["cpu_s"] < 0.1:  # nothing but the start
        return "-"
    return f"{(more['cpu_s'] / less['cpu_s']) ** (1 / power):.1f} times"


def main() -> None:
    """Measures all tasks, or those that are named, and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", metavar="PYTHON", help="A Python that has duckdb and Pillow.")
    parser.add_argument("--only", nargs="*", metavar="TASK", help="Names of TASKS.")
    parser.add_argument("--min-count", type=int, default=0)
    parser.add_argument("--max-count", type=int, default=RECORDS[-1])
    options = parser.parse_args()
    peers = options.peers and str(Path(options.peers).absolute())
    kept: dict[str, Any] = {"rows": []}
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, numpy"
        f" {version('numpy')}, numba {version('numba')}, {os.cpu_count()} cores"
    )
    for task in TASKS:
        if options.only and task.name not in options.only:
            continue
        for count in task.sizes:
            if not options.min_count <= count <= options.max_count:
                continue
            found = measured(task, count, peers)
            for row in found:
                sys.stdout.write(f"{row}\n")
                sys.stdout.flush()
            if FIGURES.exists():  # as other processes may have left it
                kept = json.loads(FIGURES.read_text())
            new = {(row["task"], row["tool"], row["count"]) for row in found}
            others = [r for r in kept["rows"] if (r["task"], r["tool"], r["count"]) not in new]
            kept = {"machine": machine, "rows": others + found}
            text = ",\n".join(json.dumps(row) for row in kept["rows"])
            FIGURES.write_text(f'{{"machine": {json.dumps(machine)}, "rows": [\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
