"""One summary of a scored set: scores with intervals, what strangers and chance give, retrieval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.calibration import Bank, calibrate, with_strangers
from megastyle_cli.evaluate.diversity import diversity
from megastyle_cli.evaluate.metrics import (
    bootstrap_interval,
    query_scores,
    random_scores,
    retrieval_scores,
    spread,
)
from megastyle_cli.evaluate.score import STYLE, TEXT
from megastyle_cli.evaluate.scored_set import Gathered
from megastyle_cli.retrieve.nearest import Array

DIGITS = 4
QUERY = "query"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a summary is to tell besides the scores.

    `label` and `content_label` are the keys of a picture's style and content, `ks` the ranks of the
    measures. `split_key` is a key whose value "query" marks the pictures that ask, the others being
    their gallery; None: each asks and all others answer. `benchmark` is the hash of one.
    """

    label: str = "style_id"
    content_label: str = "content_id"
    ks: Sequence[int] = (1, 10)
    seed: int = 0
    diversity: bool = False
    split_key: str | None = None
    benchmark: str | None = None

    @property
    def told(self) -> Record:
        """As options of a run: what is not asked for is not mentioned."""
        told: Record = {
            "label": self.label,
            "content_label": self.content_label,
            "ks": list(self.ks),
            "seed": self.seed,
        }
        if self.diversity:
            told["diversity"] = True
        return told | ({"benchmark": self.benchmark} if self.benchmark else {})


def summarise(gathered: Gathered, asked: Asked, prompts: Array | None = None) -> Record:
    """What scored records say together; rounded to 4 digits, absent where there is nothing to say.

    `style_score`, `prototype_score`, `text_score`, `prompt_loss`, `content_similarity` are means
    over the records that carry one; `random_*` is what they score with strangers (references of
    other styles, prompts of other records). `csls_score` is the style score by CSLS.
    `spread_references` is the mean cosine of two references of one picture; `references` counts
    them all. `content_leakage` (ours) is content_similarity less that with strangers: how much of
    its own references' content a picture took along, told where the model of contents is at hand.
    Where at least two records share the value of the label: recall_k, map_csd_k (CSD's mean
    precision over ranks) and map_k (textbook average precision), leave-one-out, among pictures of
    other contents if every record has one; `random_*` is the exact expectation of a random ranking;
    `same_content_1` is the share of nearest neighbours with the query's content but another style;
    `spread_within` and `spread_between` are mean cosines. mpd, vendi and mnnd are those of
    `steps.diversity`, of the pictures and of `prompts` (p, d), the distinct ones. `*_low` and
    `*_high` bound 95 % by bootstrap over styles, of a single style over its pictures; a single
    picture has none.
    """
    told: Record = {"n": len(gathered.records)}
    told |= _style(gathered, asked.seed)
    told |= _text(gathered, asked.seed)
    told |= _content(gathered, asked.seed)
    vectors = gathered.vectors(STYLE)
    if gathered.has_groups:
        told |= _retrieval(vectors, gathered, asked)
        within, between = spread(vectors, gathered.groups)
        told |= {"spread_within": _short(within), "spread_between": _short(between)}
    if asked.diversity:
        told |= {name: _short(value) for name, value in diversity(vectors).items()}
    if asked.benchmark is not None:
        told["benchmark"] = asked.benchmark
    if prompts is not None:
        told["prompts"] = len(prompts)
        told |= {f"{name}_prompts": _short(v) for name, v in diversity(prompts).items()}
    return told


def _style(gathered: Gathered, seed: int) -> Record:
    scores = gathered.numbers("style_score")
    told = _mean("style_score", scores, gathered.styles, seed)
    compared = gathered.against(STYLE)
    if compared is not None:
        own = scores[compared.rows]
        calibrated = calibrate(compared.vectors, own, compared.keys, compared.styles, compared.bank)
        styles = [gathered.styles[row] for row in compared.rows]
        told |= _chance("style_score", calibrated.random)
        told |= _mean("csls_score", calibrated.csls, styles, seed)
        told |= _chance("csls_score", calibrated.random_csls)
        told |= _among_references(compared.bank)
    told |= _mean("prototype_score", gathered.numbers("prototype_score"), gathered.styles, seed)
    count = gathered.facts.get("references", len(set(compared.keys)) if compared else None)
    return told | ({"references": count} if count else {})


def _among_references(bank: Bank) -> Record:
    """What the references of one picture score with each other: as much as a score can mean."""
    rows = [row for row, key in enumerate(bank.keys) if key is not None]
    within, _ = spread(bank.vectors[rows], [str(bank.keys[row]) for row in rows])
    return {} if within is None else {"spread_references": _short(within)}


def _text(gathered: Gathered, seed: int) -> Record:
    scores = gathered.numbers("text_score")
    told = _mean("text_score", scores, gathered.styles, seed)
    prompted = [one for one in gathered.scored if one.prompt is not None]
    if prompted:
        texts = [str(one.record[gathered.models.text_key]) for one in prompted]
        prompts = dict(zip(texts, (one.prompt for one in prompted), strict=True))
        pictures = np.stack([one.looks[TEXT] for one in prompted])
        bank = np.stack([prompt for prompt in prompts.values() if prompt is not None])
        told |= _chance("text_score", with_strangers(pictures, texts, bank, list(prompts)))
    return told | _mean("prompt_loss", gathered.numbers("prompt_loss"), gathered.styles, seed)


def _content(gathered: Gathered, seed: int) -> Record:
    similar = gathered.numbers("content_similarity")
    told = _mean("content_similarity", similar, gathered.styles, seed)
    role = gathered.models.content_role
    compared = gathered.against(role) if role else None
    if compared is None:
        return told
    styles = [gathered.styles[row] for row in compared.rows]
    bank = compared.bank
    random = with_strangers(compared.vectors, compared.styles, bank.vectors, bank.styles)
    told |= _chance("content_similarity", random)
    return told | _mean("content_leakage", similar[compared.rows] - random, styles, seed)


def _retrieval(vectors: Array, gathered: Gathered, asked: Asked) -> Record:
    groups, records = gathered.groups, gathered.records
    told_contents = [str(r[asked.content_label]) for r in records if asked.content_label in r]
    contents = told_contents if len(told_contents) == len(records) else None
    asks = None
    if asked.split_key is not None:
        asks = np.array([record.get(asked.split_key) == QUERY for record in records])
    other_contents = contents is not None and asks is None
    queries, measures = query_scores(
        vectors, groups, contents, ks=asked.ks, exclude_same_content=other_contents, asks=asks
    )
    chance = random_scores(
        groups, contents, ks=asked.ks, exclude_same_content=other_contents, asks=asks
    )
    num_asking = len(groups) if asks is None else int(asks.sum())
    told: Record = {"styles": len(set(groups)), "other_contents_only": other_contents}
    told["split"] = (
        "leave-one-out" if asks is None else f"{num_asking} queries, {int((~asks).sum())} gallery"
    )
    for name, values in measures.items():
        told |= _mean(name, values, [groups[row] for row in queries], asked.seed)
        told[f"random_{name}"] = _short(chance[name])
    if other_contents:
        all_contents = retrieval_scores(
            vectors, groups, contents, ks=asked.ks, exclude_same_content=False
        )
        told["same_content_1"] = _short(all_contents["same_content_1"])
    return told | {"queries": len(queries), "without_positive": num_asking - len(queries)}


def _mean(name: str, values: Array, styles: Sequence[str], seed: int) -> Record:
    """The mean of the values that are there and its interval; nothing if none is.

    Of a single style pictures are drawn, since there are no styles to draw; one value has no
    interval.
    """
    by_style: dict[str, list[float]] = {}
    for style, value in zip(styles, values.tolist(), strict=True):
        if not np.isnan(value):
            by_style.setdefault(style, []).append(value)
    if not by_style:
        return {}
    drawn = list(by_style.values())
    if len(drawn) == 1:
        drawn = [[value] for value in drawn[0]]
    told: Record = {name: _short(float(np.nanmean(values)))}
    if len(drawn) == 1:
        return told
    low, high = bootstrap_interval(drawn, seed)
    return told | {f"{name}_low": _short(low), f"{name}_high": _short(high)}


def _chance(name: str, values: Array) -> Record:
    """What strangers give on average; nothing if nobody has any."""
    known = values[~np.isnan(values)]
    return {f"random_{name}": _short(float(known.mean()))} if len(known) else {}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS) + 0.0
