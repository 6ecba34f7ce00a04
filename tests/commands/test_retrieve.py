"""What `retrieve` promises of saved indexes, prototypes and words, run as the real command."""

import signal
import subprocess
import time

import pytest

from tests import fork_server
from tests.conftest import draw, jsonl, lines
from tests.models.encoders.hub_siglip import siglip_of_the_hub
from tests.models.encoders.test_dual_encoder import siglip_folder

LAME = """
import numpy as np

class Lame:
    name = "lame"

    def embed(self, pictures):
        sides = [[np.nan if picture.width == 200 else 1.0, 0.0] for picture in pictures]
        return np.array(sides, np.float32)
"""


def neighbors(done):
    assert done.returncode == 0, done.stderr.decode()
    return [record["neighbors"] for record in lines(done.stdout)]


def refused(done, *words):
    stderr_text = done.stderr.decode()
    assert done.returncode == 2, stderr_text
    assert "Traceback" not in stderr_text
    assert len(stderr_text.strip().splitlines()) <= 2, stderr_text  # a sentence and a hint
    for word in words:
        assert word in stderr_text
    return True


@pytest.fixture
def built(megastyle, pictures, tmp_path):
    done = megastyle("retrieve", "--index", "x", "--add", pictures, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    return tmp_path


def test_a_saved_index_finds_what_its_folder_finds(megastyle, built):
    saved = megastyle("retrieve", "imgs", "--index", "x", cwd=built)
    folder = megastyle("retrieve", "imgs", "--index", "imgs", cwd=built)

    assert saved.returncode == 0
    assert saved.stdout == folder.stdout


def test_pictures_that_are_there_are_not_added_again(megastyle, built):
    draw(7).save(built / "imgs" / "7.png")

    done = megastyle("retrieve", "--index", "x", "--add", "imgs", cwd=built)

    assert b"1 in (6 done before)" in done.stderr
    assert len(lines(built / "x" / "records.jsonl")) == 7


def test_an_index_holds_the_same_however_it_was_built(megastyle, built):
    copies = built / "copies"
    copies.mkdir()
    for name in ("0.png", "copy.png"):
        draw(0).save(copies / name)
    at_once = megastyle(
        *("retrieve", "--index", "y", "--add", "imgs", "--add", "copies", "--add", "imgs"),
        cwd=built,
    )

    planned = megastyle("retrieve", "--index", "x", "--add", copies, "--dry-run", cwd=built)
    later = megastyle("retrieve", "--index", "x", "--add", copies, cwd=built)
    again = megastyle("retrieve", "--index", "x", "--add", "copies", "--dry-run", cwd=built)

    assert at_once.returncode == later.returncode == 0
    assert b"2 images (2 to do, 0 done)" in planned.stderr
    assert b"2 images (0 to do, 2 done)" in again.stderr
    assert len(lines(built / "x" / "records.jsonl")) == 8
    for part in ("records.jsonl", "vectors.f32"):
        assert (built / "x" / part).read_bytes() == (built / "y" / part).read_bytes()


def test_a_picture_that_cannot_be_read_is_left_out_and_told(megastyle, built):
    (built / "imgs" / "bad.png").write_bytes(b"no picture")

    done = megastyle("retrieve", "--index", "x", "--add", "imgs", cwd=built)

    assert done.returncode == 3
    assert [record["_error"]["kind"] for record in lines(built / "x" / "errors.jsonl")] == [
        "bad_image"
    ]
    assert len(neighbors(megastyle("retrieve", "imgs/0.png", "--index", "x", cwd=built))[0]) == 5


def test_a_killed_build_goes_on_where_it_was_safe(megastyle, tmp_path):
    (tmp_path / "imgs").mkdir()
    for seed in range(200):
        draw(seed, 256, 256).save(tmp_path / "imgs" / f"{seed:03}.png")
    command = ("retrieve", "--index", "x", "--add", "imgs", "--batch-size", 4)
    process = fork_server.start(*command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "x" / "index.json.partial").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()

    done = megastyle("retrieve", "--index", "x", "--add", "imgs", cwd=tmp_path)

    assert done.returncode == 0
    names = [record["file_name"] for record in lines(tmp_path / "x" / "records.jsonl")]
    assert names == [f"../imgs/{seed:03}.png" for seed in range(200)]


def test_another_encoder_is_refused_by_both_names(megastyle, built):
    done = megastyle("retrieve", "imgs", "--index", "x", "--backend", "edges", cwd=built)

    assert refused(done, "style-discriminants", "edge-texture")


def test_adding_with_another_encoder_changes_nothing(megastyle, built):
    before = (built / "x" / "vectors.f32").read_bytes()
    draw(9).save(built / "9.png")

    done = megastyle(
        *("retrieve", "--index", "x", "--add", "9.png", "--backend", "edges"), cwd=built
    )

    assert refused(done, "style-discriminants", "edge-texture")
    assert (built / "x" / "vectors.f32").read_bytes() == before


def test_recall_is_printed_and_in_the_stats(megastyle, built):
    done = megastyle(
        *("retrieve", "imgs", "--index", "x", "--method", "ivf", "--stats", "s.json"), cwd=built
    )

    assert b"ivf: recall@10 1.000 on 6 rows" in done.stderr
    assert '"recall_10": 1.0' in (built / "s.json").read_text()


def test_a_damaged_faiss_file_is_refused(megastyle, built):
    megastyle("retrieve", "imgs", "--index", "x", "--method", "ivf", cwd=built)
    path = built / "x" / "ivf.faiss"
    path.write_bytes(path.read_bytes()[:-100])

    done = megastyle("retrieve", "imgs", "--index", "x", "--method", "ivf", cwd=built)

    assert refused(done, "x/ivf.faiss is damaged")


def test_a_prototype_is_one_query_that_does_not_find_its_members(megastyle, built):
    query = ("imgs/0.png", "imgs/3.png", "--prototype")
    done = megastyle("retrieve", *query, "--index", "x", cwd=built)
    (record,) = lines(done.stdout)

    assert record["file_name"] in ("imgs/0.png", "imgs/3.png")
    assert len(record["prototype_of"]) == 2
    assert not {near["id"] for near in record["neighbors"]} & set(record["prototype_of"])
    assert len(record["neighbors"]) == 4


def test_a_prototype_of_one_finds_what_the_picture_finds(megastyle, built):
    one = megastyle("retrieve", "imgs/2.png", "--prototype", "--index", "x", cwd=built)
    plain = megastyle("retrieve", "imgs/2.png", "--index", "x", cwd=built)

    assert neighbors(one) == neighbors(plain)


def test_there_is_a_prototype_for_each_value_of_a_key(megastyle, built):
    message = [{"file_name": f"imgs/{n}.png", "set": "ab"[n % 2]} for n in range(4)]
    jsonl(built / "q.jsonl", [*message, {"file_name": "imgs/5.png"}])

    done = megastyle("retrieve", "q.jsonl", "--prototype-by", "set", "--index", "x", cwd=built)

    assert [record["set"] for record in lines(done.stdout)] == ["a", "b"]
    assert done.returncode == 3
    assert b"has no 'set'" in done.stderr


def test_words_need_an_encoder_with_a_text_side(megastyle, built):
    done = megastyle("retrieve", "--text", "ink wash", "--index", "x", cwd=built)

    assert refused(done, "has no text tower")


def test_a_record_of_words_without_a_text_side_fails_alone(megastyle, built):
    jsonl(built / "q.jsonl", [{"text": "ink wash"}, {"file_name": "imgs/0.png"}])

    done = megastyle("retrieve", "q.jsonl", "--index", "x", "--errors", "e.jsonl", cwd=built)

    assert done.returncode == 3
    assert [record["file_name"] for record in lines(done.stdout)] == ["imgs/0.png"]
    (failed,) = lines(built / "e.jsonl")
    assert failed["_error"]["kind"] == "model_error"
    assert "has no text tower: give --model" in failed["_error"]["message"]


def test_a_picture_that_an_encoder_gives_no_numbers_for_fails_alone(megastyle, built):
    (built / "lame.py").write_text(LAME)
    lame = ("--backend", "lame:Lame")
    draw(9, 200, 200).save(built / "imgs" / "9.png")

    added = megastyle("retrieve", "--index", "y", "--add", "imgs", *lame, cwd=built)
    asked = megastyle("retrieve", "imgs", "--index", "imgs", *lame, cwd=built)
    scored = megastyle(
        *("eval", "imgs", "--reference", "imgs/0.png", "--max-errors", 2, *lame), cwd=built
    )

    assert added.returncode == asked.returncode == 3
    (failed,) = lines(built / "y" / "errors.jsonl")
    assert failed["_error"]["kind"] == "model_error"
    assert failed["_error"]["message"] == "lame returned values that are not finite for imgs/9.png"
    assert len(lines(built / "y" / "records.jsonl")) == len(lines(asked.stdout)) == 6
    assert (
        scored.returncode == 0
        and b"lame returned values that are not finite for imgs/9.png" in scored.stderr
    )


def test_words_and_records_of_words_ask_the_same(megastyle, pictures, tmp_path):
    siglip_of_the_hub(tmp_path / "model")
    jsonl(tmp_path / "q.jsonl", [{"id": "w", "style": "ink wash", "file_name": "imgs/0.png"}])
    searched = ("--index", "imgs", "--model", "model")

    flags = megastyle("retrieve", "--text", "ink wash", *searched, cwd=tmp_path)
    records = megastyle("retrieve", "q.jsonl", "--text-key", "style", *searched, cwd=tmp_path)

    assert lines(flags.stdout)[0]["text"] == "ink wash"
    assert neighbors(flags) == neighbors(records)


def test_an_index_stays_the_encoders_own_when_the_model_is_moved(megastyle, pictures, tmp_path):
    siglip_folder(tmp_path / "model")
    megastyle("retrieve", "--index", "x", "--add", "imgs", "--model", "model", cwd=tmp_path)
    (tmp_path / "model").rename(tmp_path / "moved")

    done = megastyle("retrieve", "imgs", "--index", "x", "--model", "moved", cwd=tmp_path)

    assert len(neighbors(done)) == 6


def test_an_index_that_is_not_there_is_refused(megastyle, built):
    done = megastyle("retrieve", "imgs", "--index", "y", cwd=built)

    assert refused(done, "y does not exist")


def test_a_folder_without_queries_is_refused(megastyle, built):
    (built / "empty").mkdir()

    done = megastyle("retrieve", "empty", "--index", "x", cwd=built)

    assert refused(done, "empty holds no images")


def test_a_full_disk_leaves_the_index_as_it_was(megastyle, built):
    for seed in range(20, 60):
        draw(seed).save(built / "imgs" / f"{seed}.png")
    before = (built / "x" / "index.json").read_bytes()

    done = megastyle("retrieve", "--index", "x", "--add", "imgs", cwd=built, max_file_kib=40)
    again = megastyle("retrieve", "imgs/0.png", "--index", "x", cwd=built)

    assert done.returncode == 1
    assert b"x: file too large\n       Make room and run it again\n" in done.stderr
    assert (built / "x" / "index.json").read_bytes() == before
    assert len(neighbors(again)[0]) == 5


def test_resume_with_another_index_is_refused(megastyle, pictures, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    draw(77).save(other / "77.png")
    command = ["retrieve", pictures, "-o", tmp_path / "found.jsonl"]
    assert megastyle(*command, "--index", pictures, "--limit", 1).returncode == 0
    before = (tmp_path / "found.jsonl").read_bytes()

    mixed = megastyle(*command, "--index", other, "--resume")

    assert (mixed.returncode, b"index was" in mixed.stderr) == (2, True)
    assert (tmp_path / "found.jsonl").read_bytes() == before
    assert megastyle(*command, "--index", pictures, "--resume").returncode == 0
    assert megastyle(*command, "--index", other, "--resume", "--force").returncode == 0
