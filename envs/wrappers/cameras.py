"""MuJoCo environments seen through a camera: colours, depth and segmentation, from anywhere, the character's own eyes included.

    env = cameras(gymnasium.make("Ant-v5"), "tracking", kinds=("rgb", "depth"), size=64)
    envs = cameras(gymnasium.make_vec("mprl/DeepMimic-v0", num_envs=8), "head", kinds=("rgb", "segmentation"), state=True)

No `render_mode` is needed. Worlds are drawn one after another through one renderer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from mprl.envs.wrappers.either import either
from mprl.envs.wrappers.looking import LookObservation, LookVectorObservation, Views
from mprl.envs.wrappers.randomisation import Draws, Randomisation
from mprl.envs.wrappers.resizing import Picture
from mprl.envs.wrappers.stacking import FrameStack, FrameStackVector
from mprl.errors import SettingError, number
from mprl.simulation.cameras import PLAIN, Appearance, CameraRenderer
from mprl.simulation.viewpoints import Viewpoint

_KEYS = {"rgb": "image", "depth": "depth", "segmentation": "segmentation"}


class CameraObservation(LookObservation):
    """Observations are what a camera sees in a single MuJoCo environment: Gymnasium's own, or a character of this package.

    | kind | in the observation | |
    |---|---|---|
    | `"rgb"` | `"image"` | `Box(0, 255, (height, width, 3), uint8)` |
    | `"depth"` | `"depth"` | `Box(0, max_depth, (height, width, 1), float32)`, m along the camera's axis; far beyond where nothing is |
    | `"segmentation"` | `"segmentation"` | `Box(-1, n - 1, (height, width, 1), int32)`, index of the body or shape; -1: nothing there |

    One kind alone is the observation itself, several are a `Dict`.

    Args:
        env: with a MuJoCo model and data; no render mode is needed.
        camera: one of the model's by its name, "tracking" (follows the root), "head" (what the character sees), or a `Named`,
            `Tracking` or `Head` with settings.
        kinds: some of "rgb", "depth", "segmentation".
        size: side of the square picture, or (height, width), pixels.
        state: keep the environment's own observation, as `"state"`.
        labels: what segmentation tells apart, "body" or "geom".
        max_depth: m; what is farther is this far. None: no limit.
        randomise: appearances that differ between episodes.
        shadows: draw them.
        samples: per pixel, smoothing the edges of "rgb".
        prefix: of the keys, for a second camera.

    Raises:
        SettingError, UnknownNameError: no MuJoCo environment, or a camera, kind, label or size that is not there; the text lists those that are.
        RenderingError: no OpenGL here.
    """  # noqa: E501

    def __init__(
        self,
        env: gym.Env[Any, Any],
        camera: str | Viewpoint = "tracking",
        kinds: Sequence[str] = ("rgb",),
        size: int | Sequence[int] = 64,
        *,
        state: bool = False,
        labels: str = "body",
        max_depth: float | None = None,
        randomise: Randomisation | None = None,
        shadows: bool = False,
        samples: int = 0,
        prefix: str = "",
    ) -> None:
        super().__init__(env, _Filmed(env, camera, kinds, size, labels, max_depth, randomise, shadows, samples, prefix), state)


class CameraVectorObservation(LookVectorObservation):
    """Observations are what a camera sees in each world of a batch: a `SyncVectorEnv` of MuJoCo environments, or this package's own.

    `final_obs` under SAME_STEP is a view of the last state. Views are tensors where the environment's `output` is "torch".

    Args:
        env: a batch of MuJoCo worlds.
        camera, kinds, size, state, labels, max_depth, randomise, shadows, samples, prefix: see `CameraObservation`.

    Raises:
        SettingError, UnknownNameError, RenderingError: as there; or the batch resets ended worlds before they can be seen.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        camera: str | Viewpoint = "tracking",
        kinds: Sequence[str] = ("rgb",),
        size: int | Sequence[int] = 64,
        *,
        state: bool = False,
        labels: str = "body",
        max_depth: float | None = None,
        randomise: Randomisation | None = None,
        shadows: bool = False,
        samples: int = 0,
        prefix: str = "",
    ) -> None:
        super().__init__(env, _Filmed(env, camera, kinds, size, labels, max_depth, randomise, shadows, samples, prefix), state)


def cameras(
    env: Any,
    camera: str | Viewpoint = "tracking",
    kinds: Sequence[str] = ("rgb",),
    size: int | Sequence[int] = 64,
    *,
    stack: int = 1,
    **options: Any,
) -> Any:
    """A single environment or a batch, seen through a camera; with the last `stack` pictures in one.

    Args:
        env, camera, kinds, size: see `CameraObservation`.
        stack: frames in an observation, oldest first along the channels.
        options: `state`, `labels`, `max_depth`, `randomise`, `shadows`, `samples`, `prefix`.

    Raises:
        MprlError: see `CameraObservation`; a stack of less than one.
    """
    seen = either(env, CameraObservation, CameraVectorObservation)(env, camera, kinds, size, **options)
    return seen if stack == 1 else either(env, FrameStack, FrameStackVector)(seen, stack)


class _Filmed:
    """Looks at the worlds of an environment through one renderer."""

    def __init__(
        self,
        env: Any,
        camera: str | Viewpoint,
        kinds: Sequence[str],
        size: int | Sequence[int],
        labels: str,
        max_depth: float | None,
        randomise: Randomisation | None,
        shadows: bool,
        samples: int,
        prefix: str,
    ) -> None:
        picture = Picture.of(size)
        self._worlds = _worlds(env)
        model = self._worlds.models[0]
        self._renderer = CameraRenderer(
            model, camera, picture.height, picture.width, kinds=kinds, labels=labels, shadows=shadows, samples=samples
        )
        self._far = None if max_depth is None else np.float32(number("max_depth", max_depth, 1e-3))
        self._keys = {kind: prefix + _KEYS[kind] for kind in self._renderer.kinds}
        shape = (picture.height, picture.width)
        of_kind: dict[str, gym.Space[Any]] = {
            "rgb": gym.spaces.Box(0, 255, (*shape, 3), np.uint8),
            "depth": gym.spaces.Box(0, np.inf if self._far is None else self._far, (*shape, 1), np.float32),
            "segmentation": gym.spaces.Box(-1, (model.nbody if labels == "body" else model.ngeom) - 1, (*shape, 1), np.int32),
        }
        self.spaces = {key: of_kind[kind] for kind, key in self._keys.items()}
        self._draws: Draws[Appearance] | None = None
        if randomise is not None:
            self._draws = Draws(len(self._worlds.models), lambda random, world: randomise.appearance(random, model))

    def seed(self, seed: int | Sequence[int] | None) -> None:
        if self._draws is not None and seed is not None:
            self._draws.seed(seed)

    def begin(self, worlds: NDArray[np.int64]) -> None:
        if self._draws is not None:
            self._draws.begin(worlds)

    def look(self, worlds: NDArray[np.int64]) -> Views:
        poses = self._worlds.poses()
        seen = []
        for world in worlds.tolist():
            appearance = self._draws[world] if self._draws is not None else PLAIN
            model = self._worlds.models[world]
            seen.append(self._renderer.look(poses[world], model=model, mocap=self._worlds.mocap(world), appearance=appearance))
        views = {key: np.stack([view[kind] for view in seen]) for kind, key in self._keys.items()}
        if self._far is not None and "depth" in self._keys:
            np.minimum(views[self._keys["depth"]], self._far, out=views[self._keys["depth"]])
        return views

    def close(self) -> None:
        self._renderer.close()


class _Worlds(NamedTuple):
    """The models of some worlds, and their data, or the simulation that has them all."""

    models: list[mujoco.MjModel]
    data: list[mujoco.MjData]
    simulation: Any

    def poses(self) -> Any:
        """(W, nq)."""
        if self.simulation is None:
            return [data.qpos for data in self.data]
        qpos: Tensor = self.simulation.bind("qpos")
        return qpos.double().numpy(force=True)

    def mocap(self, world: int) -> tuple[Any, Any] | None:
        """Positions and rotations of the mocap bodies."""
        if not self.models[world].nmocap:
            return None
        if self.simulation is None:
            return self.data[world].mocap_pos, self.data[world].mocap_quat
        position, rotation = (self.simulation.bind(name)[world].numpy(force=True) for name in ("mocap_pos", "mocap_quat"))
        return position, rotation


def _worlds(env: Any) -> _Worlds:
    """Where the poses of an environment are.

    Raises:
        SettingError: no MuJoCo there.
    """
    inner = env.unwrapped
    if isinstance(inner, SyncVectorEnv):
        each = [_worlds(single) for single in inner.envs]
        if all(found.simulation is None for found in each):
            return _Worlds([found.models[0] for found in each], [found.data[0] for found in each], None)
        raise SettingError(f"{_name(env)}: make the batch with gymnasium.make_vec, which steps its worlds together")
    inner = getattr(inner, "batch", inner)
    if hasattr(inner, "simulation"):
        count = inner.num_envs
        return _Worlds(list(getattr(inner, "_models", [inner.model] * count)), [], inner.simulation)
    model, data = getattr(inner, "model", None), getattr(inner, "data", None)
    if not (isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)):
        raise SettingError(f"{_name(env)}: cameras need a MuJoCo environment; pixels(...) shows what any other renders")
    return _Worlds([model], [data], None)


def _name(env: Any) -> str:
    return str(env.spec.id) if env.spec is not None else type(env.unwrapped).__name__
