"""Words of other tools lead to what stands for them here; typing errors to the nearest word."""

import pytest

from megastyle_cli.app import COMMANDS, TOOLS, build
from megastyle_cli.cli.suggestions import (
    COMMAND_WORDS,
    OPTION_WORDS,
    command_hint,
    option_hint,
)

BUILT = build("completion").built
NAMES = [*COMMANDS, *TOOLS, "--version"]


def hint(command: str, flag: str) -> str:
    known = [flag for parameter in BUILT[command].parameters for flag in parameter.spellings]
    return option_hint(flag, known, command)


@pytest.mark.parametrize(
    ("command", "flag", "part"),
    [
        ("caption", "--out", "--output?"),
        ("dedup", "--json", "JSON lines need no option"),
        ("caption", "-j", "--concurrency"),
        ("dedup", "--threads", "--workers"),
        ("transfer", "--gpu", "--device cuda?"),
        ("synth", "-i", "megastyle synth INPUT..."),
        ("synth", "--recursive", "sub-folders"),
        ("pair", "--force", "--overwrite"),
        ("retrieve", "-k", "--top"),
        ("cluster", "-k", "--levels"),
        ("cluster", "--num-samples", "--sample"),
        ("dedup", "--threshold", "--near-threshold or --semantic-threshold"),
        ("dedup", "--keep-longest", "--keep longest"),
        ("caption", "--only-failed", "--resume"),
        ("transfer", "--low-vram", "--offload model or --quantize int8"),
        ("train-flux", "--memory", "--quantize int8 or --recompute all"),
        ("train-encoder", "--max-vram", "--recompute all or --chunk"),
        ("synth", "--version", "megastyle --version"),
        ("caption", "-k", "--limit"),
        ("synth", "--num-inference-steps", "--steps"),
        ("transfer", "--outptu", "--output"),
        ("transfer", "--batch_size", "--batch-size"),
        ("dedup", "--over", "--overwrite"),
        ("dedup", "-near", "--near"),
        ("dedup", "--column", "--on"),
        ("synth", "--negative_prompt", "--negative"),
        ("train-encoder", "--checkpoint", "--init"),
        ("train-flux", "--gradient-checkpointing", "--recompute"),
    ],
)
def test_an_option_is_suggested_by_meaning_or_by_letters(
    command: str, flag: str, part: str
) -> None:
    assert part in hint(command, flag)


def test_nothing_is_suggested_that_is_only_a_little_alike() -> None:
    assert "--version" not in option_hint("--json", ["--version"], "x")
    assert hint("caption", "--nonsense") == ""


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("embed", "retrieve"),
        ("search", "retrieve"),
        ("train", "train-encoder or train-flux"),
        ("render", "synth"),
        ("generate", "synth"),
        ("stylize", "transfer"),
        ("metrics", "eval"),
        ("Describe", "caption"),
        ("tag", "caption"),
        ("captoin", "caption"),
        ("dedupe", "dedup"),
        ("version", "--version"),
    ],
)
def test_a_command_is_suggested_by_meaning_or_by_letters(word: str, part: str) -> None:
    assert part in command_hint(word, NAMES)


def test_a_file_in_place_of_a_command_suggests_none() -> None:
    assert command_hint("photos/a.jpg", NAMES) == ""


def test_every_flag_of_the_table_exists_and_every_word_stands_once() -> None:
    flags = {f for c in BUILT.values() for p in c.parameters for f in p.spellings} | {"--help"}
    meanings = [each for _, meant in OPTION_WORDS for each in meant if each.startswith("--")]
    meant = {word for each in meanings for word in each.split() if word.startswith("--")}

    assert meant <= flags
    words = [word for row, _ in OPTION_WORDS for word in row.split()]
    assert {word for word in words if words.count(word) > 1} == set()


def test_every_command_of_the_table_exists() -> None:
    meant = {name for _, names in COMMAND_WORDS for name in names}

    assert meant - {"doctor"} <= set(NAMES)
