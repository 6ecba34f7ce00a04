"""Options that need another one are refused in a sentence."""

from pathlib import Path

import pytest

from megastyle_cli.bias.options import BiasOptions, check_bias_options
from megastyle_cli.core.errors import MegastyleError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bias": True, "originals": ["a"]}, "are two measures"),
        ({"control": ["a"]}, "belong to --bias"),
        ({"nouns": Path("n.txt"), "originals": ["a"]}, "belong to --bias"),
        ({"frequency_key": "count", "bias": True}, "is a key of --originals"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, words):
    with pytest.raises(MegastyleError, match=words):
        check_bias_options(BiasOptions(**given))


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "--base-url is for --bias"), ({"bias": True, "control": ["a"]}, "compares images")],
)
def test_a_server_is_for_bias_and_takes_the_place_of_a_text_model(given, words):
    with pytest.raises(MegastyleError, match=words):
        check_bias_options(BiasOptions(**given), text_model="clip", base_url="http://a")


def test_each_measure_has_its_options():
    check_bias_options(BiasOptions())
    check_bias_options(BiasOptions(bias=True, control=["a"], floor=["b"], nouns=Path("n.txt")))
    check_bias_options(BiasOptions(bias=True, control=["a"]), base_url="http://a")
    check_bias_options(BiasOptions(originals=["a"], frequency_key="count"))
