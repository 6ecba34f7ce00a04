"""How much of a captioning server's capacity the client uses, and how fast it can feed a server.

The server is a separate process that answers after a fixed latency and processes a fixed number of
requests at a time, which gives its capacity. Both share the cores of one machine, so the CPU time
of each is reported.
"""

import json
import os
import platform
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.caption import ROUNDS, best_s, decode_fully, make_pictures
from megastyle_cli.models.protocols import VisionPrompt
from megastyle_cli.models.vlm.openai_server import ChatClient

ANSWER = "Three flat shapes overlap near a corner"
# a completion that also lists the model
BODY = json.dumps(
    {"choices": [{"message": {"content": ANSWER}}], "data": [{"id": "waiting"}]}
).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
SMALL = 6000  # number of small images
BODY_BYTES = 50_000  # an encoded image of 512 px


@dataclass
class Connection:
    """One client: the head of the current request, and the bytes missing from its body."""

    socket: socket.socket
    head: bytes = b""
    missing: int = 0

    def is_complete(self, received: memoryview) -> bool:
        """Whether the request is complete after these bytes. Its content is ignored."""
        if self.missing:
            self.missing -= len(received)
            return self.missing == 0
        self.head += bytes(received)
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            return False
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        self.head, self.missing = b"", int(length or 0) - len(body)
        return self.missing == 0


def serve(latency_s: float, num_slots: int) -> None:
    """Serves on a free port, which it prints, from one thread and with little CPU time."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.setblocking(False)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, Connection] = {}
    buffer = memoryview(bytearray(1 << 18))
    queued: deque[Connection] = deque()  # waiting for a slot
    held: deque[tuple[float, Connection]] = deque()  # with the time of the answer, ascending
    while True:
        wait_s = max(0.0, held[0][0] - time.monotonic()) if held else -1
        for number, _ in poll.poll(wait_s):
            if number == listener.fileno():
                accepted, _ = listener.accept()
                clients[accepted.fileno()] = Connection(accepted)
                poll.register(accepted, select.EPOLLIN)
                continue
            client = clients[number]
            size = client.socket.recv_into(buffer)
            if size == 0:
                poll.unregister(client.socket)
                clients.pop(number).socket.close()
            elif client.is_complete(buffer[:size]):
                queued.append(client)
        now = time.monotonic()
        while held and held[0][0] <= now:
            held.popleft()[1].socket.sendall(RESPONSE)
        while queued and len(held) < num_slots:
            held.append((now + latency_s, queued.popleft()))


@dataclass
class Serving:
    """A server in another process."""

    url: str
    process: int

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(latency_s: float, num_slots: int) -> Iterator[Serving]:
    """A server in another process, stopped at the end."""
    command = [sys.executable, __file__, "serve", str(latency_s), str(num_slots)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        yield Serving(url, process.pid)
        process.terminate()


def requests_alone(latency_s: float, num_slots: int, rounds: int) -> tuple[float, float, float]:
    """Requests per second without decoding; CPU seconds per request of client and server."""
    with server(latency_s, num_slots) as served:
        chat = ChatClient(base_url=served.url, concurrency=num_slots)
        picture = Image.new("RGB", (16, 16))
        words = "a" * BODY_BYTES
        prompt = VisionPrompt(image=picture, instruction=words, question="", max_tokens=8)
        count = rounds * num_slots
        with ThreadPoolExecutor(num_slots) as pool:
            list(pool.map(chat.generate, [[prompt]] * num_slots))  # connects
            started, ours, theirs = time.perf_counter(), time.process_time(), served.cpu_s()
            answers = list(pool.map(chat.generate, [[prompt]] * count))
            took = time.perf_counter() - started
            ours, theirs = time.process_time() - ours, served.cpu_s() - theirs
        chat.close()
    assert answers == [[ANSWER]] * count
    return count / took, ours / count, theirs / count


def command_rate(
    folder: Path, latency_s: float, num_slots: int, few: int, many: int
) -> tuple[float, float, float]:
    """Images per second of the command without start-up, which a shorter run measures.

    Also the CPU seconds per image of the command and of the server.
    """
    took: list[float] = []
    ours: list[float] = []
    theirs: list[float] = []
    with server(latency_s, num_slots) as served:
        for count in (few, many):
            flags = f"--kind content --concurrency {num_slots} --limit {count} -q --overwrite"
            target = f"-o {folder.parent}/out.jsonl --base-url {served.url}"
            command = [sys.executable, "-m", "megastyle_cli", "caption", str(folder)]
            command += f"{flags} {target}".split()
            worked, answered = children_cpu_s(), served.cpu_s()
            took.append(best_s(partial(subprocess.run, command, check=True)))
            ours.append((children_cpu_s() - worked) / ROUNDS)
            theirs.append((served.cpu_s() - answered) / ROUNDS)
    more = many - few
    return more / (took[1] - took[0]), (ours[1] - ours[0]) / more, (theirs[1] - theirs[0]) / more


def children_cpu_s() -> float:
    """CPU seconds of the commands that have finished."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def format_cpu(ours_s: float, theirs_s: float) -> str:
    """The CPU time of client and server as text."""
    return f"CPU each: client {ours_s * 1000:.2f} ms, server {theirs_s * 1000:.2f} ms"


def main() -> None:
    """Prints requests per second, shares of the capacity, and the most the client can feed."""
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, Pillow {version('pillow')}, {os.cpu_count()} cores\n")
    rate, *cpu_s = requests_alone(0.2, 256, rounds=80)
    share = rate / (256 / 0.2)
    out(f"requests of 50 kB alone   {rate:6.0f}/s, {share:.1%} of 256 slots at 200 ms;")
    out(f" {format_cpu(*cpu_s)}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "imgs")
        folder.mkdir()
        paths = make_pictures(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            plain = len(paths) / best_s(lambda: list(pool.map(decode_fully, paths)))
        out(f"plain Pillow decoding     {plain:6.1f} images/s from 1024 px JPEG\n")
        fed, *cpu_s = command_rate(folder, 0.0, 256, len(paths) // 4, len(paths))
        out(f"1024 px, server of 0 ms   {fed:6.1f} images/s: what the client can feed;")
        out(f" {format_cpu(*cpu_s)}\n")
        small = Path(scratch, "small")
        small.mkdir()
        for number in range(SMALL):  # small: decoding must not dominate
            Image.effect_noise((64, 64), 20 + number % 50).save(small / f"{number:05}.png")
        fed, *cpu_s = command_rate(small, 0.0, 256, SMALL // 4, SMALL)
        out(f"64 px, server of 0 ms     {fed:6.1f} images/s: what the client can feed;")
        out(f" {format_cpu(*cpu_s)}\n")
        for files, few, many, name, slots in (
            *((small, SMALL // 4, SMALL, "64 px", slots) for slots in (64, 128, 256)),
            *((folder, len(paths) // 4, len(paths), "1024 px", slots) for slots in (8, 16)),
        ):
            rate, *cpu_s = command_rate(files, 0.2, slots, few, many)
            share = rate / (slots / 0.2)
            out(f"{name}, {slots:3d} slots, 200 ms  {rate:6.1f} images/s, {share:.1%} of capacity;")
            out(f" {format_cpu(*cpu_s)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(float(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
