"""`eval --make-preference` and `eval --preference` as people call them."""

import pytest

from tests.conftest import jsonl, lines
from tests.preference import made


@pytest.fixture
def systems(tmp_path):
    """The words that name three systems, by their records."""
    words = []
    for name, records in made.systems(tmp_path).items():
        jsonl(tmp_path / f"{name}.jsonl", records)
        words += ["--system", f"{name}={tmp_path / name}.jsonl"]
    return words


@pytest.fixture
def page(megastyle, systems, tmp_path):
    folder = tmp_path / "votes"
    ended = megastyle("eval", "--make-preference", folder, "--comparisons", 60, *systems)
    assert ended.returncode == 0, ended.stderr.decode()
    assert b"60 comparisons, 9 repetitions and controls" in ended.stderr
    return folder


def test_votes_of_reliable_voters_rank_the_systems(megastyle, page, tmp_path):
    key = made.read_key(page)
    files = [
        made.save(
            tmp_path / f"v{n}.json", key, list(made.choices(key, (2, 0, -2), n)), voter=f"v{n}"
        )
        for n in range(3)
    ]

    ended = megastyle("eval", *files, "--preference", page)

    assert ended.returncode == 0, ended.stderr.decode()
    (summary,) = lines(ended.stdout)
    assert summary["voters"] == 3 and summary["page"] == key.page
    rows = summary["questions"]["style"]["systems"]
    assert [row["name"] for row in rows] == ["first", "second", "third"]
    assert rows[0]["rank"] == [1, 1]


def test_a_page_is_replaced_only_on_request(megastyle, page, systems):
    again = ("eval", "--make-preference", page, "--comparisons", 30, *systems)

    assert megastyle(*again).returncode == 2
    assert megastyle(*again, "--overwrite", "-n").returncode == 0
    assert made.read_key(page).systems == ["first", "second", "third"]
    assert len(made.read_key(page).items) == 69  # the plan wrote nothing
    assert megastyle(*again, "--overwrite").returncode == 0
    assert len(made.read_key(page).items) == 35


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--make-preference", "DIR"], "compares the images of several systems"),
        (["--make-preference", "DIR", "--system", "builtin", "--system", "edges"], "encoder"),
        (["a.json", "--preference", "DIR"], "has no key.json"),
    ],
)
def test_what_cannot_be_is_refused(megastyle, tmp_path, words, expected):
    (tmp_path / "a.json").write_text("{}")

    ended = megastyle("eval", *(word.replace("DIR", "new") for word in words), cwd=tmp_path)

    assert ended.returncode == 2 and expected in ended.stderr.decode()


def test_votes_are_files(megastyle, page):
    ended = megastyle("eval", "--preference", page, stdin=b"{}")

    assert ended.returncode == 2 and b"error: votes are read from files" in ended.stderr


def test_files_that_hold_no_votes_are_refused(megastyle, page, tmp_path):
    (tmp_path / "a.json").write_text("{}")

    ended = megastyle("eval", tmp_path / "a.json", "--preference", page)

    assert ended.returncode == 2 and b"a.json holds no votes" in ended.stderr
