"""What does `pair` cost beside the tools that a user would join two files with?

170,000 styles and 400,000 contents, 8 contents per style, as JSON lines with records like those of
the preceding commands. Each runs in a process of its own on one core, in turn. Prints CPU seconds
with start-up, peak memory, and the ratio to `pair`. The peers draw and join, but check nothing, and
their ids, order and draws are not ours. They need an environment of their own:

  python -m venv peers && peers/bin/pip install duckdb polars
  python benchmarks/pair.py --peers peers/bin/python
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STYLE_WORDS = [
    "teal",
    "ochre",
    "amber",
    "impasto",
    "gouache",
    "woodblock",
    "hatched",
    "glazed",
    "grainy",
    "backlit",
    "muted",
]
CONTENT_WORDS = [
    "fishing",
    "vessel",
    "rough",
    "seas",
    "birds",
    "man",
    "vertical",
    "smartphone",
    "frog",
    "leaf",
    "tree",
    "field",
]


def write_galleries(folder: Path, num_styles: int, num_contents: int) -> None:
    """styles.jsonl with prompts of 32 words, contents.jsonl with prompts of six."""
    rng = random.Random(0)
    for name, key, count, words, length in (
        ("styles", "style", num_styles, STYLE_WORDS, 32),
        ("contents", "content", num_contents, CONTENT_WORDS, 6),
    ):
        with (folder / f"{name}.jsonl").open("w") as file:
            for number in range(count):
                record = {
                    "id": f"{rng.getrandbits(64):016x}",
                    "file_name": f"{name}/{number:06}.jpg",
                    "license": "cc0",
                    key: " ".join(rng.choices(words, k=length)),
                    **({"style_colors": "teal", "style_medium": "gouache"} if length > 6 else {}),
                    "cluster": rng.randrange(5000),
                    "_megastyle": {"caption": {"model": "builtin", "run": "8f3c2a1d"}},
                }
                file.write(json.dumps(record, separators=(",", ":")) + "\n")


DUCKDB = """
import duckdb, sys
styles, contents, out = sys.argv[1:]
query = f'''copy (
  with s as (from read_json('{styles}', format='newline_delimited')),
       c as (select *, row_number() over () - 1 n
             from read_json('{contents}', format='newline_delimited')),
       d as (select s.*, draw, floor(random() * (select count(*) from c))::bigint n
             from s, range(8) t(draw))
  select 's' || d.id || '_c' || c.id id, d.id style_id, c.id content_id, d.style, c.content,
         d.style_colors, d.style_medium, d.file_name style_file_name,
         c.file_name content_file_name, d.license, d.cluster, c.license content_license,
         c.cluster content_cluster, {{'style': d._megastyle, 'content': c._megastyle,
         'pair': {{'run': 'b2cd7946', 'draw': draw}}}} _megastyle
  from d join c on d.n = c.n
) to '{out}' (format json)'''
duckdb.connect(config={"threads": 1}).execute(query)
"""
POLARS = """
import polars as pl, sys
styles, contents, out = sys.argv[1:]
s, c = pl.read_ndjson(styles), pl.read_ndjson(contents)
draws = pl.int_range(8 * len(s), eager=True)
s = s[draws // 8].rename({"id": "style_id", "file_name": "style_file_name", "_megastyle": "by"})
c = c[draws.shuffle(0) * 7919 % len(c)].select(
    "content", content_id="id", content_file_name="file_name", content_license="license",
    content_cluster="cluster", of="_megastyle")
pairs = pl.concat([s, c], how="horizontal").with_columns(
    id=pl.format("s{}_c{}", "style_id", "content_id"),
    _megastyle=pl.struct(
        style="by", content="of", pair=pl.struct(run=pl.lit("b2cd7946"), draw=draws % 8)))
pairs.drop("by", "of").write_ndjson(out)
"""
LOOP = """
import json, random, sys
styles, contents, out = sys.argv[1:]
with open(contents) as lines:
    contents = [json.loads(line) for line in lines]
with open(styles) as lines, open(out, "w") as file:
    for style in map(json.loads, lines):
        for draw, c in enumerate(random.sample(contents, 8)):
            pair = {**style, "id": f"s{style['id']}_c{c['id']}", "style_id": style["id"],
                    "content_id": c["id"], "content": c["content"],
                    "content_file_name": c["file_name"], "content_license": c["license"],
                    "content_cluster": c["cluster"],
                    "_megastyle": {"style": style["_megastyle"], "content": c["_megastyle"],
                                   "pair": {"run": "b2cd7946", "draw": draw}}}
            print(json.dumps(pair), file=file)
"""
PEERS = {"duckdb": DUCKDB, "polars": POLARS, "a loop": LOOP}


def bytecode_kept() -> dict[str, str]:
    """An environment in which a second run finds compiled bytecode, as in an installation."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def run(*command: object) -> tuple[float, float, float]:
    """CPU seconds, wall-clock seconds and peak GB of a process on one core."""
    started = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)),
        env=bytecode_kept() | {"POLARS_MAX_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} ended with {status}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - started, used.ru_maxrss / 1e6


def main() -> None:
    """Prints CPU seconds, peak memory and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--styles", type=int, default=170_000)
    parser.add_argument("--contents", type=int, default=400_000)
    parser.add_argument("--peers", metavar="PYTHON", help="A Python that has duckdb and polars.")
    parser.add_argument("--rounds", type=int, default=3, help="The least CPU time of them counts.")
    parser.add_argument("options", nargs="*", help="Options of pair, after --.")
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_galleries(folder, options.styles, options.contents)
        files = [folder / f"{name}.jsonl" for name in ("styles", "contents", "pairs")]
        ours = [sys.executable, "-m", "megastyle_cli", "pair", files[0], "--contents", files[1]]
        ours += ["-o", files[2], "--overwrite", "-q", *options.options]
        commands = {"pair": ours}
        for name, code in PEERS.items() if options.peers else ():
            commands[name] = [options.peers, "-c", code, *files]
        run(*ours)  # compiles, if it has to
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                found[name].append(run(*command))
        base = min(found["pair"])[0]
        for name, runs in found.items():
            cpu_s, wall_s, peak = min(runs)
            out(f"{name:8} {cpu_s:6.1f} s CPU {wall_s:6.1f} s, {peak:.2f} GB,")
            out(f" pair takes {base / cpu_s:.2f} of it\n")


if __name__ == "__main__":
    main()
