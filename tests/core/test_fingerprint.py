"""Other weights have another fingerprint, wherever they lie and whatever lies beside them."""

from pathlib import Path

from megastyle_cli.core.fingerprint import SAMPLE_BYTES, file_digest, weights_digest


def folder(path: Path, weights: bytes) -> Path:
    (path / "text").mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "text" / "model.safetensors").write_bytes(weights)
    return path


def test_equal_folders_have_equal_digests_wherever_they_lie(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", b"weights")
    two = folder(tmp_path / "b", b"weights")
    (two / ".cache").write_text("of a library")

    assert weights_digest(one) == weights_digest(two)


def test_every_sampled_part_and_the_length_count(tmp_path: Path) -> None:
    size = 10 * SAMPLE_BYTES
    plain = bytes(size)
    changed = [
        b"x" + plain[1:],
        plain[: size // 2 + 9] + b"x" + plain[size // 2 + 10 :],
        plain[:-1] + b"x",
        plain + b"\0",
    ]
    digests = set()
    for number, content in enumerate([plain, *changed]):
        path = tmp_path / f"{number}" / "model.safetensors"
        path.parent.mkdir()
        path.write_bytes(content)
        digests.add(weights_digest(path))

    assert len(digests) == 5


def test_a_file_digest_is_over_all_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "a", tmp_path / "b"
    one.write_bytes(bytes(10 * SAMPLE_BYTES))
    two.write_bytes(bytes(3 * SAMPLE_BYTES) + b"x" + bytes(7 * SAMPLE_BYTES - 1))

    assert file_digest(one) != file_digest(two)
