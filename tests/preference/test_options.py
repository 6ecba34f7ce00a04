"""Options that do not fit together are refused in a sentence."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.preference.options import PreferenceOptions, check_preference_options

DIR = Path("votes")


@pytest.mark.parametrize(
    ("given", "systems", "words"),
    [
        ({"make_preference": DIR, "preference": DIR}, ["a", "b"], "counts its votes"),
        ({"make_preference": DIR}, ["a"], "several systems"),
        ({"make_preference": DIR}, None, "several systems"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, systems, words):
    with pytest.raises(MegastyleError, match=words):
        check_preference_options(PreferenceOptions(**given), systems)


def test_a_page_has_systems_and_votes_need_none():
    check_preference_options(PreferenceOptions(make_preference=DIR), ["a", "b"])
    check_preference_options(PreferenceOptions(preference=DIR), None)
