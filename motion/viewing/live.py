"""Clips in the browser, live: a server of the package `viser` on this machine (the extra `viewer`).

with LiveView(scene_of([load("walk")])) as view:
    print(view.url)
    view.run()  # until Ctrl-C
"""

from __future__ import annotations

import time as clock

from mprl.motion.viewing.scene import Scene
from mprl.motion.viewing.stage import RATE, SPEEDS, Stage


class LiveView(Stage):
    """A scene, served until `close`.

    Attributes:
        url: for the browser.
        time: of what is shown, s.

    Args:
        scene: what is shown.
        port: on this machine; 0 for any that is free; by default 8080, or the next one that is.

    Raises:
        MissingPackageError: viser is not installed.
        SettingError: another program has the port.
    """

    def __init__(self, scene: Scene, port: int | None = None) -> None:
        self.scene, self.time, self._stale = scene, 0.0, True
        super().__init__(scene.actors, scene.reach, port)
        self.show(0.0)

    def _panel(self) -> None:
        gui = self._server.gui
        self._play = gui.add_button("Pause", hint="play or pause")
        self._slider = gui.add_slider("time", min=0.0, max=max(0.01, round(self.scene.duration, 2)), step=0.01, initial_value=0.0)
        self._speed = gui.add_dropdown("speed", tuple(SPEEDS), initial_value="1×")
        self._loop = gui.add_checkbox("loop", True)
        self._follow = gui.add_checkbox("follow", True)
        self._switches()
        self.playing = True
        self._play.on_click(lambda _: self.play(not self.playing))
        self._slider.on_update(lambda event: self._seek() if event.client is not None else None)
        self._follow.on_update(lambda _: self._switch())

    def play(self, on: bool) -> None:
        """Go on, or stand still."""
        self.playing = on
        self._play.label = "Pause" if on else "Play"
        if on and self.time >= self.scene.duration:
            self.time = 0.0

    def _seek(self) -> None:
        self.play(False)
        self.time, self._stale = float(self._slider.value), True

    def _switch(self) -> None:
        super()._switch()
        self._stale = True

    def show(self, time: float) -> None:
        """Put everything where it is at a time, s."""
        self.time, self._stale = time, False
        with self._server.atomic():
            self.look_at(self.scene.focus(time if self._follow.value else 0.0))
            for number, actor in enumerate(self.scene.actors):
                positions, rotations = (values[0] for values in actor.sample([time]))
                self.put(number, positions, rotations)
            self._slider.value = min(round(time, 2), self._slider.max)

    def run(self) -> None:
        """Play until Ctrl-C."""
        last = clock.monotonic()
        while True:
            now = clock.monotonic()
            passed, last = now - last, now
            if self.playing:
                self.advance(passed * SPEEDS[self._speed.value])
            elif self._stale:
                self.show(self.time)
            clock.sleep(max(0.0, 1 / RATE - (clock.monotonic() - now)))

    def advance(self, seconds: float) -> None:
        """Let time pass; at the end, begin again or stop."""
        time = self.time + seconds
        if time >= self.scene.duration:
            if self._loop.value:
                time %= self.scene.duration
            else:
                time = self.scene.duration
                self.play(False)
        self.show(time)
