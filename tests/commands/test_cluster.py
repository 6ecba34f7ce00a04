"""What `cluster` promises of vectors, engines and choices, run as the real command."""

import json

import numpy as np

from tests.conftest import jsonl, lines

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


def test_vectors_are_kept_and_taken_again_with_the_same_clusters(megastyle, tmp_path):
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


def test_coverage_of_clusters_and_identities_is_told_beside_chance(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(200))

    done = megastyle("cluster", "s.jsonl", "--sample", "30", "--members", "nearest", cwd=tmp_path)

    said = done.stderr.decode()
    assert "coarse clusters, entropy" in said
    assert "of 3 overall styles, entropy" in said
    assert said.count("(random") == 2


def test_a_vector_that_is_not_finite_costs_its_record_alone(megastyle, tmp_path):
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


def test_what_is_no_array_of_vectors_is_refused_in_one_sentence(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(3))
    np.save(tmp_path / "flat.npy", np.zeros(5, np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    (tmp_path / "text.npy").write_text("no")

    for name in ("flat.npy", "objects.npy", "text.npy", "missing.npy"):
        done = megastyle("cluster", "s.jsonl", "--vectors-from", name, cwd=tmp_path)
        said = done.stderr.decode()
        assert done.returncode == 2, said
        assert name in said
        assert len(said.strip().splitlines()) == 1, said


def test_a_preset_shrinks_with_a_notice_and_every_record_has_each_level(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(300))

    done = megastyle("cluster", "s.jsonl", "--levels", "plusplus", "--stats", "t", cwd=tmp_path)

    assert "levels 100000,5000,500 shrunk to" in done.stderr.decode()
    num_levels = len(json.loads((tmp_path / "t").read_text())["clusters"])
    keys = ["cluster", *(f"cluster_{level}" for level in range(2, num_levels + 1))]
    assert all(set(keys) <= set(record) for record in lines(done.stdout))


def test_embeddings_that_dedup_kept_are_taken_from_the_cache(megastyle, tmp_path):
    jsonl(tmp_path / "s.jsonl", styles(120))
    plain = megastyle("cluster", "s.jsonl", cwd=tmp_path)
    megastyle("dedup", "s.jsonl", "--no-near", "--cache", "kept", cwd=tmp_path)
    (keys,) = (tmp_path / "kept").rglob("*.keys.npy")

    cached = megastyle("cluster", "s.jsonl", "--cache", "kept", cwd=tmp_path)

    assert plain.returncode == 0 and cached.stdout == plain.stdout
    assert list((tmp_path / "kept").rglob("*.keys.npy")) == [keys], "some were made again"
