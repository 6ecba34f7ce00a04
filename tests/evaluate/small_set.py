"""A small set to evaluate: an image is a row number, and its vector is that row."""

import numpy as np

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.evaluate.references import OwnReferences, load_references
from megastyle_cli.evaluate.score import ScoringModels
from megastyle_cli.evaluate.scored_set import ScoredSet
from megastyle_cli.io.images import ImageReader
from tests.retrieval.vectors import unit_rows

VECTORS = unit_rows(60, 8, seed=5)
CONTENTS = unit_rows(60, 6, seed=6)


class Rows:
    """An encoder of images and texts that gives the rows of an array."""

    def __init__(self, vectors, name="rows@1"):
        self.vectors, self.name = vectors, name

    def embed(self, images):
        return self.vectors[np.array(images)]

    def embed_texts(self, texts):
        return self.vectors[[len(text) for text in texts]]


class RowNumbers(ImageReader):
    """A reader whose images are row numbers; `names` are all names that were read."""

    def __init__(self):
        super().__init__()
        self.names = []

    def read(self, names):
        self.names += names
        return [int(n) if n.isdigit() else BadRecord("bad_image", f"{n} is damaged") for n in names]


def models(**more):
    reader = RowNumbers()
    return ScoringModels(style=Rows(VECTORS), reader=reader, full_size_reader=reader, **more)


def record(number, **more):
    return {"id": f"r{number}", "file_name": str(number), **more}


def styled(count=12, styles=3):
    """Records of `styles` styles in turn, each with a reference of its style (rows from 50 on)."""
    return [
        record(
            i,
            style_id=f"s{i % styles}",
            content_id=f"c{i // styles}",
            style_file_name=str(50 + i % styles),
        )
        for i in range(count)
    ]


def scored_set(records, given=(), others=(), label="style_id", pair_by=None, **more):
    """The records scored; against the images `given`, if there are any."""
    having = models(**more)
    extractors = having.reference_extractors
    references = (
        load_references(given, extractors, pair_by=pair_by, others=others)
        if given
        else OwnReferences(extractors)
    )
    found = ScoredSet(label, having, references)
    assert list(found.add(records)) == []
    return found
