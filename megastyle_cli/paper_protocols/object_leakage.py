"""How often objects of a reference are seen in an image whose prompt does not mention them.

A vision-language model lists the objects of each reference, and is asked for each of them, twice,
about the image. Papers let a model grade leakage from 1 to 5; a count needs no scale. Source: ours.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from megastyle_cli.bias.image_questions import Asker
from megastyle_cli.bias.intrusion import is_mentioned
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record, record_seed
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.paper_protocols.intervals import mean_of, rounded

NUM_OBJECTS = 5  # of a reference that are asked for: the first that the model lists


def object_leakage(
    records: Sequence[Record], asker: Asker, *, label: str, prompt_key: str, seed: int
) -> Record:
    """The mean share of the objects of an image's reference that are seen in it.

    `random` is the same for the objects of a reference of another style, which a hash draws.
    Objects that the prompt mentions do not count; images without an object to ask for, or without a
    valid answer, are left out and counted. Raises MegastyleError if no record has a
    `style_file_name`.
    """
    images = [each for each in records if label_of(each, "style_file_name")]
    if not images:
        raise MegastyleError(
            "no image has a style_file_name", hint="vlm-leak is for images of megastyle transfer"
        )
    references = {label_of(each, label) or each["id"]: each["style_file_name"] for each in images}
    names = list(dict.fromkeys(each["style_file_name"] for each in images))
    listed = dict(zip(names, asker.objects(names), strict=True))
    own = [_things(each, listed[each["style_file_name"]], prompt_key) for each in images]
    strangers = [
        _things(
            each, listed[name] if (name := _stranger(each, references, label)) else [], prompt_key
        )
        for each in images
    ]
    both = [[*dict.fromkeys([*a, *b])] for a, b in zip(own, strangers, strict=True)]
    seen = asker.present([each["file_name"] for each in images], both)
    shares = np.array([_share(answers, things) for answers, things in zip(seen, own, strict=True)])
    others = np.array([_share(answers, t) for answers, t in zip(seen, strangers, strict=True)])
    styles = [label_of(each, label) or str(each["id"]) for each in images]
    found = mean_of(shares, styles, seed)
    if (known := others[~np.isnan(others)]).size:
        found["random"] = rounded(float(known.mean()))
    num_known = int((~np.isnan(shares)).sum())
    left_out = len(images) - num_known
    return found | {"images": num_known} | ({"left_out": left_out} if left_out else {})


def _things(record: Record, objects: Sequence[str] | None, prompt_key: str) -> list[str]:
    prompt = label_of(record, prompt_key) or ""
    return [name for name in objects or () if not is_mentioned(name, prompt)][:NUM_OBJECTS]


def _stranger(record: Record, references: Mapping[str, str], label: str) -> str | None:
    """The reference of another style that a hash draws for a record; None if there is none."""
    own = label_of(record, label) or record["id"]
    others = [
        style for style, name in references.items() if style != own and name != references[own]
    ]
    if not others:
        return None
    return references[min(others, key=lambda style: record_seed(0, f"{record['id']} {style}"))]


def _share(answers: Mapping[str, bool | None], things: Sequence[str]) -> float:
    known = [answer for thing in things if (answer := answers[thing]) is not None]
    return float(np.mean(known)) if known else float("nan")
