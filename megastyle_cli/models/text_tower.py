"""The text tower of a whole SigLIP: prompts to unit vectors in the space of its image tower."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, SiglipConfig, SiglipTextModel

from megastyle_cli.errors import MegastyleError
from megastyle_cli.models.tower import folder_weights

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

PREFIX = "text_model."
BATCH = 256


class SiglipTextEmbedder:
    """Texts to unit rows (n, d), lower-cased and padded to the tower's length, as in its training.

    `scale` and `bias` are the pair's own, learned with it: logits are scale <image, text> + bias.
    A text of more tokens than the tower has places (64) is cut. `name` ends with a hash of the
    weights. Raises MegastyleError if the folder is not a whole SigLIP to the last tensor.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        config: Any = SiglipConfig.from_pretrained(folder).text_config
        weights = folder_weights(folder)
        text = {n.removeprefix(PREFIX): w for n, w in weights.items() if n.startswith(PREFIX)}
        with torch.device("meta"):
            wanted = SiglipTextModel(config).state_dict()
        fit = [n for n, w in wanted.items() if n in text and text[n].shape == w.shape]
        if len(fit) < len(wanted) or len(text) > len(wanted) or "logit_scale" not in weights:
            raise MegastyleError(
                f"{folder} fits {len(fit)} of {len(wanted)} tensors of its text tower",
                hint="give a whole SigLIP, or --text-weight 0",
            )
        self.scale = float(weights["logit_scale"].float().exp())
        self.bias = float(weights["logit_bias"].float())
        self.length = config.max_position_embeddings
        self.device = device
        self.tower: Any = SiglipTextModel.from_pretrained(
            None, config=config, state_dict={name: w.float() for name, w in text.items()}
        ).to(device)  # type: ignore[arg-type]
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        digest = hashlib.sha256()
        for name in sorted(text):
            digest.update(text[name].contiguous().view(torch.uint8).numpy().tobytes())
        self.name = f"siglip-text@{digest.hexdigest()[:16]}"

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Array:
        """Unit rows (n, d) float32."""
        rows = [np.empty((0, self.tower.config.projection_size), np.float32)]
        for start in range(0, len(texts), BATCH):
            tokens = self.tokenizer(
                [text.lower() for text in texts[start : start + BATCH]],
                padding="max_length",
                truncation=True,
                max_length=self.length,
                return_tensors="pt",
            )
            pooled = self.tower(input_ids=tokens["input_ids"].to(self.device)).pooler_output
            rows.append(torch.nn.functional.normalize(pooled).cpu().numpy())
        return np.concatenate(rows)
