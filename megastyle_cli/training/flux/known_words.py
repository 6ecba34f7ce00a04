"""Words that a model knows, asked before it is loaded: what it does not know cannot be learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from megastyle_cli.models.flux.loader import BUILTIN_FLUX, find_flux
from megastyle_cli.models.flux.prompt_embeddings import check_known_words
from megastyle_cli.training.flux.pairs import take


class Vocabulary:
    """The words of a model's folder; it has the `tokenizer` that its pipeline will have."""

    def __init__(self, folder: Path) -> None:
        load: Any = AutoTokenizer.from_pretrained
        self.tokenizer = load(folder / "tokenizer", local_files_only=True)
        self._met: set[str] = set()

    def refuse(self, prompt: str) -> None:
        """Raises BadRecord (unknown_word) if the model does not know all words of `prompt`."""
        # each word once: a million prompts have some ten thousand
        new = [word for word in prompt.split() if word not in self._met]
        check_known_words(self, " ".join(new))
        self._met.update(new)


def refusing(model: str) -> Callable[[str], None]:
    """Raises BadRecord for a prompt with words that `model`, a folder or `BUILTIN_FLUX`, lacks.

    Of a hub name, which may have to be fetched, every prompt is taken: FLUX.1 spells every word.
    """
    is_here = model == BUILTIN_FLUX or (Path(model).expanduser() / "tokenizer").is_dir()
    return Vocabulary(find_flux(model)).refuse if is_here else take
