"""`mprl motion fit-imu`: from a recording of inertial sensors to a motion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mprl.errors import SettingError
from mprl.scripts.options import check_folder
from mprl.scripts.reading import progress, text


@dataclass(frozen=True)
class Options:
    """Find the motion that six inertial sensors, or some of them, tell of."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="READINGS")]
    """a .csv or .npz of orientations and accelerations; docs/pose.md says how it looks"""
    out: Annotated[Path, tyro.conf.arg(metavar="OUT.npz")]
    """where to write the motion"""
    method: Literal["sip", "network", "both"] = "sip"
    """optimisation, a recurrent network, or the optimisation begun where the network is if that is likelier"""
    sensors: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = None
    """use these only: left_forearm, right_forearm, left_shank, right_shank, head, pelvis"""
    calibration: Annotated[float | None, text("S")] = None
    """for how long the T-pose is held at the beginning, instead of what the file says; 0: none"""
    heading: Annotated[float | None, text("DEGREES")] = None
    """where the person faces then, to the left from the world's x axis, instead of what the file says"""
    betas: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="BETA ...", help_behavior_hint="")] = None
    """shape of the person; by default the body's mean"""
    body: Annotated[str, text("default|FILE")] = "default"
    """the body model; by default the free one"""


def run(options: Options, words: Sequence[str] = ()) -> int:
    """Fit.

    Returns:
        0, or 1 where the fit did not converge.
    """
    from mprl.motion import SmplBody
    from mprl.motion.fitting import imu
    from mprl.motion.formats import npz

    if options.out.suffix.lower() != ".npz":
        raise SettingError(f"{options.out}: motions are written as .npz, not '{options.out.suffix}'")
    check_folder(options.out)
    if options.out.resolve() == Path(options.file).resolve():
        raise SettingError(f"{options.out}: would be written over the recording; write elsewhere")
    heading = None if options.heading is None else math.radians(options.heading)
    readings = imu.read(options.file, options.calibration, heading)
    if options.sensors is not None:
        readings = readings.only(options.sensors)
    with progress("{task.description}") as bar:
        task = bar.add_task(f"fitting {readings.name}", total=None)
        fitted = imu.fit(
            readings, options.method, betas=options.betas, body=SmplBody.load(options.body),
            tell=lambda done, most: bar.update(task, completed=done, total=most),
        )  # fmt: skip
    npz.write(fitted.clip, options.out)
    print(f"{', '.join(readings.sensors)}: {fitted.told}")
    print(f"wrote {options.out}: {fitted.clip.num_frames} frames at {fitted.clip.frame_rate:g} Hz, {fitted.clip.duration:.2f} s")
    return 0 if fitted.converged else 1
