"""Names in lines are renamed as those of parsed records are."""

from pathlib import Path

import pytest

from megastyle_cli.core.record import rename_pictures
from megastyle_cli.io.raw_jsonl.objects import find_members
from megastyle_cli.io.raw_jsonl.renamed import rename_in_lines
from megastyle_cli.io.readers.jsonl import dump_line, load_line
from megastyle_cli.io.record_names import from_folder, to_folder

NAMES = ["a.png", "a/b.png", "a/c.png", "a//d.png", "../e.png", "b/a/b.png", "https://x.org/a.png"]
NAMES += ["/abs/f.png", "./g.png", "\u00e9/\u6c34.png", "x.tar#a/h.png", "a/i.png"]
LINES = [
    *(dump_line({"id": name, "file_name": name, "n": [1]}) for name in NAMES),
    b'{"id":"a"}\n',
    b"no record\n",
    dump_line(
        {"style_file_name": "a/s.png", "id": "a", "content_file_name": "b/c.png", "x": "a/b"}
    ),
    b'{"id":"a","file_name":null,"target_file_name":"a/t.png"}\n',
]


@pytest.mark.parametrize("folder", ["", ".", "a", "a/b", "/abs", "../up", "\u00e9", "new/folder"])
@pytest.mark.parametrize("kind", [from_folder, lambda folder: to_folder(Path(folder))])
def test_names_in_lines_are_renamed_as_in_records(folder: str, kind) -> None:
    rename = kind(folder)

    found = rename_in_lines(find_members(b"".join(LINES)), rename)

    expected = [
        dump_line(rename_pictures(load_line(line), rename)) for line in LINES if line[:1] == b"{"
    ]
    assert [line for line in found.lines if line] == expected
    again = find_members(found.lines.data.tobytes())
    assert found.members.tolist() == again.members.tolist()
    assert [i for i in found.ids() if i] == again.ids()
    assert found.is_plain.sum() == len(expected)


@pytest.mark.parametrize("folder", ["\udcff", 'a"b', "a\\b"])
def test_a_block_with_a_name_to_escape_has_no_plain_lines(folder: str) -> None:
    found = rename_in_lines(find_members(b"".join(LINES)), from_folder(folder))

    assert not found.is_plain.any()
