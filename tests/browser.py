"""A real browser: headless Chromium, driven by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from websockets.sync.client import ClientConnection, connect

PATIENCE = 30.0
"""Seconds after which something that was waited for counts as never coming."""
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "Escape": 27}


class Busy(AssertionError):
    """The browser could not do it; while a page is being left, or is not there yet, it may a moment later."""


class Browser:
    """One tab. What went wrong on its pages, and what they asked for, is kept."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.problems: list[str] = []
        """Errors and warnings of the console, violations of the content security policy, exceptions."""
        self.requests: list[str] = []
        """Addresses that were asked for."""
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "Audits"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Ask the browser to do something. Returns its answer."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._connection.recv(timeout=PATIENCE))
            if told.get("id") == self._number:
                if "error" in told:
                    raise Busy(f"{method}: {told['error']}")
                return told["result"]
            self._note(told.get("method", ""), told.get("params", {}))

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            self.problems.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("warning", "error", "assert"):
            self.problems.append(str(told["args"]))
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(told["exceptionDetails"]))
        elif method == "Audits.issueAdded":
            self.problems.append(str(told["issue"]))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise Busy(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def until(self, script: str, what: str) -> Any:
        """Ask the page again and again; the first value that is true."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found = self.run(script)
            except Busy:
                if time.monotonic() > deadline:
                    raise
                found = None
            if found:
                return found
            assert time.monotonic() < deadline, f"in {PATIENCE} s: {what}\n{self.text}"
            time.sleep(0.02)

    def open(self, address: str) -> None:
        """Go to a page and wait until it is there."""
        self.run("window.former = true")
        self.call("Page.navigate", url=address)
        self.until("!window.former && document.readyState === 'complete'", f"{address} is loaded")

    def press(self, key: str, shift: bool = False) -> None:
        """Press and release a key."""
        code = {"windowsVirtualKeyCode": _KEYS[key], "key": key, "code": key, "modifiers": 8 if shift else 0}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def type(self, text: str) -> None:
        """Enter text where the focus is."""
        self.call("Input.insertText", text=text)

    def look(self, width: int, height: int, scheme: str = "light", motion: str = "no-preference") -> None:
        """A screen of this size, and what its user prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path) -> None:
        """Take a picture of what is on the screen, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def tree(self) -> list[tuple[str, str]]:
        """(role, name) of everything that a screen reader is told of, in order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]

    @property
    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.run("document.body.innerText"))


@contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """A browser with its own profile, without a network but this computer's."""
    with tempfile.TemporaryDirectory(prefix="dropline-browser-", ignore_cleanup_errors=True) as profile:
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-extensions",
            "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                with connect(_tab(Path(profile), process), max_size=None, proxy=None) as connection:
                    yield Browser(connection)
            finally:
                process.terminate()


def _tab(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    """Where the only tab is driven from."""
    port = _until(lambda: _port(profile), process).splitlines()[0]
    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
        tabs = json.load(answer)
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))


def _port(profile: Path) -> str:
    written = profile / "DevToolsActivePort"
    return written.read_text() if written.exists() else ""


def _until(condition: Callable[[], str], process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert process.poll() is None, "the browser ended"
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.02)
    return found
