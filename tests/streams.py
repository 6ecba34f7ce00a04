"""FIFOs of a test's own: read while a command writes them, or written while it reads them."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select


@contextmanager
def read_while(*fifos: Path) -> Iterator[Mapping[Path, bytearray]]:
    """Makes FIFOs and reads what is written to them inside the block; complete when it is left."""
    received: dict[Path, bytearray] = {}
    handles: dict[int, Path] = {}
    for path in fifos:
        os.mkfifo(path)
        handles[os.open(path, os.O_RDONLY | os.O_NONBLOCK)] = path  # waits for no writer
        received[path] = bytearray()
    ended = threading.Event()

    def read() -> None:
        is_last = False
        while not is_last:
            is_last = ended.is_set()
            for handle in select(list(handles), [], [], 0.005)[0]:
                received[handles[handle]] += os.read(handle, 1 << 16)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield received
    finally:
        ended.set()
        reader.join()
        for handle in handles:
            os.close(handle)


@contextmanager
def written_while(fifo: Path, content: bytes) -> Iterator[Path]:
    """Makes a FIFO that gives `content`, once, to what reads it inside the block."""
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(content,), daemon=True)
    writer.start()
    yield fifo
    writer.join()
