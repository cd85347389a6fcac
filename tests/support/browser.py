"""A real browser without a window, asked over its debugging port how a page lies on a screen."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
_START_SECONDS = 60.0

_OVERFLOWING = """
(() => {
  const wide = document.documentElement.clientWidth + 1;
  const rests = node => {
    for (let up = node; up; up = up.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(up).overflowX)) return true;
    return false;
  };
  const name = node => `${node.tagName}.${node.getAttribute("class") || ""}`;
  return [...document.body.querySelectorAll("*")].filter(node => {
    const box = node.getBoundingClientRect();
    if (!box.width) return false;
    const outside = (box.right > wide || box.left < -1) && !rests(node);
    const style = getComputedStyle(node);
    const cut = ["hidden", "clip"].includes(style.overflowX) && node.textContent.trim()
      && node.scrollWidth > node.clientWidth + 1;
    return outside || cut;
  }).map(name);
})()
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a page lies on a screen: its widths in pixels, what is out of reach, what was refused."""

    width: int
    scroll_width: int
    out_of_reach: tuple[str, ...]
    refused: tuple[str, ...]


def program() -> str:
    """Return the browser's program; the test skips where none is installed."""
    found = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(_PROGRAMS)})")
    return found


def layout_of(page: Path, *, width: int, height: int = 844) -> Layout:
    """Show a page on a phone of `width` pixels and measure it."""
    with _browser() as address:
        return asyncio.run(_measure(address, page, width, height))


@contextmanager
def _browser() -> Iterator[str]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program(), *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        try:
            yield _address(Path(profile) / "DevToolsActivePort", process)
        finally:
            process.terminate()
            process.wait(30)


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        lines = file.read_text("utf-8").split() if file.exists() else []
        if len(lines) == 2:
            return f"http://127.0.0.1:{lines[0]}"
        assert process.poll() is None, f"the browser ended with status {process.returncode}"
        time.sleep(0.05)
    raise AssertionError("the browser gave no debugging port in time")


async def _measure(address: str, page: Path, width: int, height: int) -> Layout:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/json/list") as answer:
            [target] = [x for x in await answer.json() if x["type"] == "page"]
        async with session.ws_connect(target["webSocketDebuggerUrl"]) as socket:
            tab = _Tab(socket)
            await tab.call("Log.enable")
            await tab.call("Page.enable")
            screen = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
            await tab.call("Emulation.setDeviceMetricsOverride", **screen)
            await tab.call("Page.navigate", url=page.resolve().as_uri())
            await tab.until("Page.loadEventFired")
            shown = await tab.evaluate("document.documentElement.clientWidth")
            scroll = await tab.evaluate("document.documentElement.scrollWidth")
            out = await tab.evaluate(_OVERFLOWING)
            return Layout(shown, scroll, tuple(out), tuple(tab.refused))


class _Tab:
    """One page, spoken to by the Chrome DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0
        self._seen: list[str] = []
        self.refused: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        self._number += 1
        mine = self._number
        await self._socket.send_json({"id": mine, "method": method, "params": parameters})
        while (message := await self._next()).get("id") != mine:
            pass
        assert "error" not in message, message
        result: Mapping[str, Any] = message["result"]
        return result

    async def until(self, event: str) -> None:
        while event not in self._seen:
            await self._next()

    async def evaluate(self, expression: str) -> Any:
        done = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return done["result"]["value"]

    async def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._socket.receive_str(timeout=60))
        self._seen.append(message.get("method", ""))
        if message.get("method") == "Log.entryAdded":
            self.refused.append(message["params"]["entry"]["text"])
        return message
