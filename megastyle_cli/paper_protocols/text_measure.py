"""CLIP's text score in the conventions that circulate: cosine, times the logit scale, CLIPScore."""

from typing import Any

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.calibration import similarity_to_negatives
from megastyle_cli.evaluate.score import STYLE
from megastyle_cli.evaluate.scored_set import ScoredSet
from megastyle_cli.paper_protocols.intervals import mean_of, rounded

CLIPSCORE_FACTOR = 2.5
CLIPSCORE_PREFIX = "A photo depicts "


def text_score(images: ScoredSet, model: Any, prompt_key: str, seed: int) -> Record:
    """The mean cosine of images and their prompts under `prompt_key`, times CLIP's logit scale.

    `cosine` is the plain mean, `clipscore` CLIPScore: 2.5 max(cosine, 0) with the prompt after
    "A photo depicts". `random` is the value with the prompts of other images. Raises MegastyleError
    if no image has a prompt. Source: Hessel et al. 2021 (arXiv 2104.08718) for `clipscore`, the
    tool clip-score, which StyleShot names, for the value.
    """
    rows = [row for row, record in enumerate(images.records) if _prompt(record, prompt_key)]
    if not rows:
        raise MegastyleError(
            f"no image has a prompt under {prompt_key!r}", hint="name its key by --prompt-key"
        )
    prompts = [str(images.records[row][prompt_key]) for row in rows]
    distinct = list(dict.fromkeys(prompts))
    number = {prompt: row for row, prompt in enumerate(distinct)}
    own = [number[prompt] for prompt in prompts]
    vectors = images.vectors(STYLE)[rows].astype(np.float64)
    plain = model.embed_texts(distinct)
    prefixed = model.embed_texts([CLIPSCORE_PREFIX + prompt for prompt in distinct])
    cosines = np.einsum("nd,nd->n", vectors, plain[own])
    depicted = np.einsum("nd,nd->n", vectors, prefixed[own])
    found = mean_of(cosines, [images.styles[row] for row in rows], seed, model.logit_scale)
    random = similarity_to_negatives(vectors, prompts, plain, distinct)
    if (known := random[~np.isnan(random)]).size:
        found["random"] = rounded(float(known.mean()) * model.logit_scale)
    return found | {
        "cosine": rounded(float(cosines.mean())),
        "logit_scale": rounded(model.logit_scale),
        "clipscore": rounded(float(CLIPSCORE_FACTOR * np.maximum(depicted, 0).mean())),
        "images": len(rows),
    }


def _prompt(record: Record, key: str) -> str:
    found = record.get(key)
    return found if isinstance(found, str) else ""
