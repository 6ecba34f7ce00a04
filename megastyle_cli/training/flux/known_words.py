"""Vocabulary check before a model is loaded: prompts with unknown words cannot be learned."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from megastyle_cli.models.flux.loader import BUILTIN_FLUX, find_flux
from megastyle_cli.models.flux.prompt_embeddings import check_known_words


class Vocabulary:
    """The words of a model folder; it has the `tokenizer` that the model's pipeline will have."""

    def __init__(self, folder: Path) -> None:
        load: Any = AutoTokenizer.from_pretrained
        self.tokenizer = load(folder / "tokenizer", local_files_only=True)
        self._known: set[str] = set()

    def check(self, prompt: str) -> None:
        """Raises BadRecord (unknown_word) unless the model knows every word of `prompt`."""
        # each word once: a million prompts have some ten thousand
        new = [word for word in prompt.split() if word not in self._known]
        check_known_words(self, " ".join(new))
        self._known.update(new)


def local_vocabulary(model: str) -> Vocabulary | None:
    """The vocabulary of `model` if it is a folder or `BUILTIN_FLUX`; None for a hub name.

    A hub model may not be downloaded yet, and accepts every prompt: FLUX.1 spells every word.
    """
    is_local = model == BUILTIN_FLUX or (Path(model).expanduser() / "tokenizer").is_dir()
    return Vocabulary(find_flux(model)) if is_local else None
