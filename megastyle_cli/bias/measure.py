"""The similarities of rendered pictures and nouns, by a model that compares images with texts."""

from collections.abc import Iterable, Sequence

import numpy as np

from megastyle_cli.bias.association import Similarities
from megastyle_cli.bias.nouns import TEMPLATE
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.protocols import TextImageModel
from megastyle_cli.retrieval.embed import Array, embed_records


def measure_similarities(
    records: Iterable[Record],
    nouns: Sequence[str],
    model: TextImageModel,
    reader: ImageReader,
    *,
    label: str,
    content_label: str,
) -> tuple[Similarities, list[Failure]]:
    """Cosines of all pictures and nouns; and the records without picture, style or content.

    `label` and `content_label` are the keys of style and content.
    """
    texts = model.embed_texts([TEMPLATE.format(noun) for noun in nouns])  # (m, d)
    values: list[Array] = []
    found: list[tuple[str, str]] = []
    failures: list[Failure] = []
    for result in embed_records(records, model, reader):
        if isinstance(result, Failure):
            failures.append(result)
            continue
        record, vector = result
        style, content = label_of(record, label), label_of(record, content_label)
        if style is None or content is None:
            key = label if style is None else content_label
            message = f"record {record['id']} has no {key}"
            failures.append(Failure(record, "missing_key", message, key))
            continue
        values.append(vector.astype(np.float64) @ texts.T)
        found.append((style, content))
    return Similarities(
        values=np.array(values).reshape(len(values), len(nouns)),
        styles=[style for style, _ in found],
        contents=[content for _, content in found],
    ), failures
