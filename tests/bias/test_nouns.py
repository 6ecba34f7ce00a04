"""The list that ships, and lists of users."""

import pytest

from megastyle_cli.bias.nouns import read_nouns
from megastyle_cli.core.errors import MegastyleError


def test_the_list_that_ships_names_things_and_no_styles():
    nouns = read_nouns()

    assert len(nouns) > 200 and "kimono" in nouns
    assert not {"painting", "sketch", "watercolor", "impressionism"} & set(" ".join(nouns).split())


def test_a_file_has_one_noun_a_line(tmp_path):
    path = tmp_path / "nouns.txt"
    path.write_text("# garments\n\nkimono\n sari \nkimono\n")

    assert read_nouns(path) == ["kimono", "sari"]


@pytest.mark.parametrize(("content", "words"), [(b"# no\n", "no noun"), (b"\xff", "not UTF-8")])
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "nouns.txt"
    path.write_bytes(content)

    with pytest.raises(MegastyleError, match=words):
        read_nouns(path)
