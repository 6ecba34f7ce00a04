"""The protocols are known by name, each with the models that it is computed with."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import declared_options
from megastyle_cli.paper_protocols.catalog import PROTOCOLS, parse_protocols
from megastyle_cli.paper_protocols.options import ProtocolOptions


def models(*texts):
    requests = parse_protocols(texts, "edges", None)
    return [[each.model for each in request.models] for request in requests]


def test_the_help_names_every_protocol():
    ((_, declared),) = declared_options(ProtocolOptions)

    assert f": {', '.join(PROTOCOLS)}." in declared.help


def test_a_model_is_given_or_the_released_one():
    assert models("megastyle", "clip-text=clip/") == [["Gaojunyao/MegaStyle"], ["clip/"]]
    assert models("oneig=a.pth,b/") == [["a.pth", "b/"]]


def test_a_path_may_hold_a_comma(tmp_path):
    path = tmp_path / "a,b.pth"
    path.touch()

    assert models(f"csd={path}") == [[str(path)]]


def test_a_protocol_without_a_model_has_the_encoder_of_the_options():
    ((own,),) = [request.models for request in parse_protocols(["gap"], "edges", None)]

    assert (own.backend, own.model) == ("edges", None)


def test_a_model_on_a_server_may_have_no_name():
    assert models("vlm-leak", "vlm-leak=qwen") == [[None], ["qwen"]]


def test_the_same_request_counts_once():
    assert len(parse_protocols(["gap", "leakage=a/", "leakage=b/", "gap"], "edges", None)) == 3


def test_weights_identify_a_request(tmp_path):
    path = tmp_path / "csd.pth"
    path.write_bytes(b"one")
    (before,) = parse_protocols([f"csd={path}"], "builtin", None)
    identity = before.identity
    path.write_bytes(b"another")

    assert parse_protocols([f"csd={path}"], "builtin", None)[0].identity != identity


@pytest.mark.parametrize("text", ["", "fid", "csd=", "csd=a,b", "oneig=a", "gap=a"])
def test_what_names_no_protocol_or_the_wrong_models_is_refused(text):
    with pytest.raises(MegastyleError):
        parse_protocols([text], "builtin", None)
