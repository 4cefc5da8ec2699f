"""A video of one episode: the character, and its reference as a translucent figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Film:
    """Frames of the first world, as they come: the poses are kept and drawn at the end, so that nothing waits for the camera."""

    def __init__(self, envs: Any, path: str | Path, width: int, height: int) -> None:
        self._envs, self._path, self._size = envs, path, (width, height)
        self._fps = round(1.0 / envs.control_step)
        self._poses: list[tuple[np.ndarray, np.ndarray, list[Any]]] = []
        self._over = False

    def __call__(self) -> None:
        if not self._over:
            pose, ghost = (values[0].double().numpy(force=True).copy() for values in (self._envs._qpos, self._envs.reference_qpos()))
            self._poses.append((pose, ghost, self._envs.markers(0)))
        self._over = self._over or bool(self._envs._pending[0])

    def write(self) -> None:
        from mprl.simulation.rendering import SceneRenderer
        from mprl.simulation.video import caption, write_video

        name = self._envs.library.clips[0].name
        with SceneRenderer(self._envs._models[0], *self._size, ghost=True, fps=self._fps) as scene:
            frames = (
                caption(scene.render(pose, ghost, markers), f"{name} · {step / self._fps:.1f} s · reference translucent")
                for step, (pose, ghost, markers) in enumerate(self._poses)
            )
            write_video(self._path, frames, self._fps)
