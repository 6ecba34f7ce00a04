"""One word has one meaning, and identifiers use the terms of the field."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.contract.tree import files_of_tests, module_name, nodes, sources

# Stems that several packages use on purpose, always in the same sense.
SHARED_STEMS = {
    "config",  # the settings of a stage or of a trainer
    "options",  # the command-line options of a stage
    "console",  # results as text for a terminal
    *("trainer", "memory_cost", "preflight"),  # the encoder's and FLUX's
    *("parquet", "webdataset"),  # a reader and a writer
}
SHARED_CLASSES: set[str] = set()
# Repeats that still wait for a better name. Shorten these lists, never add to them.
REPEATED_STEMS: set[str] = set()
REPEATED_CLASSES: set[str] = set()


def repeated(names: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The names that more than one module has, with these modules."""
    modules = defaultdict(list)
    for name, module in names:
        modules[name].append(module)
    return {name: found for name, found in modules.items() if len(found) > 1}


def public_classes(path: Path) -> list[str]:
    names = [node.name for node in nodes(path) if isinstance(node, ast.ClassDef)]
    return [name for name in names if not name.startswith("_")]


def is_command_and_its_stage(modules: list[str]) -> bool:
    """Whether a command has the name of the function that it calls, as in `commands.pair`."""
    return len(modules) == 2 and any(module.startswith("commands.") for module in modules)


def test_a_file_stem_is_used_once() -> None:
    found = repeated((path.stem, module_name(path)) for path in sources())

    twice = {
        stem: modules
        for stem, modules in found.items()
        if stem not in SHARED_STEMS and not is_command_and_its_stage(modules)
    }
    assert set(twice) == REPEATED_STEMS, twice


def test_a_public_class_name_is_used_once() -> None:
    found = repeated(
        (name, module_name(path)) for path in sources() for name in public_classes(path)
    )

    twice = {name: modules for name, modules in found.items() if name not in SHARED_CLASSES}
    assert set(twice) == REPEATED_CLASSES, twice


def test_every_shared_name_is_still_shared() -> None:
    stems = repeated((path.stem, module_name(path)) for path in sources())
    classes = repeated(
        (name, module_name(path)) for path in sources() for name in public_classes(path)
    )

    assert set(stems) >= SHARED_STEMS and set(classes) >= SHARED_CLASSES


# Words of the former private vocabulary, each with the number of identifiers in sources and in
# tests that still have it. Lower these numbers, never raise them.
FORMER_WORDS = {
    "akin": (0, 0),
    "lacking": (0, 0),
    "looks": (0, 0),
    "meet": (0, 0),
    "refuse": (0, 6),
    "rung": (0, 0),
    "said": (0, 10),
    "settle": (0, 0),
    "shelf": (0, 0),
    "told": (9, 129),
}


@cache
def identifiers(list_files: Callable[[], list[Path]]) -> Counter[str]:
    """How often files bind or use each name, the names of tests left out."""
    return Counter(
        name
        for path in list_files()
        for node in nodes(path)
        for field in ("id", "attr", "arg", "name")
        if isinstance(name := getattr(node, field, None), str) and not name.startswith("test_")
    )


def words(identifier: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return [word.lower() for word in re.findall("[A-Z]?[a-z]+", identifier)]


@pytest.mark.parametrize("word", FORMER_WORDS)
def test_the_former_vocabulary_fades_from_identifiers(word: str) -> None:
    for files, allowed in zip((sources, files_of_tests), FORMER_WORDS[word], strict=True):
        found = {n: count for n, count in identifiers(files).items() if word in words(n)}
        assert sum(found.values()) <= allowed, found
