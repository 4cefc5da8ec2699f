"""Which part of a motion, at which rate, how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mprl.errors import SettingError
from mprl.motion.clip import MAX_ROTATIONS, Array, MotionClip
from mprl.motion.clip import resample as at_even_rate

MAX_RATE = 1e4  # Hz; what any motion file may have


def trim(clip: MotionClip, start: float = 0.0, end: float | None = None) -> MotionClip:
    """The motion from `start` to `end` seconds (by default its end), to the nearest frames. A part of a cycle is no cycle.

    Raises:
        SettingError: the part is not in the clip, or holds fewer than 2 frames.
    """
    end = clip.duration if end is None else end
    half = 0.5 / clip.frame_rate
    if not (math.isfinite(start) and math.isfinite(end) and -half <= start < end <= clip.duration + half):
        raise SettingError(f"{clip.name}: cannot keep {start:g} to {end:g} s of a motion of {clip.duration:.3f} s")
    first, last = round(max(0.0, start) * clip.frame_rate), min(round(end * clip.frame_rate), clip.num_frames - 1)
    if last <= first:
        raise SettingError(f"{clip.name}: {start:g} to {end:g} s is less than a frame of {1 / clip.frame_rate:.4f} s")
    part = slice(first, last + 1)
    whole = last - first == clip.num_frames - 1
    return replace(
        clip,
        root_position=clip.root_position[part],
        rotations=clip.rotations[part],
        contacts=None if clip.contacts is None else clip.contacts[part],
        loop=clip.loop if whole else "none",
    )


def resample(clip: MotionClip, frame_rate: float) -> MotionClip:
    """The same motion at another frame rate, Hz: slerp and linear interpolation between frames, contacts of the nearest.

    The rate comes out a little different where the length is no whole number of frames, so that a cycle keeps its exact period.

    Raises:
        SettingError: the rate is not a positive number, or far too high.
    """
    if not (math.isfinite(frame_rate) and frame_rate > 0):
        raise SettingError(f"{clip.name}: the frame rate must be positive, found {frame_rate:g}")
    _check_rate(clip, frame_rate)
    return _through(clip, np.arange(clip.num_frames) / clip.frame_rate, frame_rate)


def time_warp(clip: MotionClip, speed: float | Sequence[tuple[float, float]]) -> MotionClip:
    """The motion played faster or slower.

    Args:
        clip: any motion.
        speed: 2 for twice as fast: the frames stay as they are and the frame rate changes. Or (time in the clip, s; speed there)
            pairs with linear interpolation between and constant speed outside: the rate stays, and frames are interpolated.

    Raises:
        SettingError: a speed is not positive, times do not increase, or frames become far too many or too short.
    """
    keys = [(0.0, speed)] if isinstance(speed, int | float) else list(speed)
    times, speeds = np.array(keys, dtype=np.float64).reshape(-1, 2).T
    if len(keys) == 0 or not (np.isfinite(speeds).all() and (speeds > 0).all()):
        raise SettingError(f"{clip.name}: speeds must be positive numbers, found {', '.join(f'{v:g}' for v in speeds) or 'none'}")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise SettingError(f"{clip.name}: times of speeds must increase, found {', '.join(f'{t:g}' for t in times)}")
    if len(keys) == 1:
        _check_rate(clip, clip.frame_rate * float(speeds[0]))
        return replace(clip, frame_rate=clip.frame_rate * float(speeds[0]))
    frames = np.arange(clip.num_frames) / clip.frame_rate
    # time of the new motion: the integral of 1 / speed, exact enough on a fine grid
    fine = np.linspace(0.0, clip.duration, 64 * (clip.num_frames - 1) + 1)
    slowness = 1.0 / np.interp(fine, times, speeds)
    passed = np.concatenate(([0.0], np.cumsum(0.5 * (slowness[1:] + slowness[:-1]) * np.diff(fine))))
    return _through(clip, np.interp(frames, fine, passed), clip.frame_rate)


def _check_rate(clip: MotionClip, frame_rate: float) -> None:
    if frame_rate > MAX_RATE:
        raise SettingError(f"{clip.name}: expected a frame rate of at most {MAX_RATE:g} Hz, found {frame_rate:g}")


def _through(clip: MotionClip, times: Array, frame_rate: float) -> MotionClip:
    """The clip whose frames lie at `times`, brought to an even rate."""
    frames = (times[-1] - times[0]) * frame_rate
    if frames * len(clip.skeleton.names) > MAX_ROTATIONS:
        raise SettingError(f"{clip.name}: {frames:.3g} frames of {len(clip.skeleton.names)} joints are more than a clip can hold")
    root, rotations = at_even_rate(times, frame_rate, clip.root_position, clip.rotations)
    contacts = clip.contacts
    if contacts is not None:
        at = np.linspace(times[0], times[-1], len(root))
        contacts = contacts[np.interp(at, times, np.arange(len(times))).round().astype(int)]
    rate = (len(root) - 1) / (times[-1] - times[0])
    return replace(clip, frame_rate=rate, root_position=root, rotations=rotations, contacts=contacts)
