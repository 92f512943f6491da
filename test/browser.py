"""A real headless browser for tests: Chromium spoken to over its debugging pipe, with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
WHY_NOT = "SKIPPED: no chromium on this machine, no page was opened in a browser (Debian: apt-get install chromium)"
PHONE, DESKTOP = 390, 1280
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)


class Page:
    """One tab. ``errors`` holds what its console said of warnings, errors and failed requests."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.errors: list[str] = []

    def call(self, method: str, **parameters: Any) -> Any:
        return self._browser.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Value of an expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 60.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"{expression} did not come true; console: {self.errors}"
            time.sleep(0.05)
        return value

    def sideways_px(self) -> float:
        """How far anything sticks out of the page's right edge; what scrolls by itself may."""
        return float(
            self.evaluate(
                "Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('body *')]"
                ".map((e) => e.getBoundingClientRect().right)) - document.documentElement.clientWidth"
            )
        )

    def screenshot(self, path: Path, whole: bool = True) -> None:
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """A running Chromium."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # Chromium reads from 3 and writes to 4, whatever the pipes are here.
        command = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number = b"", 0
        self._pages: dict[str, Page] = {}

    def call(self, method: str, session: str = "", **parameters: Any) -> Any:
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        os.write(self._write, json.dumps({**request, "sessionId": session} if session else request).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._on_event(message)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 20)
            assert data, "the browser is gone"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def _on_event(self, message: dict[str, Any]) -> None:
        page = self._pages.get(message.get("sessionId", ""))
        values = message.get("params", {})
        if page is None:
            return
        if message["method"] == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            page.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in values["args"]))
        elif message["method"] == "Runtime.exceptionThrown":
            page.errors.append(str(values["exceptionDetails"].get("exception", {}).get("description", values)))
        elif message["method"] == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            page.errors.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")

    def page(self, width: int = DESKTOP, height: int = 900) -> Page:
        """A new tab of a size; narrow ones are a phone's, with its viewport rules."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        return page

    def close(self) -> None:
        # Asked, it ends with all its helpers; terminated, these go on writing into the profile.
        try:
            self.call("Browser.close")
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile, closed afterwards."""
    running = Browser(profile)
    try:
        yield running
    finally:
        running.close()
