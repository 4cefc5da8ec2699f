"""How many pictures a second are drawn: beside Gymnasium's Humanoid-v5, and beside MuJoCo's bare drawing."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import mujoco
import numpy as np

from mprl.scripts.benchmarks import physics
from mprl.scripts.benchmarks.environment import Measured, rate
from mprl.scripts.benchmarks.report import Figure, alternate, medians
from mprl.simulation.rendering import SceneRenderer, opengl_backend
from mprl.simulation.video import write_video

WIDTH, HEIGHT, FRAMES = 640, 480, 24
TARGET = 20.0  # pictures a second


class Bare:
    """MuJoCo's drawing of a pose, with nothing around it: the model as it is, no floor, ghost, shadows or sky of ours."""

    def __init__(self, model: mujoco.MjModel, backend: str) -> None:
        self._gl = importlib.import_module(f"mujoco.{backend}" if backend else "mujoco.gl_context").GLContext(WIDTH, HEIGHT)
        self._gl.make_current()
        self._model, self._data, self._scene = model, mujoco.MjData(model), mujoco.MjvScene(model, maxgeom=1000)
        self._context = mujoco.MjrContext(model, int(mujoco.mjtFontScale.mjFONTSCALE_100))
        mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), self._context)
        self._camera, self._options, self._view = mujoco.MjvCamera(), mujoco.MjvOption(), mujoco.MjrRect(0, 0, WIDTH, HEIGHT)
        mujoco.mjv_defaultFreeCamera(model, self._camera)
        self._pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)

    def draw(self, pose: np.ndarray) -> np.ndarray:
        """The picture of a pose (nq,)."""
        self._gl.make_current()
        self._data.qpos[:] = pose
        mujoco.mj_kinematics(self._model, self._data)
        everything = int(mujoco.mjtCatBit.mjCAT_ALL)
        mujoco.mjv_updateScene(self._model, self._data, self._options, None, self._camera, everything, self._scene)
        mujoco.mjr_render(self._view, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._view, self._context)
        return self._pixels

    def close(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def measure(motion: str, seconds: float) -> Measured:
    """All figures of `mprl benchmark render`.

    Args:
        motion: whose poses are drawn.
        seconds: for the comparison.

    Raises:
        RenderingError: no OpenGL here.
    """
    backend = opengl_backend()
    envs = physics.make(motion, FRAMES, 1)
    envs.reset(seed=0, options={"phase": [number / FRAMES for number in range(FRAMES)]})
    poses, model = envs.reference_qpos().double().numpy(), envs.model
    envs.close()
    humanoid = gym.make("Humanoid-v5", render_mode="rgb_array", width=WIDTH, height=HEIGHT)
    humanoid.reset(seed=0)
    with mock.patch.dict(os.environ, {"MUJOCO_GL": backend} if backend else {}):  # where Gymnasium looks at its first picture
        humanoid.render()
    bare = Bare(model, backend)

    def film(renderer: SceneRenderer, path: Path) -> Callable[[int], Any]:
        return lambda number: write_video(path, (renderer.render(pose, pose) for pose in poses), 30.0)

    with SceneRenderer(model, WIDTH, HEIGHT, ghost=True) as renderer, tempfile.TemporaryDirectory() as folder:
        draw = film(renderer, Path(folder) / "video.mp4")
        ways: dict[str, Callable[[], float]] = {
            "ours": lambda: rate(lambda number: renderer.render(poses[number % FRAMES], poses[(number + 2) % FRAMES])),
            "peer": lambda: rate(lambda number: humanoid.render()),
            "limit": lambda: rate(lambda number: bare.draw(poses[number % FRAMES])),
            "video": lambda: FRAMES * rate(draw),
        }
        try:
            rates = alternate(ways, seconds)
        finally:
            humanoid.close()
            bare.close()
    m = medians(rates)
    what = f"pictures of {WIDTH} x {HEIGHT}"
    against = "character, ghost, floor and shadows; peer Humanoid-v5's render(); limit MuJoCo's mjr_render of the bare model"
    figures = [
        Figure("render", what, "1/s", m["ours"], m["peer"], m["limit"], against, target=("ours", TARGET), rounds=rates),
        Figure("video", f"{what} into an .mp4", "1/s", m["video"], limit=m["ours"], against="limit drawing alone", target=("ours", TARGET)),
    ]
    return Measured(figures, {"motion": Path(motion).name, "OpenGL": backend})
