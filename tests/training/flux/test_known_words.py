"""Words are asked of a model's folder before the model is loaded."""

import pytest

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.training.flux.known_words import refusing
from tests.tiny_flux import save_tiny_flux


def test_the_shipped_model_knows_its_words_in_any_case_and_no_others():
    refuse = refusing("builtin-flux")

    for prompt in ("bell", "Cloud heart", "bell cloud"):
        refuse(prompt)
    for _ in range(2):  # asked again, it is as strange
        with pytest.raises(BadRecord, match="the model does not know dragon: it knows bell"):
            refuse("bell dragon")


def test_a_folder_is_asked_and_what_is_not_there_takes_every_word(tmp_path):
    refuse = refusing(str(save_tiny_flux(tmp_path)))

    refuse("any letters")
    with pytest.raises(BadRecord, match="does not know 7"):
        refuse("letters 7")
    refusing("black-forest-labs/FLUX.1-dev")("letters 7")
