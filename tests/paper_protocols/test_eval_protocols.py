"""`eval --protocol` as people call it, with models in the layouts of the released ones."""

import numpy as np
import pytest

from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.registry import load
from tests.chat_server import serving
from tests.conftest import lines
from tests.paper_protocols.models_on_disk import STYLES, make_images, make_models


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocols")
    images, references = make_images(folder)
    return {**make_models(folder), "folder": folder, "images": images, "references": references}


def protocols(made, *names):
    with_model = {
        "csd": "csd={csd}",
        "megastyle": "megastyle={megastyle}",
        "clip-image": "clip-image={clip}",
        "clip-text": "clip-text={clip}",
        "leakage": "leakage={dinov2}",
        "content-distance": "content-distance={dinov2}",
        "oneig": "oneig={csd},{oneig}",
        "gap": "gap",
    }
    return [f"--protocol={with_model[name].format(**made)}" for name in names]


def by_reference(made):
    return ["--reference", made["references"], "--pair-by", "style_id"]


def rows_of(ended):
    assert ended.returncode == 0, ended.stderr.decode()
    (summary,) = lines(ended.stdout)
    return {row["protocol"]: row for row in summary["protocols"]}


def unit_vectors(made, model, names):
    encoder = load("style_encoder", "clip", model=str(made[model]), device="cpu")
    return encoder.embed(ImageReader().read([str(made["folder"] / name) for name in names]))


ALL = ("csd", "megastyle", "clip-image", "clip-text", "leakage", "content-distance", "oneig", "gap")


def test_every_protocol_in_one_call(megastyle, made):
    ended = megastyle("eval", made["images"], *by_reference(made), *protocols(made, *ALL))
    rows = rows_of(ended)

    assert list(rows) == list(ALL)
    names = [[f"{style}{number}.png" for number in range(3)] for style in STYLES]
    shown = [[f"{style}-reference{number}.png" for number in range(3)] for style in STYLES]
    images = np.stack([unit_vectors(made, "csd", each) for each in names]).astype(float)
    known = np.stack([unit_vectors(made, "csd", each) for each in shown]).astype(float)
    cosines = np.einsum("sid,tjd->sitj", images, known)
    own = np.stack([cosines[style, :, style] for style in range(3)])  # (style, image, reference)
    others = (cosines.sum() - own.sum()) / (cosines.size - own.size)
    within = np.einsum("sid,sjd->sij", known, known)[:, *np.triu_indices(3, 1)].mean()
    row = rows["csd"]
    assert row["value"] == pytest.approx(own.mean(), abs=2e-4)
    assert row["random"] == pytest.approx(others, abs=2e-4)
    assert row["ceiling"] == pytest.approx(within, abs=2e-4)
    assert row["low"] <= row["value"] <= row["high"] and row["scale"] == "cosine"
    assert row["models"][0]["model"].startswith(str(made["csd"]) + "@")
    assert row["models"][0]["preprocessing"].startswith("shorter side to 32 px")
    assert rows["megastyle"]["models"][0]["preprocessing"].startswith("resized to 32 x 32")
    assert 0 < rows["megastyle"]["value"] <= 100

    siblings = np.stack([unit_vectors(made, "oneig", each) for each in names]).astype(float)
    theirs = np.stack([unit_vectors(made, "oneig", each) for each in shown]).astype(float)
    others_own = np.einsum("sid,sjd->sij", siblings, theirs)
    highest = (np.maximum(own.max(axis=2), 0) + np.maximum(others_own.max(axis=2), 0)) / 2
    average = (np.maximum(own.mean(axis=2), 0) + np.maximum(others_own.mean(axis=2), 0)) / 2
    assert rows["oneig"]["value"] == pytest.approx(highest.mean(), abs=2e-4)
    assert rows["oneig"]["mean_of_references"] == pytest.approx(average.mean(), abs=2e-4)
    assert rows["oneig"]["references"] == 3 and len(rows["oneig"]["models"]) == 2


def test_scores_of_clip_are_in_the_scale_of_its_logits(megastyle, made):
    words = protocols(made, "clip-text", "clip-image")

    rows = rows_of(megastyle("eval", made["images"], *words))

    text = rows["clip-text"]
    assert text["value"] == pytest.approx(text["cosine"] * text["logit_scale"], abs=2e-3)
    model = load("text_image", "auto", model=str(made["clip"]), device="cpu")
    assert text["logit_scale"] == pytest.approx(model.logit_scale, abs=1e-4)
    assert rows["clip-image"]["value"] <= model.logit_scale + 1e-3
    assert text["clipscore"] != pytest.approx(2.5 * text["cosine"], abs=1e-4)  # another prompt


def test_a_content_image_is_at_distance_0_of_itself(megastyle, made, tmp_path):
    content = made["folder"] / "content0.png"
    (tmp_path / "same.jsonl").write_text(
        f'{{"id": "a", "file_name": "{content}", "content_file_name": "{content}"}}\n'
    )

    rows = rows_of(megastyle("eval", tmp_path / "same.jsonl", *protocols(made, "content-distance")))

    assert rows["content-distance"]["value"] == 0
    moved = rows_of(megastyle("eval", made["images"], *protocols(made, "content-distance")))
    assert 0 < moved["content-distance"]["value"] < 4
    assert moved["content-distance"]["images"] == 9


def test_a_style_score_without_leakage_is_remarked(megastyle, made):
    alone = megastyle("eval", made["images"], *protocols(made, "csd"))
    beside = megastyle("eval", made["images"], *protocols(made, "csd", "leakage"))

    assert b"a style score without leakage rewards copies" in alone.stderr
    assert b"rewards copies" not in beside.stderr


def test_the_gap_is_that_of_the_encoder_of_the_options(megastyle, made):
    words = ["--backend", "clip", "--model", made["csd"], *protocols(made, "gap")]

    rows = rows_of(megastyle("eval", made["references"], *words))

    assert rows["gap"]["models"][0]["model"].startswith(str(made["csd"]))
    assert rows["gap"]["styles"] == 3 and 0 <= rows["gap"]["negative"] <= 3


def test_a_model_on_a_server_is_asked_for_the_objects_of_references(megastyle, made, tmp_path):
    def see(request):
        if "JSON object" in request.text:
            return '{"objects": ["boat", "red kite"]}'
        return "yes" if "red kite" in request.text else "no"

    with serving(see) as server:
        words = ["--protocol", "vlm-leak", "--base-url", server.url, "--cache", tmp_path]
        row = rows_of(megastyle("eval", made["images"], *words))["vlm-leak"]
        again = rows_of(megastyle("eval", made["images"], *words))["vlm-leak"]

    # the prompts mention a boat: the kite is the only object, and strangers have it as well
    assert (row["value"], row["random"], row["images"]) == (1, 1, 9)
    assert row["models"] == [{"model": "tiny-vlm"}]
    assert row["questions"]["asked"] == 3 + 2 * 9 and again["questions"]["asked"] == 0
    assert again["value"] == row["value"]


def test_an_image_that_does_not_open_counts_as_failed(megastyle, made, tmp_path):
    text = made["images"].read_text().replace("ink0.png", "lost.png")
    path = made["folder"] / "damaged.jsonl"
    path.write_text(text)

    ended = megastyle("eval", path, *protocols(made, "csd", "content-distance"))

    assert ended.returncode == 3
    (summary,) = lines(ended.stdout)
    assert (summary["n"], summary["failed"]) == (8, 1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--protocol", "fid"], "there is no protocol 'fid'"),
        (["--protocol", "csd"], "--protocol csd needs a model"),
        (["--protocol", "csd={clip}"], "is not a CSD checkpoint"),
        (["--protocol", "oneig={csd}"], "--protocol oneig needs two models"),
        (["--protocol", "oneig={csd},{oneig}"], "--protocol oneig needs references by style"),
        (["--protocol", "vlm-leak"], "vlm-leak asks a model on a server"),
        (
            ["--protocol", "gap", "--base-url", "http://localhost:1/v1"],
            "--base-url is for vlm-leak",
        ),
        (["--protocol", "gap={csd}"], "--protocol gap takes no model"),
        (["--protocol", "gap", "--label", "nothing"], "no style has two images"),
        (["--protocol", "gap", "--each"], "--protocol takes no --each"),
        (
            ["--protocol", "clip-text={clip}", "--prompt-key", "x"],
            "no image has a prompt under 'x'",
        ),
        (["--protocol", "leakage={dinov2}", "--reference", "{references}"], "other styles"),
        (["--protocol", "clip-text={dinov2}"], "not a complete CLIP or SigLIP"),
    ],
)
def test_what_cannot_be_measured_is_refused(megastyle, made, words, expected):
    ended = megastyle("eval", made["images"], *(word.format(**made) for word in words))

    assert ended.returncode == 2 and expected in ended.stderr.decode(), ended.stderr.decode()


def test_images_without_references_have_no_style_score(megastyle, made):
    ended = megastyle("eval", made["references"], *protocols(made, "csd"))

    assert ended.returncode == 2 and b"no image has a reference" in ended.stderr
