"""What the environment's arguments may be: each mistake is one line, before anything is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from mprl.envs.imitation.rewards import REWARDS
from mprl.envs.imitation.terrain import Terrain, generate
from mprl.errors import SettingError, unknown_name
from mprl.motion import MotionClip, load
from mprl.motion.load import READERS, motions

ALL = "all"  # shipped clips

_CHOICES = {
    "reward": ("reward", tuple(REWARDS)),
    "action_mode": ("action mode", ("residual", "absolute")),
    "output": ("output", ("numpy", "torch")),
    "render_mode": ("render mode", ("rgb_array",)),
}


def check(settings: Mapping[str, Any]) -> None:
    """Raise a `SettingError` or an `UnknownNameError` for an argument of the environment that cannot work."""
    for argument, (what, known) in _CHOICES.items():
        value = settings[argument]
        if value not in known and not (value is None and argument == "render_mode"):
            raise unknown_name(what, str(value), known, f"known: {', '.join(known)}")
    target_frames = settings["target_frames"]
    frames = target_frames if isinstance(target_frames, list | tuple) else ()
    if not frames or not all(isinstance(frame, int) and frame >= 1 for frame in frames):
        raise SettingError(f"target_frames must be whole numbers of at least 1, found {target_frames}")
    width, height, render_worlds = settings["width"], settings["height"], settings["render_worlds"]
    if width < 1 or height < 1 or (render_worlds is not None and render_worlds < 1):
        raise SettingError(f"width, height and render_worlds must be at least 1, found {width}, {height} and {render_worlds}")
    time_limit, most = settings["time_limit"], settings["max_episode_steps"]
    if not (0 < time_limit < math.inf) or (most is not None and most < 1):
        limit = f"time_limit={time_limit}" if most is None else f"max_episode_steps={most}"
        raise SettingError(f"an episode must last longer than 0 s and end some time, found {limit}")
    tracking = settings["tracking_termination"]
    if tracking is not None and not tracking > 0:
        raise SettingError(f"tracking_termination must be a distance above 0 m, or None, found {tracking}")


def clips(motion: Any) -> list[MotionClip]:
    """The clips that `motion` names: a shipped one, a file, a folder of files, "all" shipped ones, a `MotionClip`, or a list of these.

    Raises:
        MprlError: what is none of these, or a folder without motions.
    """
    sources: list[Any] = list(motion) if isinstance(motion, list | tuple) else [motion]
    found: list[MotionClip] = []
    for source in sources:
        if isinstance(source, MotionClip):
            found.append(source)
        elif not isinstance(source, str | Path):
            raise SettingError(f"motion must be a name, a file, a folder, a MotionClip or a list of these, found {source!r}")
        else:
            found += map(load, expanded(source))
    if not found:
        raise SettingError("motion must name at least one clip, found an empty list")
    return found


def expanded(source: str | Path) -> list[str | Path]:
    """The names and files that a name, a file, a folder or "all" stands for, in alphabetical order.

    Raises:
        SettingError: a folder without motions.
    """
    if source == ALL:
        return list(motions())
    if source in motions() or not Path(source).is_dir():
        return [source]
    inside: list[str | Path] = [file for file in sorted(Path(source).iterdir()) if file.suffix.lower() in READERS]
    if not inside:
        raise SettingError(f"{source}: expected motion files ({', '.join(READERS)}) in this folder, found none")
    return inside


def terrain(kind: str | Terrain, difficulty: float, seed: int) -> Terrain | None:
    """The terrain of this name, or as it is; None for the level floor.

    Raises:
        SettingError, UnknownNameError: a name, difficulty or seed that cannot be.
    """
    if isinstance(kind, Terrain):
        return kind
    return generate(kind, difficulty, seed)


def per_world(name: str, value: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A number for all worlds or one for each, (W,); or rows of numbers, (W, n).

    Args:
        name: of the argument.
        shape: (W,) or (W, n).
        like: a tensor of the wanted type and device.

    Raises:
        SettingError: neither.
    """
    try:
        return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(shape)
    except (RuntimeError, TypeError, ValueError):
        each = "one number" if len(shape) == 1 else f"{shape[1]} numbers"
        raise SettingError(f"{name} must be {each} or {' x '.join(map(str, shape))}, found {str(value)[:60]}") from None


def autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    """The mode of this name, in either spelling."""
    if isinstance(mode, AutoresetMode):
        return mode
    mode = str(mode)
    known = {m.name.lower(): m for m in AutoresetMode} | {m.value.lower(): m for m in AutoresetMode}
    if mode.lower() not in known:
        raise unknown_name("autoreset mode", mode, [m.name for m in AutoresetMode], "known: NEXT_STEP, SAME_STEP, DISABLED")
    return known[mode.lower()]
