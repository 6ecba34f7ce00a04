"""A tiny saved index for tests: vectors of three dimensions and drawn names."""

import numpy as np

from megastyle_cli.retrieval.index_writer import IndexWriter, encode_row


class ThreeColors:
    """An encoder of three dimensions."""

    name = "some@1234"

    def embed(self, images):
        return np.eye(1, 3, dtype=np.float32).repeat(len(images), axis=0)


def row(number):
    return np.eye(3, dtype=np.float32)[number % 3]


def record(number):
    name = f"id{number}"
    return {"id": name, "file_name": f"../{number}.png", "vector": row(number), "picture_id": name}


def open_writer(folder):
    writer = IndexWriter(folder)
    writer.open()
    writer.set_encoder(ThreeColors(), {"backend": "some"})
    return writer


def add(folder, numbers, *, commit=True):
    writer = open_writer(folder)
    for number in numbers:
        writer.write(encode_row(record(number)))
    if commit:
        writer.commit()
    writer.close()
