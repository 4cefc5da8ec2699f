"""A policy at play in the browser, live: to be watched beside its reference, slowed down, pushed with the mouse, and read as curves.

with LivePlay(Played(envs, policy)) as view:
    print(view.url)
    view.run()  # until Ctrl-C
"""

from __future__ import annotations

import threading
import time as clock
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.envs.imitation.played import COLOR, GHOST, LINGER, Played, ground_actors, marker_actors, marker_pose
from mprl.motion.viewing.plots import Plots
from mprl.motion.viewing.scene import Actor, head_room
from mprl.motion.viewing.stage import RATE, SPEEDS, Stage

Array = NDArray[np.float64]
_OVER, _BESIDE, _HIDDEN = "over it", "beside it", "hidden"
_ASIDE = np.array([0.0, 1.1, 0.0])  # m
_SHOVE = 0.2  # s that a click pushes
_PULL = 400.0  # N for each metre that the mouse pulls
_MOST = 600.0  # N
_KEPT = 10.0  # s of curves
_SMOOTH = 0.6  # s of way that the camera goes by
_REDRAWN = 0.25  # s between two drawings of the curves


class LivePlay(Stage):
    """A world that goes on in real time, served until `close`.

    A click on the character shoves it away from who looks; dragging pulls it by where it was taken.

    Attributes:
        url: for the browser.
        playing: whether time passes.
        moment: what is shown.

    Args:
        played: the world and who acts in it.
        name: of the character, in the picture.
        port: on this machine; 0 for any that is free; by default 8080, or the next one that is.

    Raises:
        MissingPackageError: viser is not installed.
        SettingError: another program has the port.
    """

    def __init__(self, played: Played, name: str, port: int | None = None) -> None:
        self.played, self.playing, self.moment = played, True, played.reset()
        self._ahead, self._time, self._ended, self._over = 0.0, 0.0, "", 0.0
        self._lock, self._pushed, self._held = threading.Lock(), set[int](), 0
        self._forces: dict[int, tuple[Array, float | None]] = {}  # of a part: N, and until when it acts, s, or None while it is held
        self._history: deque[tuple[float, dict[str, float]]] = deque(maxlen=round(_KEPT / played.control_step))
        self._parts = self._last = self._pose()
        figures = [self._figure(name, COLOR, 0, "character"), self._figure("reference", GHOST, 1, "ghost")]
        self._markers = marker_actors(1.0, [self.moment.markers] * 2)
        positions = self._parts[0][0]
        self._way = deque([positions[0, :2]], maxlen=max(2, round(_SMOOTH / played.control_step)))
        top = positions[:, 2].max() + figures[0].head_room
        super().__init__([*figures, *self._markers, *ground_actors(played)], np.array([1.0, 1.2, top]), port)
        for mesh, handle in self._meshes[0]:
            del mesh
            handle.on_click(self._on_click)
            handle.on_drag("left")(self._on_drag)
        self._redrawn = 0.0
        self.show()

    def _figure(self, name: str, color: Any, which: int, role: str) -> Actor:
        puppet, (positions, rotations) = self.played.puppet, self._parts[which]
        meshes = puppet.meshes if role == "character" else puppet.coloured(color).meshes
        places, turns = np.stack([positions] * 2), np.stack([rotations] * 2)
        return Actor(name, 1.0, False, np.zeros(3), places, turns, meshes, head_room(meshes[0], places, turns), role)

    def _pose(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """The parts of the character and of the reference."""
        positions, rotations = self.played.puppet.poses(np.stack((self.moment.qpos, self.moment.ghost)))
        return (positions[0], rotations[0]), (positions[1], rotations[1])

    # --- the panel --------------------------------------------------------------------------------------------------------------

    def _panel(self) -> None:
        gui = self._server.gui
        self._state = gui.add_markdown("")
        self._play = gui.add_button("Pause", hint="play or pause")
        self._once, again = gui.add_button("One step", disabled=True), gui.add_button("Begin again")
        self._speed = gui.add_dropdown("speed", tuple(SPEEDS), initial_value="1×")
        self._reference = gui.add_dropdown("reference", (_OVER, _BESIDE, _HIDDEN), initial_value=_OVER)
        self._follow = gui.add_checkbox("follow", True)
        self._force = gui.add_slider("shove, N", min=0, max=int(_MOST), step=10, initial_value=100, hint="of a click on the body")
        gui.add_markdown("*Click the body to shove it, drag it to pull it.*")
        self._switches()
        self._plots = Plots(gui, _KEPT)
        self._play.on_click(lambda _: self.play(not self.playing))
        self._once.on_click(lambda _: self._ask("step"))
        again.on_click(lambda _: self._ask("reset"))
        self._reference.on_update(lambda _: self._switch())
        self._asked: list[str] = []

    def _ask(self, what: str) -> None:
        with self._lock:
            self._asked.append(what)

    def play(self, on: bool) -> None:
        """Go on, or stand still."""
        self.playing, self._play.label, self._once.disabled = on, "Pause" if on else "Play", on

    def _switch(self) -> None:
        super()._switch()
        if self._reference.value == _HIDDEN:
            for _, handle in self._meshes[1]:
                handle.visible = False
        self._names[1].visible = self._reference.value == _BESIDE

    # --- pushes -----------------------------------------------------------------------------------------------------------------

    def shove(self, part: int, force: Array, seconds: float | None = _SHOVE) -> None:
        """Push a part of the character with a force, (3,) N, for some time, or until it is told otherwise."""
        until = None if seconds is None else self._time + seconds
        size = float(np.linalg.norm(force))
        with self._lock:
            self._forces[part] = (np.asarray(force) * min(1.0, _MOST / max(size, 1e-9)), until)

    def nearest(self, point: Array, direction: Array | None = None) -> int:
        """The part nearest to a point of the picture, (3,) m, or to the ray from there."""
        away = self._shown(0)[0] - point
        if direction is not None:
            away = away - np.outer(away @ direction, direction)
        return int(np.linalg.norm(away, axis=1).argmin())

    async def _on_click(self, event: Any) -> None:
        direction = np.asarray(event.ray_direction)
        part = self.nearest(np.asarray(event.ray_origin), direction)
        along = np.array([*direction[:2], 0.0])
        self.shove(part, self._force.value * along / max(float(np.linalg.norm(along)), 1e-9))

    async def _on_drag(self, event: Any) -> None:
        start, end = np.asarray(event.start_position), np.asarray(event.end_position)
        if event.phase == "start":
            self._held = self.nearest(start)
        if event.phase == "end":
            with self._lock:
                self._forces.pop(self._held, None)
        else:
            self.shove(self._held, _PULL * (end - start), None)

    def _push(self) -> None:
        """Hand the forces of now to the world."""
        with self._lock:
            for part, (force, until) in list(self._forces.items()):
                if until is not None and self._time >= until:
                    del self._forces[part]
                    force = np.zeros(3)
                self.played.push(part, force.tolist())
            held = set(self._forces)
        for part in self._pushed - held:
            self.played.push(part, [0.0, 0.0, 0.0])
        self._pushed = held

    # --- time -------------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Go on until Ctrl-C."""
        last = clock.monotonic()
        while True:
            now = clock.monotonic()
            passed, last = now - last, now
            self.advance(min(passed, 0.2) * SPEEDS[self._speed.value] if self.playing else 0.0)  # a slow machine shows slow motion
            clock.sleep(max(0.0, 1 / RATE - (clock.monotonic() - now)))

    def advance(self, seconds: float) -> None:
        """Let time pass, and show what is then."""
        with self._lock:
            asked, self._asked = self._asked, []
        if "reset" in asked:
            self.reset()
        steps = self._ahead + seconds / self.played.control_step + asked.count("step")
        for _ in range(int(steps)):
            self.step()
        self._ahead = steps - int(steps)
        self.show()

    def step(self) -> None:
        """One control step; some time after the end of an episode the next one begins."""
        if self._ended and self._time >= self._over:
            self.reset()
            return
        self._push()
        self._last = self._parts
        self.moment = self.played.step()
        self._parts = self._pose()
        self._time += self.played.control_step
        self._way.append(self._parts[0][0][0, :2])
        self._history.append((self._time, self.moment.terms))
        if self.moment.ended and not self._ended:
            self._ended, self._over = self.moment.ended, self._time + LINGER

    def reset(self) -> None:
        """The next episode."""
        self.moment = self.played.reset()
        with self._lock:
            self._forces.clear()
        self._pushed = set()
        self._parts = self._last = self._pose()
        self._way.clear()
        self._way.append(self._parts[0][0][0, :2])
        self._ended, self._ahead = "", 0.0

    def _between(self, which: int) -> tuple[Array, Array]:
        """The parts of the character (0) or the reference (1) at the time that is shown, between the last two steps."""
        (before, turned), (after, turning) = self._last[which], self._parts[which]
        if not self._ahead or np.abs(after - before).max() > 0.5:  # the reference was moved below the character
            return after, turning
        turning = np.where((turned * turning).sum(-1, keepdims=True) < 0, -turning, turning)
        rotations = (1 - self._ahead) * turned + self._ahead * turning
        return (1 - self._ahead) * before + self._ahead * after, rotations / np.linalg.norm(rotations, axis=-1, keepdims=True)

    def _shown(self, which: int) -> tuple[Array, Array]:
        """As `_between`, where it is in the picture."""
        positions, rotations = self._between(which)
        return positions - [*self._seen, 0.0], rotations

    def show(self) -> None:
        """Draw everything where it is now."""
        # where it was on average, and half the way on: smooth, and it does not lag behind who walks
        middle = np.mean(self._way, axis=0) + (self._way[-1] - self._way[0]) / 2
        lag = (1 - self._ahead) * (self._way[-1] - self._way[-2]) if len(self._way) > 1 else 0.0  # what is shown is between two steps
        self._seen = middle - lag if self._follow.value else np.zeros(2)
        aside = _ASIDE if self._reference.value == _BESIDE else 0.0
        with self._server.atomic():
            self.look_at(self._seen)
            self.put(0, *self._between(0))
            positions, rotations = self._between(1)
            self.put(1, positions + aside, rotations)
            for number, marker in enumerate(self.moment.markers, start=2):
                position, turn = marker_pose(marker)
                self.put(number, position[None], turn[None])
            self._state.content = f"**{self.played.name}** · {self._time:.1f} s" + (f" · {self._ended}" if self._ended else "")
        if clock.monotonic() - self._redrawn >= _REDRAWN:
            self._redrawn = clock.monotonic()
            self._plots.show(self._history)
