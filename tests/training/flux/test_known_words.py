"""The vocabulary of a model folder is checked before the model is loaded."""

import pytest

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.training.flux.known_words import local_vocabulary
from tests.tiny_flux import save_tiny_flux


def test_builtin_flux_knows_its_words_in_any_case_and_no_others():
    vocabulary = local_vocabulary("builtin-flux")

    for prompt in ("bell", "Cloud heart", "bell cloud"):
        vocabulary.check(prompt)
    for _ in range(2):  # an unknown word is not cached as known
        with pytest.raises(BadRecord, match="the model does not know dragon: it knows bell"):
            vocabulary.check("bell dragon")


def test_a_folder_has_a_vocabulary_and_a_hub_name_accepts_every_word(tmp_path):
    vocabulary = local_vocabulary(str(save_tiny_flux(tmp_path)))

    vocabulary.check("any letters")
    with pytest.raises(BadRecord, match="does not know 7"):
        vocabulary.check("letters 7")
    assert local_vocabulary("black-forest-labs/FLUX.1-dev") is None
