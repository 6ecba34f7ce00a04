"""How much of a captioning server does our client keep busy, and how fast can it feed one?

The server is a process of its own that answers after a fixed time and holds a fixed number of
requests at once; what it could do at most is its capacity. All on one machine's cores, the server's
own work included.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.caption import best_s, decode_fully, make_pictures
from megastyle_cli.models.backend import Question
from megastyle_cli.models.chat_client import ServerAnswerer

ANSWER = "Three flat shapes overlap near a corner"
SMALL = 6000  # small pictures
BODY_BYTES = 50_000  # what a picture of 512 px takes, encoded


class Waiting(asyncio.Protocol):
    """One connection of the server: reads a request, waits, answers."""

    def __init__(self, latency_s: float, slots: asyncio.Semaphore) -> None:
        self.latency_s, self.slots = latency_s, slots
        self.received, self.wanted = bytearray(), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps where the answers go."""
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Collects a request; what it says does not matter, only where it ends."""
        self.received += data
        if not self.wanted:
            head, end, _ = bytes(self.received).partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.wanted = len(head) + 4 + int(length or 0)
        if len(self.received) >= self.wanted:
            self.received, self.wanted = bytearray(), 0
            self.answering = asyncio.ensure_future(self.answer())

    async def answer(self) -> None:
        """Holds a slot for the latency, then sends a completion that also lists the model."""
        async with self.slots:
            await asyncio.sleep(self.latency_s)
        told = {"choices": [{"message": {"content": ANSWER}}], "data": [{"id": "waiting"}]}
        body = json.dumps(told).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def serve(latency_s: float, num_slots: int) -> None:
    """Serves on a free port, which is the first line of the output."""
    slots = asyncio.Semaphore(num_slots)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Waiting(latency_s, slots), "127.0.0.1", 0, backlog=2048
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def server(latency_s: float, num_slots: int) -> Iterator[str]:
    """The address of such a server in another process."""
    command = [sys.executable, __file__, "serve", str(latency_s), str(num_slots)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.terminate()


def requests_alone(latency_s: float, num_slots: int, rounds: int) -> tuple[float, float]:
    """Requests a second without pictures to decode, and the client's CPU seconds for each."""
    with server(latency_s, num_slots) as url:
        answerer = ServerAnswerer(base_url=url, concurrency=num_slots)
        picture = Image.new("RGB", (16, 16))
        words = "a" * BODY_BYTES
        question = Question(picture=picture, instruction=words, request="", max_tokens=8)
        count = rounds * num_slots
        with ThreadPoolExecutor(num_slots) as pool:
            list(pool.map(answerer.answer, [[question]] * num_slots))  # connects
            started, worked = time.perf_counter(), time.process_time()
            answers = list(pool.map(answerer.answer, [[question]] * count))
            took, work = time.perf_counter() - started, time.process_time() - worked
        answerer.close()
    assert answers == [[ANSWER]] * count
    return count / took, work / count


def command_rate(folder: Path, latency_s: float, num_slots: int, few: int, many: int) -> float:
    """Pictures a second of the whole command, start-up taken off by a shorter run."""
    took = []
    with server(latency_s, num_slots) as url:
        for count in (few, many):
            flags = f"--kind content --concurrency {num_slots} --limit {count} -q --overwrite"
            target = f"-o {folder.parent}/out.jsonl --base-url {url}"
            command = [sys.executable, "-m", "megastyle_cli", "caption", str(folder)]
            command += f"{flags} {target}".split()
            took.append(best_s(partial(subprocess.run, command, check=True)))
    return (many - few) / (took[1] - took[0])


def main() -> None:
    """Prints requests a second and shares of the capacity, and what the client can feed."""
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, Pillow {version('pillow')}, {os.cpu_count()} cores\n")
    rate, cpu_s = requests_alone(0.2, 256, rounds=80)
    share = rate / (256 / 0.2)
    out(f"requests of 50 kB alone   {rate:6.0f}/s, {share:.1%} of 256 slots at 200 ms;")
    out(f" {cpu_s * 1000:.2f} ms CPU each\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "imgs")
        folder.mkdir()
        paths = make_pictures(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            plain = len(paths) / best_s(lambda: list(pool.map(decode_fully, paths)))
        out(f"plain Pillow decoding     {plain:6.1f} images/s from 1024 px JPEG\n")
        fed = command_rate(folder, 0.0, 256, len(paths) // 4, len(paths))
        out(f"caption, server of 0 ms   {fed:6.1f} images/s: what the client can feed\n")
        small = Path(scratch, "small")
        small.mkdir()
        for number in range(SMALL):  # so that the client is measured, and not the decoding
            Image.effect_noise((64, 64), 20 + number % 50).save(small / f"{number:05}.png")
        fed = command_rate(small, 0.0, 256, SMALL // 4, SMALL)
        out(f"64 px, server of 0 ms     {fed:6.1f} images/s: what the client can feed\n")
        for slots in (64, 128, 256):
            rate = command_rate(small, 0.2, slots, SMALL // 4, SMALL)
            share = rate / (slots / 0.2)
            of_feed = rate / min(fed, slots / 0.2)
            told = f"{rate:6.1f} images/s, {share:.1%} of capacity, {of_feed:.1%} of the possible"
            out(f"64 px, {slots:3d} slots, 200 ms  {told}\n")
            sys.stdout.flush()
        for slots in (8, 16):
            rate = command_rate(folder, 0.2, slots, len(paths) // 4, len(paths))
            share = rate / (slots / 0.2)
            told = f"{rate:6.1f} images/s, {share:.1%} of capacity"
            out(f"caption, {slots:2d} slots, 200 ms  {told}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(float(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
