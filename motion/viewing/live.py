"""Clips in the browser, live: a server of the package `viser` on this machine (the extra `viewer`).

with LiveView(scene_of([load("walk")])) as view:
    print(view.url)
    view.run()  # until Ctrl-C
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time as clock
from types import TracebackType
from typing import Any

import numpy as np

from mprl import extras
from mprl.errors import SettingError
from mprl.motion.viewing.scene import BODY, SHAPES, Mesh, Scene

HOST, PORT = "127.0.0.1", 8080
_RATE = 30.0  # pictures per second
_CALLED = {SHAPES: "physics shapes"}
_SPEEDS = {"0.1×": 0.1, "¼×": 0.25, "½×": 0.5, "1×": 1.0, "2×": 2.0}
_FIELD_OF_VIEW = 0.5  # rad


class LiveView:
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
        viser = extras.load("viser", "the live viewer needs", "viewer")
        self.scene, self.time = scene, 0.0
        if port:
            _check_free(port)
        with _quiet():
            self._server: Any = viser.ViserServer(host=HOST, port=PORT if port is None else port, verbose=False, label="mprl")
        self.url = f"http://{HOST}:{self._server.get_port()}"
        self._stale = True
        self._stage()
        self._controls()
        self.show(0.0)

    def _stage(self) -> None:
        """Floor, camera, meshes and names. All stand on one frame, which moves the other way when the camera follows."""
        scene = self._server.scene
        scene.set_up_direction("+z")
        self._root = scene.add_frame("/stage", show_axes=False)
        colors = dict(cell_color=(202, 208, 216), section_color=(176, 184, 196), plane_color=(226, 231, 236), plane_opacity=1.0)
        scene.add_grid(
            "/stage/floor", infinite_grid=True, cell_size=0.5, section_size=1.0, fade_distance=40.0, shadow_opacity=0.3, **colors
        )
        self._meshes: list[list[tuple[Mesh, Any]]] = []
        self._names: list[Any] = []
        for number, actor in enumerate(self.scene.actors):
            place = f"/stage/{number}"
            self._meshes.append([(mesh, self._add(f"{place}/{index}", mesh)) for index, mesh in enumerate(actor.meshes)])
            self._names.append(scene.add_label(f"{place}/name", actor.name, anchor="bottom-center"))
        x, y, top = self.scene.reach
        alone, middle = len(self.scene.actors) == 1, np.array([0.0, 0.0, 0.45 * top])
        away = max(0.6 * top, y / 1.1) / np.tan(_FIELD_OF_VIEW / 2) + x  # a window half again as wide as high, less the panel
        camera = self._server.initial_camera
        camera.position = middle + away * np.array([0.82, -0.55, 0.17] if alone else [0.97, -0.18, 0.16])
        camera.look_at, camera.fov = middle, _FIELD_OF_VIEW

    def _add(self, name: str, mesh: Mesh) -> Any:
        count = len(mesh.bind)
        weights = np.zeros((len(mesh.parts), count))
        np.put_along_axis(weights, mesh.parts, mesh.weights, axis=1)
        return self._server.scene.add_mesh_skinned(
            name,
            mesh.triangles.vertices,
            mesh.triangles.faces,
            bone_wxyzs=np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)),
            bone_positions=mesh.bind,
            skin_weights=weights,
            color=mesh.color,
            visible=mesh.layer == BODY,
        )

    def _controls(self) -> None:
        gui = self._server.gui
        # no sharing: that goes through a server of others
        gui.configure_theme(show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()  # beside the scene, not over it
        self._play = gui.add_button("Pause", hint="play or pause")
        self._slider = gui.add_slider("time", min=0.0, max=max(0.01, round(self.scene.duration, 2)), step=0.01, initial_value=0.0)
        self._speed = gui.add_dropdown("speed", tuple(_SPEEDS), initial_value="1×")
        self._loop = gui.add_checkbox("loop", True)
        self._follow = gui.add_checkbox("follow", True)
        self._layers = {layer: gui.add_checkbox(_CALLED.get(layer, layer), layer == BODY) for layer in self.scene.layers}
        self.playing = True
        self._play.on_click(lambda _: self.play(not self.playing))
        self._slider.on_update(lambda event: self._seek() if event.client is not None else None)
        for switch in (self._follow, *self._layers.values()):
            switch.on_update(lambda _: self._switch())

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
        shown = {layer: bool(box.value) for layer, box in self._layers.items()}
        seen_through = any(on for layer, on in shown.items() if layer != BODY)
        for meshes in self._meshes:
            for mesh, handle in meshes:
                handle.visible = shown[mesh.layer]
                if mesh.layer == BODY:
                    handle.opacity = 0.4 if seen_through else None
        self._stale = True

    def show(self, time: float) -> None:
        """Put everything where it is at a time, s."""
        self.time, self._stale = time, False
        with self._server.atomic():
            focus = self.scene.focus(time if self._follow.value else 0.0)
            self._root.position = (-focus[0], -focus[1], 0.0)
            for actor, meshes, name in zip(self.scene.actors, self._meshes, self._names, strict=True):
                positions, rotations = (values[0] for values in actor.sample([time]))
                name.position = (*positions[0, :2], positions[:, 2].max() + actor.head_room)
                for mesh, handle in meshes:
                    if handle.visible:
                        for part in mesh.used:
                            handle.bones[part].position, handle.bones[part].wxyz = positions[part], rotations[part]
            self._slider.value = min(round(time, 2), self._slider.max)

    def run(self) -> None:
        """Play until Ctrl-C."""
        last = clock.monotonic()
        while True:
            now = clock.monotonic()
            passed, last = now - last, now
            if self.playing:
                self.advance(passed * _SPEEDS[self._speed.value])
            elif self._stale:
                self.show(self.time)
            clock.sleep(max(0.0, 1 / _RATE - (clock.monotonic() - now)))

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

    def close(self) -> None:
        """Stop the server; a second call does nothing."""
        server, self._server = self._server, None
        if server is not None:
            with _quiet():
                server.stop()

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _quiet() -> contextlib.AbstractContextManager[Any]:
    """viser prints that it starts and stops, even when asked not to."""
    return contextlib.redirect_stdout(io.StringIO())


def _check_free(port: int) -> None:
    """viser would quietly take the next one."""
    if not 0 < port < 2**16:
        raise SettingError(f"port: expected 1 to 65535, or 0 for any that is free, found {port}")
    try:
        with socket.create_server((HOST, port)):
            pass
    except OSError as error:
        raise SettingError(f"port {port} cannot be used: {os.strerror(error.errno or 0)}; try another, or 0 for any that is free") from None
