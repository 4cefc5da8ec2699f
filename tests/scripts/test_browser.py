"""What `mprl play` shows, in headless Chromium: that it is drawn, that it moves, and that a click pushes."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mprl.envs.imitation.played import COLOR, GHOST, Played

pytestmark = pytest.mark.slow

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
SIZE = 900, 600
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage",
    "--remote-debugging-port=0", "--remote-allow-origins=*", f"--window-size={SIZE[0]},{SIZE[1]}",
)  # fmt: skip
_PATIENCE = 60.0  # s


class Browser:
    """One page, driven through Chromium's debugging port, closed at the end of `with`.

    Skips the test where there is no Chromium, or no package `websockets` (viser's).
    """

    def __init__(self, url: str, folder: Path) -> None:
        if CHROMIUM is None:
            pytest.skip("no Chromium on this machine")
        client = pytest.importorskip("websockets.sync.client")
        self._process = subprocess.Popen(
            [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder / 'chromium'}", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._number, self.errors = 0, list[str]()
            self._socket = client.connect(self._target(folder / "chromium" / "DevToolsActivePort"), max_size=None, ping_interval=None)
            self("Runtime.enable")
            self("Emulation.setDeviceMetricsOverride", width=SIZE[0], height=SIZE[1], deviceScaleFactor=1, mobile=False)
        except BaseException:
            self._process.kill()
            raise

    def _target(self, file: Path) -> str:
        """Address of the page's own socket."""
        until(lambda: file.exists() and file.read_text().count("\n"))
        port = file.read_text().split()[0]

        def pages() -> list[dict[str, str]]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                return [target for target in json.load(answer) if target["type"] == "page"]

        until(pages)
        return pages()[0]["webSocketDebuggerUrl"]

    def __call__(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_PATIENCE))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            told = message.get("params", {})
            if message.get("method") == "Runtime.exceptionThrown" or told.get("type") == "error":
                self.errors.append(json.dumps(told)[:400])

    def js(self, expression: str) -> Any:
        """Value of an expression in the page."""
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self) -> NDArray[np.uint8]:
        """What is seen, (height, width, 3)."""
        data = base64.b64decode(self("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def click(self, x: float, y: float) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()


def until(holds: Any, seconds: float = _PATIENCE) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.1)


def like(picture: NDArray[np.uint8], color: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where a picture has the hue of a colour, however light it is, (height, width)."""

    def hue(colors: NDArray[Any]) -> NDArray[Any]:
        low, range_ = colors.min(-1, keepdims=True), np.ptp(colors, axis=-1, keepdims=True)
        return (colors - low) / np.maximum(range_, 1)

    close: NDArray[np.bool_] = np.abs(hue(picture) - hue(np.array(color))).max(-1) < 0.15
    return close & (np.ptp(picture, axis=-1) > 30)


def test_a_page_is_drawn_and_plays(mprl, tmp_path):
    assert mprl("play", "walk", "--seconds", "1", "--html", "walk.html").code == 0
    with Browser((tmp_path / "walk.html").as_uri(), tmp_path) as page:
        until(lambda: page.js("document.querySelectorAll('#curves p').length > 3"))
        picture = page.picture()
        middle = picture[:, 300:600]
        assert like(middle, COLOR).sum() > 1000  # a person in a picture of 900 x 600
        until(lambda: (like(page.picture()[:, 300:600], COLOR) != like(middle, COLOR)).sum() > 100)  # it moves
        assert not page.errors


def test_a_live_view_shows_character_and_reference_and_is_pushed_by_a_click(tmp_path):
    pytest.importorskip("viser")
    from mprl.envs.imitation.live import LivePlay

    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=1, num_threads=1, motion="squat")
    with LivePlay(Played(env.unwrapped, lambda observation: torch.zeros(1, 28)), "squat", port=0) as view:
        view._reference.value = "beside it"
        view.advance(0.1)
        with Browser(view.url, tmp_path) as page:

            def stage() -> NDArray[np.uint8]:
                return page.picture()[:, :570]  # beside the panel

            until(lambda: like(stage(), COLOR).sum() > 1000 and like(stage(), GHOST).sum() > 1000)
            assert "squat" in page.js("document.body.innerText")
            body = np.argwhere(like(stage(), COLOR))
            row, column = body[np.linalg.norm(body - np.median(body, axis=0), axis=1).argmin()]
            page.click(float(column), float(row))
            until(lambda: view._forces)
            assert not page.errors
        ((force, until_when),) = view._forces.values()
        assert np.linalg.norm(force) == pytest.approx(view._force.value) and until_when is not None
    env.close()
