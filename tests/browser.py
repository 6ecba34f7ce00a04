"""A headless Chromium, driven through its own debugging pipe; nothing else to install.

`python -m tests.browser PAGE OUT.jpg [WIDTH HEIGHT [dark] [SCRIPT]]` photographs a page.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATH = next((path for name in NAMES if (path := shutil.which(name))), None)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--remote-debugging-pipe", "about:blank"),
)
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Escape": 27, "Enter": 13, "Tab": 9}


class Tab:
    """One page of the browser, with what it logged and what it asked the network for."""

    def __init__(self, send: int, receive: Any) -> None:
        self._send, self._receive = send, receive
        self._number, self._session = 0, None
        self.is_loaded = False
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The browser's answer to one command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, page: Path, width: int, height: int, *, dark: bool = False) -> None:
        """Show a file in a window of this size and color scheme, until it is loaded."""
        self.problems.clear()
        self.requests.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.is_loaded = False
        error = self.call("Page.navigate", url=page.resolve().as_uri()).get("errorText")
        assert not error, error
        while not self.is_loaded:
            self._read()

    def run(self, script: str) -> Any:
        """The value of a script in the page, once its promise is kept."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        how = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key, 0)}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **how)
        self.call("Input.dispatchKeyEvent", type="keyUp", **how)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of the first such element."""
        x, y = self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            f" return [b.x + b.width / 2, b.y + b.height / 2] }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def photograph(self, path: Path) -> None:
        """Save what the window shows, once its pictures are there, as PNG or JPEG."""
        self.run(
            "Promise.all([...document.images].map(i => i.decode().catch(() => {})))"
            ".then(() => new Promise(requestAnimationFrame))"
        )
        kind = {"format": "png"} if path.suffix == ".png" else {"format": "jpeg", "quality": 80}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **kind)["data"]))

    def _read(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self._receive.read(1)) != b"\0":
            assert byte, "the browser ended"
            content += byte
        message = json.loads(content)
        details = message.get("params", {})
        if message.get("method") == "Page.loadEventFired":
            self.is_loaded = True
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(details["exceptionDetails"]))
        if message.get("method") == "Runtime.consoleAPICalled":
            self.problems.append(str(details["args"]))
        if message.get("method") == "Log.entryAdded":
            self.problems.append(details["entry"]["text"])
        if message.get("method") == "Network.requestWillBeSent":
            url = details["request"]["url"]
            if not url.startswith(("data:", "file:", "about:", "blob:")):
                self.requests.append(url)
        return message


@contextmanager
def browser():
    """A Tab of a browser of its own, which is gone afterwards."""
    assert PATH
    to_read, send = os.pipe()
    receive, to_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            # descriptors 3 and 4 are the browser's ends; `to_write`, the last, is above both
            [
                *("bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash"),
                *(PATH, f"--user-data-dir={profile}", *QUIET),
            ],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            with os.fdopen(receive, "rb") as answers:
                yield Tab(send, answers)
        finally:
            os.close(send)
            process.terminate()
            process.wait()


if __name__ == "__main__":
    page, out, *rest = sys.argv[1:]
    width, height = (int(each) for each in rest[:2] or (1440, 900))
    with browser() as tab:
        tab.open(Path(page), width, height, dark="dark" in rest)
        if rest[2:] and rest[-1] != "dark":
            tab.run(rest[-1])
        tab.photograph(Path(out))
