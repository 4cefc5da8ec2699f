"""Any environment seen as it is rendered: observations are pictures.

    env = pixels(gymnasium.make("CartPole-v1", render_mode="rgb_array"), size=64, grey=True, stack=3)
    envs = pixels(gymnasium.make_vec("CartPole-v1", num_envs=8, render_mode="rgb_array"), size=64, grey=True, stack=3)

What `render()` gives is averaged over areas to the size asked for. MuJoCo environments are seen through cameras of any size, faster
and without the detour, by `mprl.envs.wrappers.cameras`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from mprl.envs.wrappers.either import either
from mprl.envs.wrappers.looking import LookObservation, LookVectorObservation, Views
from mprl.envs.wrappers.pygame_pictures import PygamePictures
from mprl.envs.wrappers.randomisation import Draws, Filter, Randomisation
from mprl.envs.wrappers.resizing import Picture
from mprl.envs.wrappers.stacking import FrameStack, FrameStackVector
from mprl.errors import SettingError
from mprl.simulation.rendering import prepare_gymnasium


class PixelObservation(LookObservation):
    """Observations are what a single environment renders: `Box(0, 255, (height, width, 3), uint8)`, one channel if grey.

    Args:
        env: made with `render_mode="rgb_array"`.
        size: side of the square picture, or (height, width), pixels.
        crop: (left, top, right, bottom) of the part of the frame to be seen, pixels of the frame.
        grey: brightness in place of colours.
        state: keep the environment's own observation: `Dict({"image": ..., "state": ...})`.
        randomise: light, colour and place that differ between episodes.
        key: the picture's name in that.

    Raises:
        SettingError: another render mode, or a size or crop that cannot be.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        size: int | Sequence[int] = 64,
        *,
        crop: Sequence[int] | None = None,
        grey: bool = False,
        state: bool = False,
        randomise: Randomisation | None = None,
        key: str = "image",
    ) -> None:
        super().__init__(env, _Rendered(env, Picture.of(size, crop, grey), randomise, key), state)


class PixelVectorObservation(LookVectorObservation):
    """Observations are what each world of a batch renders: (W, height, width, 3) uint8, one channel if grey.

    `final_obs` under SAME_STEP is a picture of the last state. To draw on several processors, wrap the single environments:
    `gymnasium.make_vec(..., vectorization_mode="async", wrappers=[PixelObservation])`.

    Args:
        env: made with `render_mode="rgb_array"`, showing all of its worlds.
        size, crop, grey, state, randomise, key: see `PixelObservation`.

    Raises:
        SettingError: as there; or the batch resets ended worlds before they can be seen.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        size: int | Sequence[int] = 64,
        *,
        crop: Sequence[int] | None = None,
        grey: bool = False,
        state: bool = False,
        randomise: Randomisation | None = None,
        key: str = "image",
    ) -> None:
        super().__init__(env, _Rendered(env, Picture.of(size, crop, grey), randomise, key), state)


def pixels(env: Any, size: int | Sequence[int] = 64, *, stack: int = 1, **options: Any) -> Any:
    """A single environment or a batch, seen in pictures of its own rendering; with the last `stack` of them in one.

    Args:
        env: made with `render_mode="rgb_array"`.
        size: side of the square picture, or (height, width), pixels.
        stack: frames in an observation, oldest first along the channels.
        options: `crop`, `grey`, `state`, `randomise`, `key`: see `PixelObservation`.

    Raises:
        SettingError: see `PixelObservation`; a stack of less than one.
    """
    seen = either(env, PixelObservation, PixelVectorObservation)(env, size, **options)
    return seen if stack == 1 else either(env, FrameStack, FrameStackVector)(seen, stack)


class _Rendered:
    """Looks at worlds by having them rendered."""

    def __init__(self, env: Any, picture: Picture, randomise: Randomisation | None, key: str) -> None:
        self._name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        if env.render_mode != "rgb_array":
            modes = env.metadata.get("render_modes") or ()
            advice = "make it with that" if "rgb_array" in modes else "it does not have that"
            raise SettingError(f"{self._name}: pictures need render_mode='rgb_array', found {env.render_mode!r}; {advice}")
        self.spaces: dict[str, gym.Space[Any]] = {key: gym.spaces.Box(0, 255, picture.shape, np.uint8)}
        self._env, self._key, self._count = env, key, getattr(env, "num_envs", 1)
        prepare_gymnasium(env)
        self._draw = PygamePictures(picture)
        self._filters: Draws[Filter] | None = None
        if randomise is not None:
            self._filters = Draws(self._count, lambda random, world: randomise.filter(random))

    def seed(self, seed: int | Sequence[int] | None) -> None:
        if self._filters is not None and seed is not None:
            self._filters.seed(seed)

    def begin(self, worlds: NDArray[np.int64]) -> None:
        if self._filters is not None:
            self._filters.begin(worlds)

    def look(self, worlds: NDArray[np.int64]) -> Views:
        single = self._env.unwrapped.envs if isinstance(self._env.unwrapped, SyncVectorEnv) else None
        if single is not None:  # only those in question
            found = [self._draw(single[world].render)[0] for world in worlds]
        else:
            every = self._draw(self._env.render)
            if len(every) != self._count:
                raise SettingError(f"{self._name}: render() shows {len(every)} of {self._count} worlds; all must be (render_worlds=)")
            found = every if len(worlds) == self._count else [every[world] for world in worlds]
        if self._filters is not None:
            found = [self._filters[world](picture) for world, picture in zip(worlds.tolist(), found, strict=True)]
        return {self._key: np.stack(found)}

    def close(self) -> None:
        pass
