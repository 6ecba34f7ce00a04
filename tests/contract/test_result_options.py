"""Every option and side input that can change a result is part of what identifies a run.

So `--resume` refuses to mix results of different options, indexes, references, contents or weights.
The walk is over the declarations (core/option.py): an option without a case here fails.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from megastyle_cli.app import COMMANDS, build
from megastyle_cli.core.option import Option, declared_options
from megastyle_cli.runner.job import Job
from tests.conftest import draw, jsonl

RECORDS = [{"id": f"r{n}", "style": f"ink {n}", "content": f"fox {n}", "row": n} for n in range(3)]
# Per command the arguments of some runs; `{}` is a folder of inputs. The first is a builtin run.
RUNS: dict[str, dict[str, str]] = {
    "caption": {
        "builtin": "{}/imgs",
        "model": "{}/imgs --model {}/weights",
    },
    "dedup": {"builtin": "{}/records.jsonl"},
    "cluster": {"builtin": "{}/records.jsonl"},
    "pair": {"builtin": "{}/records.jsonl --contents {}/records.jsonl"},
    "synth": {
        "builtin": "{}/records.jsonl -o {}/out",
        "model": "{}/records.jsonl -o {}/out --model {}/weights",
        "jpg": "{}/records.jsonl -o {}/out --picture-format jpg",
        "tar": "{}/records.jsonl -o {}/out --format webdataset",
        "nsfw": "{}/records.jsonl -o {}/out --nsfw open_nsfw",
        "score": "{}/records.jsonl -o {}/out --min-style-score 0.5",
        "lora": "{}/records.jsonl -o {}/out --model {}/weights --lora {}/a.safetensors",
    },
    "retrieve": {"builtin": "{}/imgs --index {}/imgs"},
    "transfer": {
        "builtin": "{}/imgs --style {}/imgs/0.png --style {}/imgs/1.png -o {}/out",
        "model": "{}/imgs --style {}/imgs/0.png -o {}/out --model {}/weights",
        "jpg": "{}/imgs --style {}/imgs/0.png -o {}/out --picture-format jpg",
        "tar": "{}/imgs --style {}/imgs/0.png -o {}/out --format webdataset",
        "lora": "{}/imgs -o {}/out --model {}/weights --lora {}/a.safetensors",
    },
    "eval": {
        "builtin": "{}/records.jsonl --each -o {}/scores.jsonl",
        "summary": "{}/imgs",
        "references": "{}/imgs --reference {}/imgs",
        "text": "{}/imgs --text-model {}/weights",
        "make": "{}/imgs --make-benchmark {}/bench",
        "designs": "{}/imgs --make-benchmark {}/bench --group design",
        "bias": "{}/imgs --bias --control watercolor --text-model {}/weights",
        "kept": "{}/imgs --originals {}/imgs",
    },
}
# (command, option): the run that it changes, and how; {} is the folder of inputs. Options that are
# not here change the builtin run, by another value of their type.
CASES: dict[tuple[str, str], tuple[str, str]] = {
    ("caption", "backend"): ("builtin", "--backend transformers --model {}/weights"),
    ("caption", "model"): ("model", "--model {}/others"),
    ("caption", "per_attribute"): ("model", "--per-attribute"),
    ("caption", "attempts"): ("model", "--attempts 5"),
    ("caption", "judge"): ("model", "--judge"),
    ("caption", "max_side"): ("model", "--max-side 64"),
    ("dedup", "on"): ("builtin", "--on content --preset styles"),
    ("dedup", "exact_text"): ("builtin", "--exact-text raw"),
    ("dedup", "embedder"): ("builtin", "--embedder verified"),
    ("dedup", "preset"): ("builtin", "--preset contents"),
    ("dedup", "backend"): ("builtin", "--backend sentence-transformers --model {}/weights"),
    ("dedup", "model"): ("builtin", "--model {}/weights"),
    ("cluster", "on"): ("builtin", "--on content"),
    ("cluster", "levels"): ("builtin", "--levels 2"),
    ("cluster", "sample"): ("builtin", "--sample 2"),
    ("cluster", "vectors_from"): ("builtin", "--vectors-from {}/rows.npy"),
    ("cluster", "backend"): ("builtin", "--backend sentence-transformers"),
    ("cluster", "model"): ("builtin", "--model {}/weights"),
    ("synth", "backend"): ("builtin", "--backend a.module:Painter"),
    ("synth", "model"): ("model", "--model {}/others"),
    ("synth", "size"): ("builtin", "--size 64"),
    ("synth", "preset"): ("lora", "--preset lightning"),
    ("synth", "lora"): ("lora", "--lora {}/b.safetensors"),
    ("synth", "lora_strength"): ("model", "--lora-strength 0.5"),
    ("synth", "steps"): ("model", "--steps 5"),
    ("synth", "guidance"): ("model", "--guidance 2"),
    ("synth", "negative"): ("model", "--negative fog"),
    ("synth", "quantize"): ("model", "--quantize int8"),
    ("synth", "nsfw"): ("builtin", "--nsfw open_nsfw"),
    ("synth", "max_nsfw"): ("nsfw", "--max-nsfw 0.1"),
    ("synth", "min_style_score"): ("builtin", "--min-style-score 0"),
    ("synth", "style_against"): ("score", "--style-against reference"),
    ("synth", "style_model"): ("score", "--style-model {}/weights"),
    ("synth", "quality"): ("jpg", "--quality 50"),
    ("synth", "shard_size"): ("tar", "--shard-size 7"),
    ("retrieve", "index"): ("builtin", "--index {}/one"),
    ("retrieve", "prototype_by"): ("builtin", "--prototype-by style_id"),
    ("retrieve", "text_key"): ("builtin", "--text-key style"),
    ("retrieve", "backend"): ("builtin", "--backend edges"),
    ("retrieve", "model"): ("builtin", "--model {}/weights"),
    ("transfer", "style"): ("builtin", "--style {}/imgs/2.png"),
    ("transfer", "weight"): ("builtin", "--weight 3 --weight 1"),
    ("transfer", "size"): ("builtin", "--size 64"),
    ("transfer", "backend"): ("builtin", "--backend a.module:Stylist"),
    ("transfer", "model"): ("model", "--model {}/others"),
    ("transfer", "lora"): ("lora", "--lora {}/b.safetensors"),
    ("transfer", "lora_strength"): ("model", "--lora-strength 0.5"),
    ("transfer", "steps"): ("model", "--steps 5"),
    ("transfer", "guidance"): ("model", "--guidance 2"),
    ("transfer", "content_strength"): ("model", "--content-strength 0.5"),
    ("transfer", "keep_aspect"): ("model", "--keep-aspect"),
    ("transfer", "quantize"): ("model", "--quantize int8"),
    ("transfer", "preset"): ("model", "--preset fast-cache"),
    ("transfer", "quality"): ("jpg", "--quality 50"),
    ("transfer", "shard_size"): ("tar", "--shard-size 7"),
    ("eval", "reference"): ("builtin", "--reference {}/one"),
    ("eval", "pair_by"): ("references", "--pair-by stem"),
    ("eval", "others"): ("references", "--others {}/one"),
    ("eval", "each"): ("summary", "--each"),
    ("eval", "text_model"): ("builtin", "--text-model {}/weights"),
    ("eval", "prompt_key"): ("text", "--prompt-key style"),
    ("eval", "diversity"): ("summary", "--diversity"),
    ("eval", "label"): ("summary", "--label style"),
    ("eval", "content_label"): ("summary", "--content-label content"),
    ("eval", "ranks"): ("summary", "--ranks 1,5"),
    ("eval", "make_benchmark"): ("summary", "--make-benchmark {}/bench"),
    ("eval", "styles"): ("make", "--styles 7"),
    ("eval", "per_style"): ("make", "--per-style 3"),
    ("eval", "queries"): ("make", "--queries 3"),
    ("eval", "group"): ("make", "--group design"),
    ("eval", "one_per_group"): ("designs", "--one-per-group"),
    ("eval", "shared_contents"): ("make", "--shared-contents"),
    ("eval", "where"): ("make", "--where license=MIT"),
    ("eval", "split_key"): ("make", "--split-key split"),
    ("eval", "bias"): ("text", "--bias --control etching"),
    ("eval", "control"): ("bias", "--control etching"),
    ("eval", "nouns"): ("bias", "--nouns {}/nouns.txt"),
    ("eval", "floor"): ("bias", "--floor {}/one"),
    ("eval", "originals"): ("summary", "--originals {}/one"),
    ("eval", "frequency_key"): ("kept", "--frequency-key count"),
    ("eval", "protocol"): ("summary", "--protocol gap"),
    ("eval", "seed"): ("summary", "--seed 1"),
    ("eval", "backend"): ("builtin", "--backend edges"),
    ("eval", "model"): ("builtin", "--model {}/weights"),
}
# Options that change no result by themselves, or in whose place another option is recorded.
ELSEWHERE = {
    ("eval", "benchmark"),  # by its own hash: tests/commands/test_eval.py
    *(("eval", "system"), ("eval", "tier")),  # tests/benchmark/test_score_systems.py
    # a page for voters has a hash of its own: tests/preference
    *(("eval", "make_preference"), ("eval", "comparisons"), ("eval", "preference")),
}
RESUMABLE = ("caption", "synth", "retrieve", "transfer", "eval")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, records, and weights of two models that nothing loads."""
    import numpy as np

    base = tmp_path_factory.mktemp("inputs")
    for name, seeds in (("imgs", range(3)), ("one", range(5, 6))):
        (base / name).mkdir()
        for seed in seeds:
            draw(seed).save(base / name / f"{seed}.png")
    images = sorted((base / "imgs").iterdir())
    pairs = [
        {
            **record,
            "style_id": "s",
            **dict.fromkeys(("file_name", "style_file_name", "content_file_name"), str(path)),
        }
        for record, path in zip(RECORDS, images, strict=True)
    ]
    jsonl(base / "records.jsonl", pairs)
    for name in ("weights", "others"):
        (base / name).mkdir()
        (base / name / "model.safetensors").write_text(name)
    for name in "ab":
        (base / f"{name}.safetensors").write_text(name)
    (base / "nouns.txt").write_text("kimono")
    np.save(base / "rows.npy", np.eye(3, dtype=np.float32))
    return base


def options_of(command: str) -> Iterator[tuple[str, Any, Any, Option]]:
    """Name, type, default and declaration of each option of a command."""
    main = import_module(f"megastyle_cli.commands.{command}").main
    for group in get_type_hints(main).values():
        if is_dataclass(group):
            types = get_type_hints(group)
            for field, declared in declared_options(group):
                yield field.name, types[field.name], field.default, declared


ALL = [
    (command, name, kind, default, declared)
    for command in RUNS
    for name, kind, default, declared in options_of(command)
]
CHANGING = [(*case[:4], case[4]) for case in ALL if case[4].changes_results != "no"]
Case = tuple[str, str, Any, Any, Option]


def name_of(case: object) -> str:
    return str(case) if isinstance(case, str) else ""


def another_value(name: str, kind: Any, default: Any, declared: Option) -> str:
    """The option with a value of its type that is not its default."""
    flag = next((flag for flag in declared.flags if flag.startswith("--")), f"--{name}")
    flag = flag.replace("_", "-")
    if kind is bool:
        return f"--no-{name.replace('_', '-')}" if default else flag
    choices = [
        choice
        for kind in (kind, *get_args(kind))
        if get_origin(kind) is Literal
        for choice in get_args(kind)
    ]
    if choices:
        return f"{flag} {next(choice for choice in choices if choice != default)}"
    if default is None and {int, float}.intersection(get_args(kind)):
        default = declared.min or 0
    assert isinstance(default, int | float), f"--{name} needs a case"
    value = default + 1 if declared.max is None or default + 1 <= declared.max else default / 2
    return f"{flag} {value}"


def arguments(text: str, folder: Path) -> list[str]:
    return text.replace("{}", str(folder)).split()


@pytest.fixture
def run_key(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """The key that a run with these words has, taken from the job that shows its plan."""
    keys: list[str] = []
    show_plan = Job.show_plan

    def shown(job: Job, **details: str) -> int:
        keys.append(job.run.key)
        return show_plan(job, **details)

    monkeypatch.setattr(Job, "show_plan", shown)

    def key(command: str, words: Sequence[str]) -> str:
        code = build(command).run([command, *words, "--dry-run"])
        assert code == 0, capsys.readouterr().err
        return keys[-1]

    return key


def test_the_walk_is_over_every_command_that_writes_records() -> None:
    assert {*RUNS, "train-encoder", "train-flux"} == set(COMMANDS)


@pytest.mark.parametrize(("command", "name", "kind", "default", "declared"), CHANGING, ids=name_of)
def test_an_option_that_changes_results_changes_the_run_key(
    command: str,
    name: str,
    kind: Any,
    default: Any,
    declared: Option,
    folder: Path,
    run_key: Callable[..., str],
) -> None:
    if (command, name) in ELSEWHERE:
        return
    run, words = CASES.get((command, name), ("builtin", ""))
    before = arguments(RUNS[command][run], folder)
    words = words or another_value(name, kind, default, declared)

    assert run_key(command, [*before, *arguments(words, folder)]) != run_key(command, before)


@pytest.mark.parametrize("command", RUNS)
def test_options_that_say_they_change_nothing_leave_the_run_key(
    command: str, folder: Path, run_key: Callable[..., str]
) -> None:
    before = arguments(RUNS[command]["builtin"], folder)
    key = run_key(command, before)
    skipped = {
        "show_instructions",
        "dry_run",
        "shard",
        "shard_offset",
        "device",
        "engine",
        "resume",
        "prototype",
        "prune",
    }

    for name, kind, default, declared in options_of(command):
        is_simple = kind is bool or isinstance(default, int | float)
        if declared.is_counter or (command in ("synth", "transfer") and name == "compile"):
            continue  # refused without a model
        if declared.changes_results == "no" and is_simple and name not in skipped:
            words = another_value(name, kind, default, declared).split()
            assert run_key(command, [*before, *words]) == key, name


@pytest.mark.parametrize("command", RESUMABLE)
def test_resume_refuses_every_changed_option_and_side_input(
    command: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(*words: str) -> int:
        code: int = build(command).run([command, *words, "-q"])
        return code

    out = tmp_path / ("out" if command in ("synth", "transfer") else "out.jsonl")
    before = [*arguments(RUNS[command]["builtin"], folder), "-o", str(out)]
    assert ended(*before) == 0, capsys.readouterr().err
    listing = out / "metadata.jsonl" if out.is_dir() else out
    content = listing.read_bytes()

    for _, name, kind, default, declared in (case for case in CHANGING if case[0] == command):
        run, words = CASES.get((command, name), ("builtin", ""))
        never_resumed = name in ("prototype", "prototype_by") or (command, name) in ELSEWHERE
        if run == "builtin" and not never_resumed:
            changed = arguments(words or another_value(name, kind, default, declared), folder)
            assert ended(*before, *changed, "--resume") == 2, name
            assert "was made with other options" in capsys.readouterr().err, name
            assert listing.read_bytes() == content
    assert ended(*before, "--resume") == 0
