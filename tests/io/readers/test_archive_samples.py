"""Samples of an archive: webdataset's keys, file names with dots, and the records they make."""

from pathlib import Path

import pytest

from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.readers.archive_samples import ArchiveSamples, sample_members, suffix_of


def records(members: dict[str, bytes]) -> list[Record | Failure]:
    """The records of an archive with these members."""
    return [*ArchiveSamples(Path("in/x.zip"), lambda _, name: members[name]).records(members)]


@pytest.mark.parametrize(
    ("names", "samples"),
    [
        ("a.jpg a.json b.jpg b.txt", {"a": "jpg json", "b": "jpg txt"}),
        ("d/a.depth.jpg d/a.png d/a.txt", {"d/a": "depth.jpg png txt"}),
        ("a.rgb.jpg a.depth.png", {"a": "rgb.jpg depth.png"}),  # nothing shares a longer stem
        ("v1.0.JPG v1.0.json v1.1.jpg v1.1.txt", {"v1.0": "jpg json", "v1.1": "jpg txt"}),
        ("x.org_a.b.jpg x.org_a.b.json", {"x.org_a.b": "jpg json"}),
        ("v1.0.jpg v1.0.json v1.1.jpg", {"v1.0": "jpg json", "v1.1": "jpg"}),
        ("a.seg.png a.seg.txt a.jpg a.json a.npy", {"a.seg": "png txt", "a": "jpg json npy"}),
        ("v.1/a.jpg v.1/a.txt README .hidden.jpg", {"v.1/a": "jpg txt"}),
    ],
)
def test_a_picture_and_its_text_share_the_longest_stem(names: str, samples: dict[str, str]) -> None:
    found = {
        key: " ".join(suffix_of(key, name) for name in members)
        for key, members in sample_members(names.split())
    }

    assert found == samples


def test_a_class_and_a_caption_are_read_and_a_byte_order_mark_is_not() -> None:
    first, second = records(
        {
            **{"1.jpg": b"", "1.cls": b"7\n", "1.caption": b"a b"},
            **{"2.jpg": b"", "2.cls": b"frog", "2.txt": "\ufeffa frog".encode()},
        }
    )

    assert not isinstance(first, Failure) and (first["cls"], first["text"]) == (7, "a b")
    assert not isinstance(second, Failure) and (second["cls"], second["text"]) == ("frog", "a frog")


def test_members_of_kinds_that_are_not_read_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    members = {f"{n}.{kind}": b"" for n in range(3) for kind in ("png", "npy")}

    assert len(records(members)) == 3
    assert "in/x.zip: skipped members: 3 .npy" in caplog.text
