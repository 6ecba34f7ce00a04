"""What img2dataset downloads is read in each of its layouts, without a word about its statistics.

It runs for real, against a server on this machine. Not in the test environment, whose versions it
restricts: IMG2DATASET_PYTHON names the Python of an environment that has it.
"""

import functools
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from megastyle_cli.core.record import Failure
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.inputs import read_records
from tests.conftest import draw

PYTHON = os.environ.get("IMG2DATASET_PYTHON")
pytestmark = pytest.mark.skipif(not PYTHON, reason="IMG2DATASET_PYTHON is not set")


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[Path]:
    """A table of the addresses of four pictures, of which one does not exist, in two shards."""
    (tmp_path / "served").mkdir()
    for n in range(3):
        draw(n).save(tmp_path / "served" / f"{n}.png")
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket.settimeout(1)  # select(2): what is ready may be gone when it is accepted
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        rows = [f"{base}/{n}.png,frog {n}" for n in range(4)]
        (tmp_path / "urls.csv").write_text("\n".join(["url,caption", *rows]) + "\n")
        yield tmp_path / "urls.csv"
        server.shutdown()


@pytest.mark.parametrize(
    ("layout", "key"), [("files", "text"), ("webdataset", "text"), ("parquet", "caption")]
)
def test_every_layout_gives_its_pictures_with_their_captions(
    urls: Path, layout: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert PYTHON
    out = urls.parent / layout
    flags = {
        **{"url_list": urls, "input_format": "csv", "url_col": "url", "caption_col": "caption"},
        **{"output_format": layout, "output_folder": out, "image_size": 32},
        **{"processes_count": 1, "thread_count": 1, "number_sample_per_shard": 3},
    }
    command = [f"--{name}={value}" for name, value in flags.items()]
    code = "from img2dataset.main import main; main()"
    local = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    subprocess.run([PYTHON, "-c", code, *command], check=True, capture_output=True, env=local)

    records = list(read_records([str(out)]))

    assert not any(isinstance(record, Failure) for record in records)
    assert {record[key] for record in records} == {"frog 0", "frog 1", "frog 2"}  # type: ignore[index]
    assert [open_picture(record["file_name"]).size for record in records] == [(32, 32)] * 3  # type: ignore[index]
    assert "_stats" not in caplog.text and "left out: [" not in caplog.text
