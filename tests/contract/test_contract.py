"""The command-line contract, rule by rule, against every command, in real processes."""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.app import COMMANDS
from tests import fork_server
from tests.conftest import Runner, draw, jsonl, lines

# The trainers end with weights, not records; their contracts: tests/commands/test_train_*.py
STREAMING = tuple(name for name in COMMANDS if not name.startswith("train-"))
MAPS = ("caption", "synth", "retrieve", "transfer")
BARRIERS = ("dedup", "cluster", "pair")
FILTERS = ("caption", "dedup", "cluster", "pair", "retrieve")  # records on stdout by default
FOLDERS = ("synth", "transfer")


@dataclass(frozen=True)
class Case:
    """How a command is called in `folder`: its input and the flags it needs besides -o."""

    input: Path
    flags: tuple[object, ...]

    @property
    def arguments(self) -> tuple[object, ...]:
        return (self.input, *self.flags)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """One small call of every command, on eight drawn pictures."""
    folder = tmp_path_factory.mktemp("contract")
    imgs = folder / "imgs"
    imgs.mkdir()
    for seed in range(8):
        draw(seed).save(imgs / f"{seed}.png")
    listing = [
        {"id": f"r{seed}", "file_name": f"{seed}.png", "license": "cc0", "nested": {"b": [1]}}
        for seed in range(8)
    ]
    jsonl(imgs / "metadata.jsonl", listing)
    styles = [
        {
            **record,
            "file_name": f"imgs/{n}.png",
            "style": f"In the style of number {n}, {c} with ink.",
        }
        for n, (record, c) in enumerate(zip(listing, COLOURS, strict=True))
    ]
    contents = [
        {"id": f"c{n}", "content": f"thing {n}", "file_name": f"imgs/{n}.png"} for n in range(8)
    ]
    pairs = [
        {
            "id": f"s{n % 2}_c{n}",
            "style_id": f"s{n % 2}",
            "content_id": f"c{n}",
            "style_file_name": f"imgs/{n % 2}.png",
            "content_file_name": f"imgs/{n}.png",
            "license": "cc0",
            "nested": {"b": [1]},
        }
        for n in range(8)
    ]
    scored = [{**pair, "file_name": pair["content_file_name"]} for pair in pairs]
    found = {
        "caption": Case(imgs, ("--kind", "style")),
        "dedup": Case(jsonl(folder / "styles.jsonl", styles), ()),
        "cluster": Case(folder / "styles.jsonl", ("--levels", "4,2")),
        "pair": Case(
            folder / "styles.jsonl",
            ("--contents", jsonl(folder / "contents.jsonl", contents), "--per-style", 2),
        ),
        "synth": Case(jsonl(folder / "pairs.jsonl", pairs), ("--size", 64)),
        "retrieve": Case(imgs, ("--index", imgs, "--top", 3)),
        "transfer": Case(imgs, ("--style", imgs / "0.png", "--size", 64)),
        "eval": Case(jsonl(folder / "scored.jsonl", scored), ()),
    }
    assert set(found) == set(STREAMING), "a new command needs a case here"
    return found


COLOURS = ["teal", "ochre", "crimson", "ivory", "navy", "olive", "plum", "gold"]


def output_of(command: str, folder: Path) -> Path:
    return folder / "out" if command in FOLDERS else folder / "out.jsonl"


def listing_of(command: str, output: Path) -> Path:
    return output / "metadata.jsonl" if command in FOLDERS else output


def content_of(output: Path) -> dict[str, bytes]:
    """Every file of an output by its name, notes on the run left out."""
    files = sorted(output.rglob("*")) if output.is_dir() else [output]
    return {
        str(path.relative_to(output.parent)): path.read_bytes()
        for path in files
        if path.is_file() and "run.json" not in path.name
    }


def check_no_traceback(ended: subprocess.CompletedProcess[bytes]) -> None:
    assert b"Traceback" not in ended.stderr, ended.stderr.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_opens_with_a_sentence_and_examples(megastyle: Runner, command: str) -> None:
    ended = megastyle(command, "--help")
    text = ended.stdout.decode()

    assert ended.returncode == 0 and ended.stderr == b""
    assert text.count(f"megastyle {command}") >= 3  # the usage line and two examples or more
    assert text.index("\n  ") < text.index("\n      --")


@pytest.mark.parametrize("command", STREAMING)
def test_output_is_json_lines_and_words_go_to_stderr(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    flags = ("-o", output_of(command, tmp_path)) if command in FOLDERS else ()

    ended = megastyle(command, *cases[command].arguments, *flags)

    assert ended.returncode == 0, ended.stderr.decode()
    assert len(lines(ended.stdout)) == (0 if command in FOLDERS else RECORDS_OUT.get(command, 8))
    last = ended.stderr.decode().splitlines()[-1]
    assert last.startswith(f"{command}: 8 in") and "0 failed" in last


RECORDS_OUT = {"pair": 16, "eval": 1}


@pytest.mark.parametrize("command", [name for name in STREAMING if name != "eval"])
def test_unknown_keys_pass_through_in_order(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    output = output_of(command, tmp_path)

    megastyle(command, *cases[command].arguments, "-o", output)

    for record in lines(listing_of(command, output)):
        assert record["license"] == "cc0" and record["nested"] == {"b": [1]}
        keys = list(record)
        assert keys.index("license") < keys.index("nested")
        assert record["_megastyle"][command]["run"]


@pytest.mark.parametrize("command", STREAMING)
def test_bad_lines_fail_alone_and_nothing_is_lost(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    case = cases[command]
    good = case.input / "metadata.jsonl" if case.input.is_dir() else case.input
    torn = good.parent / f"torn-{command}.jsonl"
    torn.write_bytes(b'{"id": "x", \n\n' + good.read_bytes() + b'{"score": NaN}\n')
    output = output_of(command, tmp_path)

    ended = megastyle(command, torn, *case.flags, "-o", output)

    assert ended.returncode == 3, ended.stderr.decode()
    check_no_traceback(ended)
    written = lines(listing_of(command, output))
    assert len(written) == RECORDS_OUT.get(command, 8)
    name = "out/errors.jsonl" if command in FOLDERS else "out.errors.jsonl"
    failed = lines(tmp_path / name)
    assert [record["_error"]["kind"] for record in failed] == ["bad_json", "bad_json"]
    assert b"line 1" in ended.stderr and str(torn).encode() in ended.stderr

    again = megastyle(command, torn, *case.flags, "-o", output, "--overwrite", "--max-errors", 2)
    assert again.returncode == 0


@pytest.mark.parametrize("command", FILTERS)
def test_a_closed_reader_is_a_success(cases: dict[str, Case], tmp_path: Path, command: str) -> None:
    fork_server.write_program(tmp_path / "megastyle")
    words = " ".join(f"'{word}'" for word in cases[command].arguments)
    script = f"set -o pipefail; '{tmp_path}/megastyle' {command} {words} -q | head -1"
    if command in MAPS:
        script = script.replace(" -q ", " -q --batch-size 1 ")

    ended = subprocess.run(["bash", "-c", script], capture_output=True, check=False)

    assert ended.returncode == 0, ended.stderr.decode()
    assert len(lines(ended.stdout)) == 1 and ended.stderr == b""


def test_a_reader_that_is_gone_before_we_write_is_a_success(cases: dict[str, Case]) -> None:
    words = " ".join(f"'{word}'" for word in cases["dedup"].arguments)
    script = f"set -o pipefail; '{sys.executable}' -m megastyle_cli dedup {words} -q | true"

    ended = subprocess.run(["bash", "-c", script], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("command", STREAMING)
def test_an_existing_output_is_refused_and_overwrite_replaces_it(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    output = output_of(command, tmp_path)
    arguments = (command, *cases[command].arguments, "-o", output)
    assert megastyle(*arguments).returncode == 0
    before = content_of(output)

    refused = megastyle(*arguments)
    assert refused.returncode == 2 and b"--overwrite" in refused.stderr
    assert (b"--resume" in refused.stderr) == (command in MAPS)
    assert content_of(output) == before

    # a new interpreter has another seed of string hashes: no byte may hang on the order of a set
    assert megastyle(*arguments, "--overwrite", fresh=True).returncode == 0
    assert content_of(output) == before


@pytest.mark.parametrize("command", STREAMING)
def test_a_dry_run_speaks_and_writes_nothing(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    ended = megastyle(command, *cases[command].arguments, "-o", output_of(command, tmp_path), "-n")

    assert ended.returncode == 0 and ended.stdout == b""
    *plan, last = ended.stderr.decode().splitlines()
    assert f"{command}: plan" in plan and last == "Nothing was loaded or written."
    words = " ".join(" ".join(plan).split())  # long lines are wrapped
    assert " input " in words and ": 8 " in words
    assert any(line.startswith("  output ") and str(tmp_path) in line for line in plan)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", STREAMING)
def test_named_inputs_leave_stdin_alone_and_quiet_is_quiet(
    cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    # stdin is a pipe that nobody closes: reading it would hang
    arguments = (command, *cases[command].arguments, "-o", output_of(command, tmp_path), "-q")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = fork_server.start(*arguments, **pipes)

    assert started.wait(120) == 0
    assert started.communicate() == (b"", b"")


@pytest.mark.parametrize("command", STREAMING)
def test_records_on_stdin_and_limit_and_stats(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    case = cases[command]
    good = case.input / "metadata.jsonl" if case.input.is_dir() else case.input
    stats, output = tmp_path / "stats.json", output_of(command, tmp_path)

    ended = megastyle(
        *(command, *case.flags, "-o", output, "--limit", 5, "--stats", stats),
        stdin=good.read_bytes(),
        cwd=good.parent,
    )

    assert ended.returncode == 0, ended.stderr.decode()
    counts = lines(stats.read_bytes().replace(b"\n", b""))[0]
    assert (counts["in"], counts["failed"]) == (5, 0) and counts["seconds"] > 0


@pytest.mark.parametrize("command", MAPS)
def test_batch_size_changes_nothing(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    made = []
    for size in (1, 8):
        (tmp_path / str(size)).mkdir()
        output = output_of(command, tmp_path / str(size))
        megastyle(command, *cases[command].arguments, "-o", output, "--batch-size", size)
        made.append(content_of(output))

    assert made[0] == made[1]


@pytest.mark.parametrize("command", MAPS)
def test_shards_together_are_the_whole(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    whole, parts = output_of(command, tmp_path), tmp_path / "parts"
    megastyle(command, *cases[command].arguments, "-o", whole)
    for index in range(3):
        shard = ("--shard", f"{index}/3", "-o", parts)
        assert megastyle(command, *cases[command].arguments, *shard).returncode == 0

    found: list[dict[str, Any]] = []
    for index in range(3):
        part = parts / f"part-{index:05}-of-00003"
        found += lines(
            part / "metadata.jsonl" if command in FOLDERS else part.with_suffix(".jsonl")
        )
    ids = [record["id"] for record in lines(listing_of(command, whole))]
    assert sorted(record["id"] for record in found) == sorted(ids)

    refused = megastyle(command, *cases[command].arguments, "--shard", "0/2", "-o", parts)
    assert refused.returncode == 2 and b"parts of 3" in refused.stderr


@pytest.mark.parametrize("command", MAPS)
def test_killed_and_resumed_gives_the_same_bytes(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    for name in ("whole", "killed"):  # equally deep, since names are relative to the output
        (tmp_path / name).mkdir()
    whole, killed = (output_of(command, tmp_path / name) for name in ("whole", "killed"))
    arguments = (*cases[command].arguments, "--batch-size", 1)
    megastyle(command, *arguments, "-o", whole)

    kill_after_a_line(command, arguments, killed, signal.SIGKILL)
    resumed = megastyle(command, *arguments, "-o", killed, "--resume")

    assert resumed.returncode == 0, resumed.stderr.decode()
    assert content_of(killed) == content_of(whole)


def kill_after_a_line(
    command: str, arguments: tuple[object, ...], output: Path, number: signal.Signals
) -> int:
    """Starts a command, signals it once its unfinished output holds a line; its exit code."""
    partial = listing_of(command, output)
    partial = partial.with_name(f"{partial.name}.partial")
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    started = fork_server.start(command, *arguments, "-o", output, **streams)
    while started.poll() is None and not (partial.exists() and partial.stat().st_size):
        time.sleep(0.002)
    started.send_signal(number)
    started.communicate()
    return started.returncode


@pytest.mark.parametrize("command", MAPS)
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_stop_signals_leave_a_partial_file_that_can_be_resumed(
    megastyle: Runner,
    cases: dict[str, Case],
    tmp_path: Path,
    command: str,
    number: signal.Signals,
    code: int,
) -> None:
    many = repeat_input(cases[command], tmp_path)
    arguments = (many, *cases[command].flags, "--batch-size", 1)
    output = output_of(command, tmp_path)

    assert kill_after_a_line(command, arguments, output, number) == code
    assert not listing_of(command, output).exists()

    resumed = megastyle(command, *arguments, "-o", output, "--resume")
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert [r["id"] for r in lines(listing_of(command, output))] == [r["id"] for r in lines(many)]


def repeat_input(case: Case, folder: Path) -> Path:
    """Enough records that a signal always finds the command at work."""
    source = case.input / "metadata.jsonl" if case.input.is_dir() else case.input
    keys = ("file_name", "style_file_name", "content_file_name")
    records = [
        {k: str(source.parent / v) if k in keys else v for k, v in record.items()}
        | {"id": f"{record['id']}-{turn}"}
        for turn in range(4)
        for record in lines(source)
    ]
    return jsonl(folder / "many.jsonl", records)


@pytest.mark.parametrize("command", BARRIERS)
def test_a_stopped_barrier_leaves_what_stood_there(
    cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("before")
    arguments = (command, "-", *cases[command].flags, "-o", output, "--overwrite", "-v")
    # stdin stays open, so that the signal finds it reading
    started = fork_server.start(*arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stderr is not None
    while b"reads its input" not in started.stderr.readline():
        assert started.poll() is None
    started.send_signal(signal.SIGTERM)
    _, words = started.communicate()

    assert started.returncode == 75, words.decode()
    assert output.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_resume_with_other_options_is_refused_and_names_them(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    megastyle("caption", cases["caption"].input, "--kind", "style", "-o", out)

    ended = megastyle(
        "caption",
        cases["caption"].input,
        "--schema",
        "v1",
        "--kind",
        "style",
        "-o",
        out,
        "--resume",
    )

    assert ended.returncode == 2
    assert b"schema was 'v2' and is 'v1'" in ended.stderr and b"--force" in ended.stderr


@pytest.mark.parametrize("command", FILTERS)
def test_a_full_disk_is_one_sentence_and_exit_1(cases: dict[str, Case], command: str) -> None:
    with Path("/dev/full").open("wb") as full:
        arguments = (command, *cases[command].arguments, "-q")
        started = fork_server.start(*arguments, stdout=full.fileno(), stderr=subprocess.PIPE)
        _, words = started.communicate()

    assert started.returncode == 1
    assert words.decode().startswith("error: standard output: no space left on device\n")
    assert b"Make room" in words and words.count(b"\n") == 2


def test_a_disk_that_fills_while_pictures_are_made_loses_nothing(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path
) -> None:
    command = ("synth", *cases["synth"].arguments, "-o", tmp_path / "out")
    command += ("--size", 400, "--batch-size", 1)

    ended = megastyle(*command, max_file_kib=60)
    check_no_traceback(ended)
    assert ended.returncode == 1 and b"error: " in ended.stderr

    resumed = megastyle(*command, "--resume")
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert len(lines(tmp_path / "out" / "metadata.jsonl")) == 8
    assert not list((tmp_path / "out").rglob("*.tmp"))


@pytest.mark.parametrize("command", STREAMING)
def test_usage_errors_are_exit_2_with_a_hint(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path, command: str
) -> None:
    output = ("-o", output_of(command, tmp_path))
    flags = cases[command].flags
    for arguments, word in [
        ((tmp_path / "missing.jsonl", *flags, *output), b"does not exist"),
        ((*cases[command].arguments, *output, "--no-such-flag"), b"--no-such-flag"),
        ((*cases[command].arguments, *output, "--max-errors", "many"), b"--max-errors"),
        (("-", "-", *flags, *output), b"only once"),
    ]:
        ended = megastyle(command, *arguments)
        assert ended.returncode == 2, (arguments, ended.stderr.decode())
        assert word in ended.stderr
        assert ended.stdout == b""
        check_no_traceback(ended)


def test_an_unknown_command_suggests_the_nearest(megastyle: Runner) -> None:
    ended = megastyle("dedupe")

    assert ended.returncode == 2 and b"dedup" in ended.stderr


def test_no_command_prints_help_and_exits_2(megastyle: Runner) -> None:
    ended = megastyle()

    assert ended.returncode == 2
    assert b"caption" in ended.stdout + ended.stderr


def test_version(megastyle: Runner) -> None:
    from megastyle_cli import __version__

    assert megastyle("--version").stdout.decode() == f"megastyle {__version__}\n"


def test_a_flag_means_the_same_on_every_command() -> None:
    from megastyle_cli.app import build

    seen: dict[str, tuple[str, str]] = {}
    built = build("completion").built
    for name in COMMANDS:
        for parameter in built[name].parameters:
            own = name in parameter.option.help_in or parameter.field in OWN_HELP
            for spelling in () if own else parameter.names:
                first, text = seen.setdefault(spelling, (name, parameter.help))
                assert parameter.help == text, f"{spelling} differs on {first} and {name}"


# these say what they do on their own command, in the same sense
OWN_HELP = {
    *("output", "size", "on", "model", "backend", "device", "dtype", "steps", "preset", "lora"),
    *("guidance", "offload", "init", "global_batch", "chunk", "lr", "optimizer", "schedule"),
    *("validate_every", "export_dtype", "resume", "limit", "content_label", "per_style"),
    *("split_key", "text_model"),
}


def test_eval_scores_in_shards_and_folds_the_parts(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path
) -> None:
    scored = cases["eval"].input
    for index in range(2):
        part = ("--each", "--shard", f"{index}/2", "-o", tmp_path / "scores")
        assert megastyle("eval", scored, *part).returncode == 0

    folded = lines(megastyle("eval", tmp_path / "scores").stdout)[0]
    at_once = lines(megastyle("eval", scored).stdout)[0]

    for measure in ("n", "style_score", "recall_1", "map_csd_10", "map_10"):
        assert folded[measure] == at_once[measure]


def test_accelerate_launches_the_same_program(tmp_path: Path) -> None:
    from megastyle_cli import __version__

    launcher = Path(sys.executable).with_name("accelerate")
    command = [
        launcher,
        "launch",
        "--cpu",
        "--num_processes",
        "1",
        "-m",
        "megastyle_cli",
        "--version",
    ]

    ended = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr.decode()
    assert f"megastyle {__version__}" in ended.stdout.decode()


def test_rejected_records_need_a_file_of_their_own(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path
) -> None:
    same = tmp_path / "same.jsonl"

    for name in (same, "-"):
        ended = megastyle("dedup", cases["dedup"].input, "-o", same, "--rejected", name)
        assert ended.returncode == 2 and b"is an output already" in ended.stderr
    assert not same.exists()


def test_a_wrong_backend_leaves_the_old_output(
    megastyle: Runner, cases: dict[str, Case], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("before")

    ended = megastyle(
        "caption", cases["caption"].input, "-o", out, "--overwrite", "--backend", "no"
    )

    assert ended.returncode == 2 and b"Choose one of: builtin" in ended.stderr
    assert out.read_text() == "before"
