"""Processes of a launcher share the images of one command, whose output is that of one process."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands.trainings import start_ranks
from tests.conftest import Runner, draw, jsonl, lines

COUNT = 40  # images
VECTORS = "vectors.f32"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images with styles, contents and references, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("gallery")
    records = []
    for number in range(COUNT):
        style, content = divmod(number, 10)
        draw(number, 40 + 8 * style, 40).save(folder / f"{number}.png")
        records.append(
            {
                "id": f"r{number}",
                "file_name": f"{number}.png",
                "style_file_name": f"{10 * style + (content + 1) % 10}.png",
                "style_id": f"s{style}",
                "content_id": f"c{content}",
                "style": f"In the style of ink {style}",
            }
        )
    (folder / "33.png").write_bytes(b"no picture")
    jsonl(folder / "metadata.jsonl", records)
    return folder


def ended(ranks: list) -> list[tuple[int, bytes, bytes]]:
    """Exit code, stdout and stderr of each rank."""
    streams = [rank.communicate() for rank in ranks]
    return [(rank.returncode, *both) for rank, both in zip(ranks, streams, strict=True)]


@pytest.mark.parametrize(("world", "flags"), [(2, ["--leakage"]), (4, [])])
def test_a_summary_is_that_of_one_process(
    megastyle: Runner, gallery: Path, world: int, flags: list[str]
) -> None:
    command = ("eval", gallery, *flags, "--max-errors", 3)

    first, *others = ended(start_ranks(command, subprocess.PIPE, world=world))

    alone = megastyle(*command)
    assert alone.returncode == 0 and lines(alone.stdout)[0]["failed"] > 0
    assert first[:2] == (0, alone.stdout), first[2].decode()
    assert others == [(0, b"", b"")] * (world - 1)


def test_the_first_process_shows_the_plan(gallery: Path) -> None:
    for command in (("eval", gallery), ("retrieve", "--index", gallery / "new", "--add", gallery)):
        first, second = ended(start_ranks([*command, "--dry-run"], subprocess.PIPE))

        assert (first[0], second) == (0, (0, b"", b""))
        assert f"{command[0]}: plan" in first[2].decode() and not (gallery / "new").exists()


@pytest.fixture(scope="module")
def names(gallery: Path) -> list[bytes]:
    """The names of the images, as they come on standard input, the damaged one early."""
    paths = sorted(gallery.glob("*.png"))
    return [b"%s\n" % bytes(path) for path in (gallery / "33.png", *paths)]


@pytest.fixture(scope="module")
def index(gallery: Path, names: list[bytes], megastyle: Runner) -> Path:
    """An index of the gallery, by one process."""
    built = megastyle(*adding(gallery.with_name("index")), stdin=b"".join(names))
    assert built.returncode == 0, built.stderr.decode()
    return gallery.with_name("index")


def adding(index: Path) -> tuple[object, ...]:
    flags = ("--paths", "--max-errors", 2, "--batch-size", 4)
    return ("retrieve", "--index", index, "--add", "-", *flags)


def content_of(index: Path) -> dict[str, bytes]:
    return {name: (index / name).read_bytes() for name in ("index.json", "records.jsonl", VECTORS)}


@pytest.mark.parametrize("world", [2, 4])
def test_an_index_is_that_of_one_process(names: list[bytes], index: Path, world: int) -> None:
    shared = index.with_name(f"index-of-{world}")  # beside the other: paths are relative
    ranks = start_ranks(adding(shared), subprocess.PIPE, world=world, stdin=subprocess.PIPE)

    ranks[0].stdin.writelines(names)
    first, *others = ended(ranks)

    assert first[0] == 0, first[2].decode()
    assert others == [(0, b"", b"")] * (world - 1)
    assert content_of(shared) == content_of(index)


def test_queries_of_two_processes_search_what_both_embedded(
    megastyle: Runner, gallery: Path, tmp_path: Path
) -> None:
    command = ("retrieve", gallery, "--index", gallery, "--max-errors", 1, "-o")
    alone, parts = tmp_path / "alone" / "out.jsonl", tmp_path / "parts"
    alone.parent.mkdir()

    ranks = ended(start_ranks([*command, parts], subprocess.PIPE))

    assert [code for code, _, _ in ranks] == [0, 0], ranks
    assert megastyle(*command, alone).returncode == 0
    found = [line for part in parts.glob("part-*-of-00002.jsonl") for line in lines(part)]
    assert sorted(found, key=lambda one: one["id"]) == sorted(lines(alone), key=lambda o: o["id"])


LOST = "error: another process of this run has ended\n       Its own message says why"


@pytest.mark.parametrize("killed", [0, 1, None])
def test_a_killed_process_ends_the_other_and_a_rerun_completes_the_index(
    megastyle: Runner, names: list[bytes], index: Path, killed: int | None
) -> None:
    shared = index.with_name(f"index-killed-{killed}")
    ranks = start_ranks(adding(shared), subprocess.PIPE, stdin=subprocess.PIPE)
    ranks[0].stdin.writelines(names[:3])  # the first process waits for more
    ranks[0].stdin.flush()
    while not (shared / "errors.jsonl.partial").exists():
        assert ranks[0].poll() is None
        time.sleep(0.01)

    for rank in ranks if killed is None else [ranks[killed]]:  # a launcher sends SIGTERM to all
        rank.send_signal(signal.SIGTERM if killed is None else signal.SIGKILL)
    if killed == 1:
        ranks[0].stdin.writelines(names[3:])
    found = ended(ranks)

    if killed is None:
        assert [code for code, _, _ in found] == [75, 75], found
    else:
        code, _, stderr = found[1 - killed]
        assert (code, LOST in stderr.decode()) == (1, True), stderr.decode()
    assert megastyle(*adding(shared), stdin=b"".join(names)).returncode == 0
    assert content_of(shared) == content_of(index)
