"""Members of a tar by sample: webdataset's keys, and file names with dots keep their texts."""

import pytest

from megastyle_cli.io.readers.tar_samples import sample_members, suffix_of


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
