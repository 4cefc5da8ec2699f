"""A page that plays a scene, motions or a rollout: one HTML file that needs no network, with player (`player.html`) and scene inside.

The scene is one gzipped block in base64: four bytes with the length of a JSON text, that text, and the arrays that it names as
[type, first byte, shape], counted from its end. Of each actor

    unit        m in one step of `offsets`
    root        (T, 3) float32, world position of part 0
    offsets     (T, P, 3) int16, other parts' positions less the root's, in units; coded
    rotations   (T, P, 4) int16, 32767 times the quaternions wxyz; coded
    meshes      vertices (V, 3) int16 with a unit of their own, faces (F, 3), parts (V, K), weights (V, K) out of 255, bind (P, 3) float32

and of each curve its values, (T,) float32.

"Coded": each frame less the one before (modulo 2^16), then the low bytes of all, then the high bytes: half of what they take otherwise.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.errors import SettingError
from mprl.motion.formats.files import write_atomically
from mprl.motion.viewing.meshes import Mesh
from mprl.motion.viewing.scene import Actor, Scene

MOST_FRAMES_PER_SECOND = 60.0  # the player goes between frames
_PLAYER = Path(__file__).with_name("player.html")
_TITLE, _DATA = "<!-- title -->", "<!-- data -->"


def write(scene: Scene, path: str | Path, title: str = "") -> Path:
    """Write a page; a kill at any moment leaves the old file or the new one, never half of one.

    Args:
        scene: what it shows.
        path: an .html file.
        title: by default the clips' names.

    Raises:
        SettingError: another kind of file.
        MotionFormatError: it cannot be written there.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"{path}: a page is written as .html, not '{path.suffix}'")
    names = list(dict.fromkeys(actor.name for actor in scene.characters))
    before, after = _PLAYER.read_text(encoding="utf-8").split(_DATA)
    before = before.replace(_TITLE, html.escape(title or ", ".join(names)))
    text = before + base64.b64encode(packed(scene)).decode("ascii") + after
    return write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def packed(scene: Scene) -> bytes:
    """The block described above."""
    arrays = _Arrays()
    about = {
        "duration": scene.duration,
        "reach": scene.reach.tolist(),
        "layers": scene.layers,
        "actors": [_actor(actor, arrays) for actor in scene.actors],
        "curves": [{"name": curve.name, "values": arrays.add(curve.values.astype(np.float32))} for curve in scene.curves],
    }
    text = json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 4)  # so that the arrays lie as JavaScript wants them
    return gzip.compress(struct.pack("<I", len(text)) + text + bytes(arrays.content), mtime=0)


class _Arrays:
    """Arrays one after the other."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, array: NDArray[Any], coded: bool = False) -> list[Any]:
        """Where it will be found."""
        kind = "coded" if coded else array.dtype.name
        start = len(self.content)
        self.content += _coded(array) if coded else np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        self.content += bytes(-len(self.content) % 4)
        return [kind, start, list(array.shape)]


def _coded(frames: NDArray[np.int16]) -> bytes:
    steps = np.diff(frames.astype(np.uint16), axis=0, prepend=np.zeros_like(frames[:1], dtype=np.uint16)).astype("<u2")
    return np.ascontiguousarray(steps.reshape(-1, 1).view(np.uint8).T).tobytes()


def _actor(actor: Actor, arrays: _Arrays) -> dict[str, Any]:
    positions, rotations = actor.positions, actor.rotations
    count = 1 + max(1, round(actor.duration * MOST_FRAMES_PER_SECOND))
    if count < len(positions):
        positions, rotations = replace(actor, cyclic=False).sample(np.linspace(0.0, actor.duration, count))
    root = positions[:, :1]
    offsets, unit = _steps(positions - root, least=1e-4)
    return {
        "name": actor.name,
        "role": actor.role,
        "rate": (len(positions) - 1) / actor.duration,
        "cyclic": actor.cyclic,
        "displacement": actor.displacement.tolist(),
        "headRoom": actor.head_room,
        "unit": unit,
        "root": arrays.add(root[:, 0].astype(np.float32)),
        "offsets": arrays.add(offsets, coded=True),
        "rotations": arrays.add(np.round(rotations * 32767).astype(np.int16), coded=True),
        "meshes": [_mesh(mesh, arrays) for mesh in actor.meshes],
    }


def _mesh(mesh: Mesh, arrays: _Arrays) -> dict[str, Any]:
    vertices, unit = _steps(mesh.triangles.vertices)
    return {
        "layer": mesh.layer,
        "color": mesh.color,
        "unit": unit,
        "vertices": arrays.add(vertices),
        "faces": arrays.add(mesh.triangles.faces.astype(np.uint16 if len(vertices) < 2**16 else np.uint32)),
        "parts": arrays.add(mesh.parts.astype(np.uint16)),
        "weights": arrays.add(np.round(255 * mesh.weights).astype(np.uint8)),
        "bind": arrays.add(mesh.bind.astype(np.float32)),
    }


def _steps(values: NDArray[np.float64], least: float = 0.0) -> tuple[NDArray[np.int16], float]:
    """Numbers as whole steps, and the step: the smallest that the greatest number allows."""
    unit = max(least, float(np.abs(values).max(initial=0.0)) / 32767) or 1.0
    return np.round(values / unit).astype(np.int16), unit
