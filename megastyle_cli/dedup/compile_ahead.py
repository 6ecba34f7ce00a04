"""Compiles ahead all that `dedup` compiles, by working on a few texts.

`megastyle doctor --prepare` calls it, for an image as the user who may write the package's folder.
`compute.jit` says where machine code is kept.
"""

import sys
from pathlib import Path

import numpy as np

from megastyle_cli.compute.jit import MAX_PLAIN_RECORDS, cache_folder, choose_by_size
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.config import NearConfig
from megastyle_cli.dedup.exact import HashIndex, count_characters, normalize_block, text_keys
from megastyle_cli.dedup.near import AdjacencyList, band_buckets, merge_bands, select_greedily
from megastyle_cli.dedup.ngrams import mark_common
from megastyle_cli.dedup.signatures import SignatureStore, compute_signatures
from megastyle_cli.io.raw_jsonl.batches import read_annotated
from megastyle_cli.io.raw_jsonl.parser import parse_plain_lines
from megastyle_cli.io.temporary_files import Spool

_WORDS = ("blue", "green", "ochre", "blue", "gr\u00fcn")
_LINES = "".join(f'{{"id":"{i}","style":"{word} ink"}}\n' for i, word in enumerate(_WORDS))


def compile_ahead() -> Path | None:
    """Compiles everything that the machine's cache lacks; returns its folder.

    None if no folder can be written, and nothing is kept.
    """
    compile_second_half()
    parse_plain_lines(_LINES.encode(), "style")
    texts = StringArray.from_strings(f"{word} ink" for word in _WORDS)
    count_characters(texts)
    HashIndex().add(np.tile(text_keys(normalize_block(texts)), (5000, 1)))
    texts.take(np.arange(len(texts)))
    return cache_folder()


def compile_second_half() -> None:
    """Compiles what a run needs once it has read texts (`deduplicate.COMPILED_BESIDE`)."""
    choose_by_size(MAX_PLAIN_RECORDS + 1)
    texts = StringArray.from_strings(f"{word} ink" for word in _WORDS)
    store = SignatureStore(NearConfig())
    store.add_signatures(compute_signatures(texts, NearConfig()))
    store.add_records(np.arange(len(texts), dtype=np.int32), np.ones(len(texts), np.int32))
    buckets = merge_bands(map(band_buckets, store.band_keys()), len(texts))
    order = np.arange(len(texts), dtype=np.int32)
    none = AdjacencyList.empty(len(texts))
    ngrams = store.ngram_sets()
    mark_common(ngrams.hashes, len(texts), 0.2)
    select_greedily(order, ngrams, buckets, NearConfig(), none)
    line = StringArray.from_bytes([b'{"id":"a","style":"b"}\n'])
    with Spool() as spool:
        spool.extend(line, np.ones(1, np.bool_))
        list(read_annotated(spool, np.arange(1), "dedup", [{}]))


if __name__ == "__main__":
    compile_second_half() if "beside" in sys.argv else compile_ahead()
