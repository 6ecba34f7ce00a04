"""Settings: what they record of a run, and which models and references they load."""

from megastyle_cli.evaluate.config import ScoringConfig, SummaryConfig
from megastyle_cli.evaluate.references import GivenReferences, OwnReferences, reference_fingerprint
from tests.drawn_images import DrawnImages
from tests.models.encoders.test_dual_encoder import clip_folder

REFERENCES = [{"id": "a", "file_name": "1"}, {"id": "b", "file_name": "2"}]
READER, FULL_SIZE = DrawnImages(), DrawnImages()


def test_options_that_are_not_used_are_not_recorded():
    assert ScoringConfig(backend="statistics").options == {"backend": "statistics"}
    assert ScoringConfig(backend="statistics", text_key="prompt", pair_by="stem").options == {
        "backend": "statistics"
    }


def test_what_changes_a_score_is_recorded(tmp_path):
    clip = str(clip_folder(tmp_path / "clip"))
    config = ScoringConfig(
        backend="statistics",
        text_model=clip,
        text_key="prompt",
        leakage=True,
        references=REFERENCES,
        pair_by="stem",
        others=REFERENCES[:1],
    )

    options = config.options

    assert options["text_key"] == "prompt" and options["leakage"] is True
    assert options["text_model"].startswith(clip)
    assert options["reference_set"] == reference_fingerprint(REFERENCES, "stem")
    assert options["other_set"] == reference_fingerprint(REFERENCES[:1], None)


def test_summary_options_record_what_is_reported():
    plain = SummaryConfig(ks=(1, 5)).options

    assert plain == {"label": "style_id", "content_label": "content_id", "ks": [1, 5], "seed": 0}
    more = SummaryConfig(ks=(1, 5), diversity=True, benchmark="abc").options
    assert more == plain | {"diversity": True, "benchmark": "abc"}


def test_a_record_is_compared_with_its_own_reference_unless_some_are_given():
    own = ScoringConfig(backend="statistics").load(READER, FULL_SIZE, 5)
    given = ScoringConfig(backend="statistics", references=REFERENCES).load(READER, FULL_SIZE)

    assert isinstance(own.references, OwnReferences)
    assert isinstance(given.references, GivenReferences)
    assert given.references.provenance["references"] == 2
    assert own.models.reader is READER and own.models.content is None


def test_leakage_takes_the_text_model_or_else_the_builtin_network(tmp_path):
    clip = str(clip_folder(tmp_path / "clip"))

    by_text = ScoringConfig(backend="statistics", text_model=clip, leakage=True)
    builtin = ScoringConfig(backend="statistics", leakage=True)

    models = by_text.load(READER, FULL_SIZE).models
    assert models.content is models.text
    models = builtin.load(READER, FULL_SIZE).models
    assert models.text is None and models.content.name == "imagenet-classes"


def test_prompts_are_embedded_by_the_text_model_or_else_by_the_builtin_embedder(tmp_path):
    clip = str(clip_folder(tmp_path / "clip"))
    plain = ScoringConfig(backend="statistics").load(READER, FULL_SIZE)
    with_text = ScoringConfig(backend="statistics", text_model=clip).load(READER, FULL_SIZE)

    assert plain.embed_prompts([]) is None
    assert len(plain.embed_prompts(["ink", "oil on canvas"])) == 2
    expected = with_text.models.text.embed_texts(["ink"])
    assert (with_text.embed_prompts(["ink"]) == expected).all()
