"""An environment that draws itself, in the browser: its pictures, as they come."""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mprl.motion.viewing.plots import Plots
from mprl.motion.viewing.stage import SPEEDS, Served

Step = Callable[[], tuple[NDArray[np.uint8], float, bool]]
_KEPT, _REDRAWN = 300, 0.25  # steps of curves; s between two drawings of them


class LivePictures(Served):
    """Pictures, served until `close`.

    Attributes:
        url: for the browser.

    Args:
        step: acts once and gives a picture (height, width, 3), the reward, and whether an episode ended; the first one acts too.
        rate: steps per second.
        name: of what is shown.
        port: on this machine; 0 for any that is free; by default 8080, or the next one that is.
    """

    def __init__(self, step: Step, rate: float, name: str, port: int | None = None) -> None:
        self._step, self._rate, self._name = step, rate, name
        super().__init__(port)
        gui = self._server.gui
        self._state = gui.add_markdown("")
        self._button, self.playing = gui.add_button("Pause", hint="play or pause"), True
        self._button.on_click(lambda _: self.play(not self.playing))
        self._speed = gui.add_dropdown("speed", tuple(SPEEDS), initial_value="1×")
        self._plots, self._return, self._steps, self._redrawn = Plots(gui, _KEPT / rate), 0.0, 0, 0.0
        self._history: deque[tuple[float, dict[str, float]]] = deque(maxlen=_KEPT)
        self.step()

    def play(self, on: bool) -> None:
        """Go on, or stand still."""
        self.playing, self._button.label = on, "Pause" if on else "Play"

    def step(self) -> None:
        """Act once, and show what comes of it."""
        picture, reward, ended = self._step()
        self._steps += 1
        self._return += reward
        self._history.append((self._steps / self._rate, {"reward, per step": reward}))
        self._server.scene.set_background_image(picture, format="jpeg", jpeg_quality=85)
        self._state.content = f"**{self._name}** · step {self._steps} · return {self._return:.2f}" + (
            " · the episode ended" if ended else ""
        )
        if ended:
            self._return = 0.0
        if clock.monotonic() - self._redrawn >= _REDRAWN:
            self._redrawn = clock.monotonic()
            self._plots.show(self._history)

    def run(self) -> None:
        """Go on until Ctrl-C."""
        while True:
            began = clock.monotonic()
            if self.playing:
                self.step()
            clock.sleep(max(0.0, 1 / (self._rate * SPEEDS[self._speed.value]) - (clock.monotonic() - began)))
