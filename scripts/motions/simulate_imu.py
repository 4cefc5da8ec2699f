"""`mprl motion simulate-imu`: what six inertial sensors would read during a motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mprl.errors import SettingError
from mprl.scripts.options import check_folder
from mprl.scripts.reading import Reading


@dataclass(frozen=True)
class Options(Reading):
    """Write what inertial sensors would read during a motion, to try fit-imu on."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """a motion file, or the name of a shipped motion"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="READINGS")]
    """where to write: .csv or .npz"""
    sensors: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = None
    """which are worn; by default all six"""
    faults: Literal["none", "typical", "poor"] = "typical"
    """how well they measure and are worn"""
    calibration: float = 1.0
    """for how long a T-pose is held first, s; 0: none"""
    seconds: float = 4.0
    """how long a cycle goes on at least"""
    seed: int = 0
    """of the faults"""


def run(options: Options, words: Sequence[str] = ()) -> None:
    """Simulate."""
    from mprl.motion import SmplCharacter, edit, load
    from mprl.motion.body.joints import JOINTS
    from mprl.motion.fitting import imu
    from mprl.motion.fitting.imu.network import RATE
    from mprl.motion.fitting.imu.simulation import unrolled
    from mprl.motion.retarget import retarget

    if options.out.suffix.lower() not in (".csv", ".npz"):
        raise SettingError(f"{options.out}: recordings of inertial sensors are written as .csv or .npz, not '{options.out.suffix}'")
    check_folder(options.out)
    if options.out.resolve() == Path(options.file).resolve():
        raise SettingError(f"{options.out}: would be written over the motion; write elsewhere")
    if not 0 <= options.seed < 2**63:
        raise SettingError(f"seed must be 0 to 2**63 - 1, found {options.seed}")
    clip = load(options.file, **options.said())
    if clip.skeleton.names != JOINTS:
        clip = retarget(clip, SmplCharacter())
    clip = unrolled(edit.resample(clip, RATE), options.seconds)
    readings = imu.simulate(
        clip, options.sensors or imu.NAMES, imu.LEVELS[options.faults], calibration=options.calibration, seed=options.seed
    )
    imu.write(readings, options.out)
    print(f"wrote {options.out}: {', '.join(readings.sensors)}; {readings.num_frames} frames at {readings.frame_rate:g} Hz")
