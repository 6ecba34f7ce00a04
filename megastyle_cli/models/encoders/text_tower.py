"""The text tower of a whole SigLIP or CLIP: texts to unit vectors in the space of its image tower.

b texts, t tokens, d width of the space
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import (
    AutoTokenizer,
    CLIPModel,
    CLIPTextModelWithProjection,
    SiglipModel,
    SiglipTextModel,
)

from megastyle_cli.core.errors import MegastyleError, first_line
from megastyle_cli.core.extras import missing_module, needed_package
from megastyle_cli.models.encoders.clip_vision import clip_weights
from megastyle_cli.models.encoders.inference import Array, BatchedEncoder
from megastyle_cli.models.hub import download_again
from megastyle_cli.models.strict_weights import (
    build_config,
    build_model,
    fingerprint,
    read_config,
)
from megastyle_cli.models.tensor_files import read_folder_weights

PART = " of its text tower"
PREFIX = "text_model."
# Any of these is a tokenizer; without one transformers may silently build an empty one.
VOCABULARIES = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("tokenizer.model",),
)
CLIP_PREFIXES = (PREFIX, "text_projection.")

Tokens = Callable[[Sequence[str]], dict[str, Tensor]]


class SiglipTextEmbedder:
    """Texts to unit rows (n, d), lower-cased and padded to the tower's length, as in its training.

    `scale` and `bias` were learned with the two towers: logits are scale <image, text> + bias.
    Texts longer than the tower's 64 positions are truncated. Rows are independent of their batch
    as in `BatchedEncoder`. `name` ends with 8 hex digits over the weights. Raises MegastyleError
    if the folder is not a whole SigLIP to the last tensor.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        weights = read_folder_weights(folder)
        config = build_config(SiglipModel, read_config(folder), str(folder)).text_config
        text = {n.removeprefix(PREFIX): w for n, w in weights.items() if n.startswith(PREFIX)}
        tower = build_model(SiglipTextModel, config, text, str(folder), PART)
        if not {"logit_scale", "logit_bias"} <= weights.keys():
            raise MegastyleError(
                f"{folder} has no logit_scale and logit_bias", hint="give a complete SigLIP model"
            )
        self.scale = float(weights["logit_scale"].float().exp())
        self.bias = float(weights["logit_bias"].float())
        self.name = f"siglip-text@{fingerprint(text)}"
        self.width = config.projection_size
        self.device = torch.device(device)
        self.tower: Any = tower.to(self.device)  # type: ignore[arg-type]
        length = config.max_position_embeddings
        self.tokens = load_tokenizer(folder, length)
        self.batches = BatchedEncoder(self.device, self.width, tokens_per_input=length)

    def embed(self, texts: Sequence[str]) -> Array:
        """Unit rows (n, d) float32."""
        return self.batches.embed(texts, self._lower_case_tokens, self._encode)

    def _lower_case_tokens(self, texts: Sequence[str]) -> Tensor:
        # The padding is attended to: there was no mask in training.
        return self.tokens([text.lower() for text in texts])["input_ids"]  # (b, t)

    def _encode(self, tokens: Tensor) -> Tensor:
        return normalize(self.tower(input_ids=tokens.to(self.device)).pooler_output)


class ClipTextEmbedder:
    """Like SiglipTextEmbedder, by the text tower and projection of a whole CLIP (77 positions)."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        whole = build_config(CLIPModel, read_config(folder), str(folder))
        config = whole.text_config
        config.projection_dim = whole.projection_dim
        weights = clip_weights(folder)
        text = {name: w for name, w in weights.items() if name.startswith(CLIP_PREFIXES)}
        tower = build_model(CLIPTextModelWithProjection, config, text, str(folder), PART)
        self.name = f"clip-text@{fingerprint(text)}"
        self.width = config.projection_dim
        self.device = torch.device(device)
        self.tower: Any = tower.to(self.device)  # type: ignore[arg-type]
        length = config.max_position_embeddings
        self.tokens = load_tokenizer(folder, length)
        self.batches = BatchedEncoder(self.device, self.width, tokens_per_input=length)

    def embed(self, texts: Sequence[str]) -> Array:
        """Unit rows (n, d) float32."""
        return self.batches.embed(texts, self.tokens, self._encode)

    def _encode(self, tokens: dict[str, Tensor]) -> Tensor:
        on_device = {name: each.to(self.device) for name, each in tokens.items()}
        return normalize(self.tower(**on_device).text_embeds)


def load_tokenizer(folder: Path, length: int) -> Tokens:
    """The folder's tokenizer: texts to `input_ids` and `attention_mask`, each (b, length).

    Texts are truncated or padded to `length` tokens. Code that comes with a tokenizer is never run.
    Raises MegastyleError if there is no vocabulary, or none that can be read.
    """
    if not any(all((folder / name).exists() for name in names) for names in VOCABULARIES):
        raise MegastyleError(
            f"{folder} has no tokenizer",
            hint="give the complete folder of the model, with tokenizer.json",
        )
    try:
        encode = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises anything for a damaged file
        if (package := needed_package(error)) is not None:
            raise missing_module(package, f"the tokenizer of {folder}") from error
        raise MegastyleError(
            f"the tokenizer of {folder} cannot be read: {first_line(error)}",
            hint=download_again(folder),
        ) from error

    def tokens(texts: Sequence[str]) -> dict[str, Tensor]:
        encoded = encode(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
            return_attention_mask=True,
        )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    return tokens
