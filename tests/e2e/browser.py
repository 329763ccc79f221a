"""A headless Chromium, spoken to in the DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# The protocol is spoken on file descriptors 3 and 4.
CONNECT = 'exec "$@" 3<&{} 4>&{}'


def program() -> str | None:
    """The browser of this machine, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One tab. Whatever goes wrong in it is collected in `errors`."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.errors: list[str] = []
        self._write = os.fdopen(to_browser, "wb", buffering=0)
        self._read = os.fdopen(from_browser, "rb")
        self._pending = b""
        self._next_id = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._write.close()
        self._read.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._next_id += 1
        message = {"id": self._next_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._next_id:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, file: Path, width: int = 1440, height: int = 1000, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=file.resolve().as_uri())
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """The whole page, not only the window."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True,
                          clip={**size, "scale": 1})  # fmt: skip
        file.write_bytes(base64.b64decode(image["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            received = self._read.read1(1 << 20)
            if not received:
                raise RuntimeError("the browser has ended")
            self._pending += received
        line, self._pending = self._pending.split(b"\0", 1)
        message = json.loads(line)
        event = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(event["exceptionDetails"]["exception"]["description"])
            case "Log.entryAdded" if event["entry"]["level"] == "error":
                self.errors.append(event["entry"]["text"])
            case "Runtime.consoleAPICalled" if event["type"] in ("error", "assert"):
                self.errors.append(str(event["args"]))
        return message


@contextmanager
def page(profile: Path) -> Iterator[Page]:
    """A fresh browser with a fresh profile in that folder."""
    into, to_browser = os.pipe()
    from_browser, out = os.pipe()
    # Its sandbox needs what containers and root do not have; the page is our own.
    arguments = [program(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                 "--disable-dev-shm-usage", "--remote-debugging-pipe", "--hide-scrollbars",
                 "--disable-background-networking", f"--user-data-dir={profile}"]  # fmt: skip
    process = subprocess.Popen(
        ["bash", "-c", CONNECT.format(into, out), "bash", *arguments],
        pass_fds=(into, out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=(profile / "browser.log").open("w"),
    )  # fmt: skip
    os.close(into)
    os.close(out)
    tab = None
    try:
        tab = Page(to_browser, from_browser)
        yield tab
    finally:
        if tab:
            tab.close()  # at the end of its pipe the browser ends
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
