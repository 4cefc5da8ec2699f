"""What every live view has: a server of the package `viser` on this machine (the extra `viewer`), a floor, actors, a panel."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from mprl import extras
from mprl.errors import SettingError
from mprl.motion.viewing.meshes import BODY, SHAPES, SKELETON, Array, Mesh
from mprl.motion.viewing.scene import Actor

HOST, PORT = "127.0.0.1", 8080
RATE = 30.0  # pictures per second
SPEEDS = {"0.1×": 0.1, "¼×": 0.25, "½×": 0.5, "1×": 1.0, "2×": 2.0}
CALLED = {SHAPES: "physics shapes"}
_GHOST = 0.35  # opacity
_FIELD_OF_VIEW = 0.5  # rad


def serve(port: int | None = None) -> tuple[Any, str]:
    """A server without anything in it, and its address.

    Args:
        port: on this machine; 0 for any that is free; by default 8080, or the next one that is.

    Raises:
        MissingPackageError: viser is not installed.
        SettingError: another program has the port.
    """
    viser = extras.load("viser", "the live viewer needs", "viewer")
    if port:
        _check_free(port)
    logging.getLogger("websockets.server").addFilter(_is_an_error)
    with quiet():
        server = viser.ViserServer(host=HOST, port=PORT if port is None else port, verbose=False, label="mprl")
    # no sharing: that goes through a server of others
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.gui.main_panel.dock_right()  # beside the scene, not over it
    return server, f"http://{HOST}:{server.get_port()}"


def _is_an_error(record: logging.LogRecord) -> bool:
    """A browser that leaves before it has asked for anything is none, and not to be traced."""
    return record.msg != "opening handshake failed"


class Served:
    """Something in the browser, served until `close`.

    Attributes:
        url: for the browser.

    Args:
        port: see `serve`.

    Raises:
        MissingPackageError, SettingError: see `serve`.
    """

    def __init__(self, port: int | None = None) -> None:
        self._server, self.url = serve(port)

    def close(self) -> None:
        """Stop the server; a second call does nothing."""
        server, self._server = self._server, None
        if server is not None:
            with quiet():
                server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class Stage(Served):
    """Actors on a floor, served until `close`.

    Attributes:
        url: for the browser.
        actors: who is on it.

    Args:
        actors: what is put on it.
        reach: how far they reach from where one looks, along x, along y and up, (3,) m.
        port: see `serve`.

    Raises:
        MissingPackageError, SettingError: see `serve`.
    """

    def __init__(self, actors: Sequence[Actor], reach: Array, port: int | None = None) -> None:
        self.actors = tuple(actors)
        super().__init__(port)
        self._stage(reach)
        self._panel()

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that there is something in."""
        known = {mesh.layer for actor in self.actors for mesh in actor.meshes}
        return tuple(layer for layer in (BODY, SKELETON, SHAPES) if layer in known)

    def _stage(self, reach: Array) -> None:
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
        for number, actor in enumerate(self.actors):
            place = f"/stage/{number}"
            self._meshes.append([(mesh, self._add(f"{place}/{index}", mesh, actor)) for index, mesh in enumerate(actor.meshes)])
            named = actor.role == "character"
            self._names.append(scene.add_label(f"{place}/name", actor.name, anchor="bottom-center", visible=named))
        x, y, top = reach
        alone, middle = sum(actor.role == "character" for actor in self.actors) == 1, np.array([0.0, 0.0, 0.45 * top])
        away = max(0.6 * top, y / 1.1) / np.tan(_FIELD_OF_VIEW / 2) + x  # a window half again as wide as high, less the panel
        camera = self._server.initial_camera
        camera.position = middle + away * np.array([0.82, -0.55, 0.17] if alone else [0.97, -0.18, 0.16])
        camera.look_at, camera.fov = middle, _FIELD_OF_VIEW

    def _add(self, name: str, mesh: Mesh, actor: Actor) -> Any:
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
            opacity=_GHOST if actor.role == "ghost" else None,
        )

    def _panel(self) -> None:
        """The controls."""

    def _switches(self) -> None:
        """Which layers are shown."""
        gui = self._server.gui
        self._layers = {layer: gui.add_checkbox(CALLED.get(layer, layer), layer == BODY) for layer in self.layers}
        for switch in self._layers.values():
            switch.on_update(lambda _: self._switch())

    def _switch(self) -> None:
        shown = {layer: bool(box.value) for layer, box in self._layers.items()}
        seen_through = any(on for layer, on in shown.items() if layer != BODY)
        for actor, meshes in zip(self.actors, self._meshes, strict=True):
            for mesh, handle in meshes:
                handle.visible = shown[mesh.layer]
                if mesh.layer == BODY and actor.role != "ghost":
                    handle.opacity = 0.4 if seen_through else None

    def put(self, number: int, positions: Array, rotations: Array) -> None:
        """Put an actor's parts at (P, 3) m and (P, 4) wxyz, world."""
        self._names[number].position = (*positions[0, :2], positions[:, 2].max() + self.actors[number].head_room)
        for mesh, handle in self._meshes[number]:
            if handle.visible:
                for part in mesh.used:
                    handle.bones[part].position, handle.bones[part].wxyz = positions[part], rotations[part]

    def look_at(self, place: ArrayLike) -> None:
        """Have this point of the floor, (2,) m, where the camera first looked."""
        x, y = np.asarray(place, dtype=np.float64)
        self._root.position = (-x, -y, 0.0)


def quiet() -> contextlib.AbstractContextManager[Any]:
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
