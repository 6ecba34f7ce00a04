"""The command cluster: vectors, workers, samples, and failures of every kind."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import jsonl, kill_when, lines
from tests.contract.test_bad_luck import ODD_TEXTS

WORDS = ["teal", "ochre", "amber", "impasto", "gouache", "woodcut", "hatched", "glazed", "neon"]


def styles(count: int) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "id": f"s{i}",
            "style": " ".join(rng.choice(WORDS, 5)),
            "style_identity": str(rng.choice(["Cubism", "cubism ", "Collage", "Anime"])),
        }
        for i in range(count)
    ]


def test_saved_vectors_give_the_same_clusters_again(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(120))
    first = megastyle("cluster", "s.jsonl", "--vectors", "v.npy", "-o", "a.jsonl", cwd=tmp_path)
    again = megastyle("cluster", "a.jsonl", "--vectors-from", "v.npy", cwd=tmp_path)

    assert first.returncode == again.returncode == 0, again.stderr.decode()
    before, after = lines(tmp_path / "a.jsonl"), lines(again.stdout)
    assert np.load(tmp_path / "v.npy").shape[0] == 120
    assert [record["row"] for record in before] == list(range(120))
    keys = ("id", "cluster", "cluster_2", "row")
    assert [[r.get(k) for k in keys] for r in before] == [[r.get(k) for k in keys] for r in after]


def test_workers_change_no_byte(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(200))
    runs = [
        megastyle("cluster", "s.jsonl", "--xy", "--sample", "50", "--workers", n, cwd=tmp_path)
        for n in (1, 2)
    ]

    assert runs[0].returncode == 0, runs[0].stderr.decode()
    assert runs[0].stdout == runs[1].stdout
    assert len(lines(runs[0].stdout)) == 50


def test_coverage_of_clusters_and_identities_is_printed_beside_that_of_a_random_sample(
    megastyle, tmp_path
):
    jsonl(tmp_path / "s.jsonl", styles(200))

    done = megastyle("cluster", "s.jsonl", "--sample", "30", "--members", "nearest", cwd=tmp_path)

    message = done.stderr.decode()
    assert "coarse clusters, entropy" in message
    assert "of 3 overall styles, entropy" in message
    assert message.count("(random") == 2


def test_only_the_record_of_a_vector_that_is_not_finite_fails(megastyle, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    vectors[7, 2], vectors[9, 0], vectors[11] = np.nan, np.inf, 0
    np.save(tmp_path / "v.npy", vectors)
    jsonl(tmp_path / "s.jsonl", [{"id": f"r{i}", "row": i} for i in range(41)])

    done = megastyle(
        *("cluster", "s.jsonl", "--vectors-from", "v.npy", "--levels", "4,2"),
        *("--errors", "e.jsonl", "--max-errors", "3"),
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr.decode()
    failed = {record["id"]: record["_error"]["kind"] for record in lines(tmp_path / "e.jsonl")}
    assert failed == {"r7": "model_error", "r9": "model_error", "r40": "missing_key"}
    assert len(lines(done.stdout)) == 38


def test_a_file_without_vectors_is_refused_with_a_hint(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(3))
    np.save(tmp_path / "flat.npy", np.zeros(5, np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    (tmp_path / "text.npy").write_text("no")

    for name in ("flat.npy", "objects.npy", "text.npy", "missing.npy"):
        done = megastyle("cluster", "s.jsonl", "--vectors-from", name, cwd=tmp_path)
        message = done.stderr.decode()
        assert done.returncode == 2, message
        assert name in message
        assert len(message.strip().splitlines()) == 2, message  # and a hint


def test_a_preset_shrinks_with_a_notice_and_every_record_has_each_level(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(300))

    done = megastyle("cluster", "s.jsonl", "--levels", "plusplus", "--stats", "t", cwd=tmp_path)

    assert "levels 100000,5000,500 are reduced to" in done.stderr.decode()
    num_levels = len(json.loads((tmp_path / "t").read_text())["clusters"])
    keys = ["cluster", *(f"cluster_{level}" for level in range(2, num_levels + 1))]
    assert all(set(keys) <= set(record) for record in lines(done.stdout))


@pytest.mark.parametrize("levels", ["abc", "10,100", "0", "5,5"])
def test_invalid_levels_are_refused_before_anything_is_read(megastyle, tmp_path, levels):
    (tmp_path / "s.jsonl").write_text("no record\n")

    done = megastyle("cluster", "s.jsonl", "--levels", levels, cwd=tmp_path)

    assert done.returncode == 2 and b"levels" in done.stderr and b"no record" not in done.stderr


def test_embeddings_cached_by_dedup_are_used(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(120))
    plain = megastyle("cluster", "s.jsonl", cwd=tmp_path)
    megastyle("dedup", "s.jsonl", "--no-near", "--cache", "kept", cwd=tmp_path)
    (keys,) = (tmp_path / "kept").rglob("*.keys.npy")

    cached = megastyle("cluster", "s.jsonl", "--cache", "kept", cwd=tmp_path)

    assert plain.returncode == 0 and cached.stdout == plain.stdout
    assert list((tmp_path / "kept").rglob("*.keys.npy")) == [keys], "some were made again"


KILLED = ("-o", "out.jsonl", "--vectors", "v.npy", "--xy")


@pytest.fixture(scope="module")
def whole(megastyle, tmp_path_factory):
    """A folder with records and what cluster makes of them, KILLED or not."""
    folder = tmp_path_factory.mktemp("whole")
    jsonl(folder / "s.jsonl", styles(1000))
    assert megastyle("cluster", folder / "s.jsonl", *KILLED, cwd=folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("name", "size"),
    [("out.jsonl.partial", 0), ("v.npy.partial", 1), ("out.jsonl.partial", 1), ("v.npy", 1)],
)
def test_killed_at_any_moment_its_files_are_complete_or_absent_and_a_rerun_gives_the_same_bytes(
    megastyle, whole, tmp_path, name, size
):
    command = ("cluster", whole / "s.jsonl", *KILLED)
    kill_when(command, tmp_path, tmp_path / name, size)

    expected = {file: (whole / file).read_bytes() for file in ("out.jsonl", "v.npy")}
    for file, content in expected.items():
        killed = tmp_path / file
        assert not killed.exists() or killed.read_bytes() == content
    again = megastyle(*command, "--overwrite", cwd=tmp_path)

    assert again.returncode == 0, again.stderr.decode()
    for file, content in expected.items():
        assert (tmp_path / file).read_bytes() == content
    assert not list(tmp_path.glob("*.partial"))


def test_odd_texts_are_clustered_or_fail_without_losing_a_value(megastyle, tmp_path):
    records = [{"id": f"odd{n}", "style": text, "n": n} for n, text in enumerate(ODD_TEXTS)]
    records += [{"id": "none", "other": 1}, {"id": "null", "style": None}, {"id": "7", "style": 7}]
    source = jsonl(tmp_path / "s.jsonl", records + styles(60))

    done = megastyle(
        *("cluster", source, "--levels", "8,2", "--xy", "--vectors", "v.npy"),
        *("--errors", "e.jsonl", "--max-errors", "9", "--page", "p.html"),
        *("-o", "out.jsonl"),
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr.decode()
    failed = {record["id"]: record["_error"]["kind"] for record in lines(tmp_path / "e.jsonl")}
    assert {"none", "null", "7"} <= set(failed) and set(failed.values()) == {"missing_key"}
    kept = {record["id"]: record for record in lines(tmp_path / "out.jsonl")}
    assert not set(kept) & set(failed)
    everything = kept | {record["id"]: record for record in lines(tmp_path / "e.jsonl")}
    for record in records:
        assert {key: everything[record["id"]][key] for key in record} == record
    assert np.isfinite(np.load(tmp_path / "v.npy")).all()


def test_one_prompt_a_hundred_thousand_times_is_one_cluster_in_little_memory(tmp_path):
    with (tmp_path / "s.jsonl").open("w") as file:
        file.writelines(f'{{"id":"{n}","style":"teal gouache"}}\n' for n in range(100_000))
    command = ["cluster", "s.jsonl", "--sample", "50", "-o", "out.jsonl", "--stats", "t", "-q"]
    subprocess.run([sys.executable, "-m", "megastyle_cli", *command], cwd=tmp_path, check=True)

    found = lines(tmp_path / "out.jsonl")
    assert [record["cluster"] for record in found] == [0] * 50
    stats = json.loads((tmp_path / "t").read_text())
    assert stats["clusters"][0] == 1
    vectors = 4 * 256 * 100_000
    assert stats["peak_bytes"] < 1.3 * vectors + 150e6


def test_parts_in_a_folder_are_one_input_whatever_order_they_were_written_in(megastyle, tmp_path):
    records = styles(90)
    (tmp_path / "parts").mkdir()
    for part in (2, 0, 1):
        some = records[30 * part : 30 * part + 30]
        jsonl(tmp_path / "parts" / f"part-{part:05}-of-00003.jsonl", some)
    jsonl(tmp_path / "s.jsonl", records)

    whole, parts = (
        megastyle("cluster", name, "--sample", "40", cwd=tmp_path) for name in ("s.jsonl", "parts")
    )

    assert whole.returncode == 0, whole.stderr.decode()
    assert parts.stdout == whole.stdout


def test_vectors_of_other_types_and_shapes_are_used_or_refused_with_a_hint(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", [{"id": f"r{n}", "row": n} for n in range(30)])
    rows = np.random.default_rng(0).normal(size=(30, 6))
    np.save(tmp_path / "float16.npy", rows.astype(np.float16))
    np.save(tmp_path / "float64.npy", rows)
    np.save(tmp_path / "int.npy", rows.astype(np.int64))
    np.save(tmp_path / "complex.npy", rows.astype(np.complex64))
    np.save(tmp_path / "cube.npy", rows.reshape(5, 6, 6))
    np.save(tmp_path / "short.npy", rows[:20])
    np.savez(tmp_path / "many.npz", rows=rows)
    runs = {
        path.name: megastyle("cluster", "s.jsonl", "--vectors-from", path.name, cwd=tmp_path)
        for path in tmp_path.glob("*.np?")
    }

    for name in ("float16.npy", "float64.npy"):
        assert runs[name].returncode == 0, runs[name].stderr.decode()
        assert len(lines(runs[name].stdout)) == 30
    for name in ("int.npy", "complex.npy", "cube.npy", "many.npz"):
        message = runs[name].stderr.decode()
        assert runs[name].returncode == 2, message
        assert name in message and len(message.splitlines()) == 2, message  # and a hint
    short = runs["short.npy"]  # ten records have no row there: each fails alone
    assert short.returncode == 3 and len(lines(short.stdout)) == 20
    assert b"there are 20 vectors" in short.stderr


def test_a_pickle_is_never_opened(megastyle, tmp_path):
    class Opened:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "opened"),))

    jsonl(tmp_path / "s.jsonl", [{"id": "a", "row": 0}])
    np.save(tmp_path / "v.npy", np.array([Opened()], object), allow_pickle=True)

    done = megastyle("cluster", "s.jsonl", "--vectors-from", "v.npy", cwd=tmp_path)

    assert done.returncode == 2 and b"v.npy" in done.stderr and b"Traceback" not in done.stderr
    assert not (tmp_path / "opened").exists()


def test_device_cpu_is_the_default_without_a_gpu_and_a_missing_device_is_refused(
    megastyle, tmp_path
):
    jsonl(tmp_path / "s.jsonl", styles(60))
    plain = megastyle("cluster", "s.jsonl", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")

    on_cores = megastyle("cluster", "s.jsonl", "--device", "cpu", cwd=tmp_path)
    missing = megastyle("cluster", "s.jsonl", "--device", "cuda:99", cwd=tmp_path)
    nodes = megastyle("cluster", "s.jsonl", "--engine", "ray", "--device", "cuda", cwd=tmp_path)

    assert on_cores.returncode == 0 and on_cores.stdout == plain.stdout
    assert b"arithmetic" not in on_cores.stdout
    for done, words in ((missing, b"device 'cuda:99' cannot be used"), (nodes, b"--engine ray")):
        assert done.returncode == 2 and words in done.stderr and b"Traceback" not in done.stderr
        assert done.stdout == b""


def test_stats_contain_the_coverage_of_the_sample(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(200))

    done = megastyle("cluster", "s.jsonl", "--sample", "30", "--stats", "t", cwd=tmp_path)

    coverage = json.loads((tmp_path / "t").read_text())["coverage"]
    of_styles = coverage["overall styles"]
    assert of_styles["groups"] == 3 and set(coverage) == {"coarse clusters", "overall styles"}
    assert f"entropy {of_styles['entropy']:.2f} bits" in done.stderr.decode()
