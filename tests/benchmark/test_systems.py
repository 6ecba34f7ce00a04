"""What `--system` names, and what encoders were fitted on."""

import json

import pytest

from megastyle_cli.benchmark.systems import System, load_encoder, parse_systems, trained_on
from megastyle_cli.core.errors import MegastyleError
from tests.conftest import jsonl


def test_encoders_are_named_by_backend_class_folder_or_hub_name(tmp_path):
    (tmp_path / "enc").mkdir()
    (tmp_path / "enc" / "config.json").write_text("{}")

    found = parse_systems(["edges", "mine=pkg.mod:Class", f"{tmp_path}/enc", "google/siglip@main"])

    assert [(each.kind, each.backend, each.model) for each in found] == [
        ("encoder", "edges", None),
        ("encoder", "pkg.mod:Class", None),
        ("encoder", "auto", f"{tmp_path}/enc"),
        ("encoder", "auto", "google/siglip@main"),
    ]
    assert [each.name for each in found][:2] == ["edges", "mine"]


def test_painters_are_folders_and_files_of_records(tmp_path):
    records = jsonl(tmp_path / "out.jsonl", [])
    (tmp_path / "pictures").mkdir()

    found = parse_systems([f"a={records}", str(tmp_path / "pictures"), "originals"])

    assert [each.kind for each in found] == ["painter"] * 3
    assert [each.pictures for each in found] == [
        str(records),
        str(tmp_path / "pictures"),
        "originals",
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["edges", "originals"], "mixes encoders and painters: edges is an encoder, originals is"),
        (["edges", "edges=random"], "two systems are called edges"),
        (["nowhere"], "there is no such backend, folder or file"),
        (["./gone.jsonl"], "there is no such backend, folder or file"),
        (["x="], "not NAME=SYSTEM"),
        (["siglip"], "siglip needs weights"),
    ],
)
def test_what_names_no_system_is_one_sentence(texts, message):
    with pytest.raises(MegastyleError, match=message):
        parse_systems(texts)


def test_the_builtin_encoder_declares_its_styles_and_baselines_none():
    declared = {
        name: trained_on(system := parse_systems([name])[0], load_encoder(system).encoder)
        for name in ("builtin", "whitened", "random", "edges")
    }

    assert len(declared["whitened"]) == 60 and "icon-solar-linear" in declared["whitened"]
    assert declared["builtin"] > declared["whitened"] and "painting-lion" in declared["builtin"]
    assert declared["random"] == frozenset() and declared["edges"] is None


def test_a_folder_of_weights_declares_styles_and_groups(tmp_path):
    system = System(name="m", kind="encoder", backend="auto", model=str(tmp_path))
    assert trained_on(system, object()) is None

    (tmp_path / "trained_on.json").write_text(json.dumps({"styles": ["a"], "groups": ["g"]}))
    assert trained_on(system, object()) == {"a", "g"}

    (tmp_path / "trained_on.json").write_text("[1]")
    with pytest.raises(MegastyleError, match=r"trained_on\.json is not an object"):
        trained_on(system, object())
