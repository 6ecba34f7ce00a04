"""FLUX's modulation for all steps at once, so that its weights, a quarter of the model, can leave.

Shift, scale and gate of every block depend on the noise level, the guidance and the pooled words
alone, not on the picture. Once a LoRA is fused they are known for all steps before the first one:
63 MB a prompt in bfloat16, in place of the 6.4 GB of the 76 layers that make them. The same
function, up to rounding. Source: the spec of FLUX.1's blocks; ours.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.schedule import timestep_input

# s steps, b pictures, d model width (3072), o outputs of a layer (6d or 3d)

NORMS = ("norm1", "norm1_context", "norm")  # two in a double block, the last in a single


class PrecomputedModulation:
    """Takes the modulation layers out of a transformer, which then needs `compute` and `at`.

    Their weights stay where they are, on the CPU if taken out there, and visit the pictures'
    device one layer at a time.
    """

    def __init__(self, transformer: Transformer) -> None:
        blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
        norms = [getattr(block, name) for block in blocks for name in NORMS if hasattr(block, name)]
        self.layers = [norm.linear for norm in norms]
        self._embed = transformer.time_text_embed
        self._guided = transformer.config.guidance_embeds
        self._told = [_Told() for _ in norms]
        self._rows: list[Tensor] = []
        for norm, told in zip(norms, self._told, strict=True):
            norm.linear = told

    def compute(self, sigmas: Tensor, words: PromptEmbeddings, guidance: float) -> None:
        """All rows of all layers, (s, b, o) each, for the noise levels (s,) of a painting."""
        device = words.pooled.device
        silu = functional.silu(self._conditions(sigmas, words, guidance)).to(device)  # (s * b, d)
        self._rows = []
        for layer in self.layers:
            weight, bias = layer.weight.to(device), layer.bias.to(device)
            rows = functional.linear(silu, weight, bias)
            self._rows.append(rows.view(len(sigmas), -1, rows.shape[1]))

    def use_step(self, step: int) -> None:
        """Has the transformer see the rows of that step."""
        for told, rows in zip(self._told, self._rows, strict=True):
            told.rows = rows[step]

    def _conditions(self, sigmas: Tensor, words: PromptEmbeddings, guidance: float) -> Tensor:
        """What the transformer is told of level, guidance and words, (s * b, d), step by step."""
        b, dtype = len(words.pooled), words.pooled.dtype
        home = next(self._embed.parameters()).device  # offloaded parts may be on the CPU
        levels = timestep_input(sigmas, dtype).to(home).repeat_interleave(b) * 1000
        pooled = words.pooled.to(home).repeat(len(sigmas), 1)
        told = [torch.full_like(levels, guidance) * 1000] if self._guided else []
        conditions: Tensor = self._embed(levels, *told, pooled)
        return conditions


class _Told(nn.Module):
    """Stands where a modulation layer stood, and answers with the rows (b, o) it was told."""

    rows: Tensor

    def forward(self, _: Tensor) -> Tensor:
        return self.rows
