"""A headless Chromium, spoken to by its DevTools protocol: what is on a page, what its console complains of, a picture.

aiohttp comes with Ray's dashboard; nothing is installed for this.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DEADLINE_S = 240.0  # of a machine with other work; pytest's own limit is behind it
LOOK_EVERY_S = 0.1


def find_chromium() -> str | None:
    """Its program on this machine, if there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass(frozen=True)
class Seen:
    """A page as a person finds it."""

    text: str  # all that can be read, in the order of the document
    complaints: tuple[str, ...]  # the console's errors, exceptions, what could not be fetched
    width: int  # that the page takes; more than the window's where one has to scroll sideways
    picture: bytes  # PNG


class Chromium:
    """One process; each look is a tab of its own, so no two looks share anything but the profile's folder."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder = folder
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        with (folder / "chromium.log").open("w") as log:
            self.process = subprocess.Popen(
                [program, *flags, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
                stdout=log,
                stderr=log,
            )
        port = folder / "DevToolsActivePort"
        deadline = time.monotonic() + DEADLINE_S
        while not (port.exists() and port.read_text().count("\n")):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError((folder / "chromium.log").read_text())
            time.sleep(LOOK_EVERY_S)
        self.home = f"http://127.0.0.1:{port.read_text().splitlines()[0]}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()

    def look(self, address: str, *, until: Sequence[str], width: int = 1280, height: int = 900) -> Seen:
        """Open an address and wait until all of these words stand there; at the deadline what is there is returned."""
        return asyncio.run(self._look(address, until, width, height))

    async def _look(self, address: str, until: Sequence[str], width: int, height: int) -> Seen:
        async with aiohttp.ClientSession() as http:
            async with http.put(f"{self.home}/json/new?about:blank") as answer:
                tab = await answer.json()
            async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = _Tab(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.ask(f"{domain}.enable")
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
                await page.ask("Emulation.setDeviceMetricsOverride", **size)
                await page.ask("Page.navigate", url=address)
                deadline = time.monotonic() + DEADLINE_S
                text = ""
                while not all(word in text for word in until) and time.monotonic() < deadline:
                    await asyncio.sleep(LOOK_EVERY_S)
                    text = await page.value("document.body?.innerText") or ""
                wide = await page.value("document.documentElement.scrollWidth")
                picture = await page.ask("Page.captureScreenshot", format="png")
            async with http.get(f"{self.home}/json/close/{tab['id']}"):
                pass
        return Seen(text, tuple(page.complaints), wide, base64.b64decode(picture["data"]))


class _Tab:
    """Questions and answers over one tab's socket; what the page complains of in between is kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.complaints, self._numbers = socket, list[str](), itertools.count(1)

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while True:
            said = await self.socket.receive_json()
            if said.get("id") == number:
                assert "result" in said, said
                found: dict[str, Any] = said["result"]
                return found
            self._hear(said)

    async def value(self, expression: str) -> Any:
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def _hear(self, said: dict[str, Any]) -> None:
        about = said.get("params", {})
        match said.get("method"):
            case "Runtime.exceptionThrown":
                details = about["exceptionDetails"]
                self.complaints.append(str(details.get("exception", {}).get("description", details["text"])))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "assert"):
                words = (str(one.get("value", one.get("description", ""))) for one in about["args"])
                self.complaints.append(" ".join(words))
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                self.complaints.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
