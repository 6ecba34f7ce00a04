"""Compiles ahead all that `pair` compiles, by making a few pairs (see `dedup.compile_ahead`)."""

import tempfile
from pathlib import Path

from megastyle_cli.compute.jit import MAX_PLAIN_RECORDS, choose_by_size
from megastyle_cli.core.record import Record
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import to_folder
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.pair.draws import draw_all
from megastyle_cli.pair.lines import pair_lines
from megastyle_cli.pair.parents import fingerprint, read_contents

_RECORD: Record = {
    "id": "a",
    "file_name": "b/c.png",
    "style": "ink",
    "content": "fox",
    "_megastyle": {"n": [1.5]},
}


def compile_pairs() -> None:
    """Compiles everything that the machine's cache lacks."""
    records = [{**_RECORD, "id": str(row)} for row in range(MAX_PLAIN_RECORDS + 1)]
    with tempfile.TemporaryDirectory(prefix="megastyle-") as folder, Spool() as spool:
        path = Path(folder, "a.jsonl")
        # a repetition, which has to be left out
        path.write_bytes(b"".join(map(dump_line, [*records, records[0]])))
        rename = to_folder(Path(folder))
        parents, pieces, _ = read_contents([str(path)], spool, rename)
        fingerprint(pieces.identities())
        choose_by_size(MAX_PLAIN_RECORDS + 1)
        draws = draw_all([str(row) for row in range(len(parents))], len(parents), 2, 0)
        for _ in pair_lines(parents, pieces, draws, metadata={}, rename=rename):
            pass


if __name__ == "__main__":
    compile_pairs()
