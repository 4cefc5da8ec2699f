"""`mprl motion info`: what is in a motion file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from mprl.scripts.reading import Reading, text
from mprl.scripts.tables import table

if TYPE_CHECKING:
    from mprl.motion import MotionClip


@dataclass(frozen=True)
class Options(Reading):
    """Say what is in a motion file."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """a motion file, or the name of a shipped motion"""
    character: Annotated[str | None, text("ROBOT.xml")] = None
    """the MJCF of whose joint angles a pickle or .csv holds"""


def run(options: Options, words: Sequence[str] = ()) -> None:
    """Print what is in a motion file."""
    from mprl.motion import HUMANOID, load
    from mprl.motion.body.joints import JOINTS

    clip = load(options.file, character=options.character, **options.said())
    travelled = clip.cycle_displacement if clip.loop == "wrap" else clip.root_position[-1] - clip.root_position[0]
    heights = clip.root_position[:, 2]
    joints = len(clip.skeleton.names)
    fits = clip.skeleton.names == HUMANOID.body_names
    owner = "the humanoid" if fits else "SMPL" if clip.skeleton.names == JOINTS else "neither the humanoid nor SMPL; retarget it first"
    rows = [
        ("name", clip.name),
        ("length", f"{clip.duration:.3f} s: {clip.num_frames} frames at {clip.frame_rate:g} Hz"),
        ("loop", "a cycle, continued with the root's displacement" if clip.loop == "wrap" else "ends"),
        ("root moves", f"({travelled[0]:.2f}, {travelled[1]:.2f}, {travelled[2]:.2f}) m, at {_speed(clip):.2f} m/s"),
        ("root height", f"{heights.min():.2f} to {heights.max():.2f} m"),
        ("joints", f"{joints}: {', '.join(clip.skeleton.names)}"),
        ("fits", owner),
    ]
    if fits:
        rows.append(("floor", _clearance(clip)))
    if clip.betas is not None:
        rows.append(("body", f"{clip.gender}, betas {' '.join(f'{beta:.2f}' for beta in clip.betas)}"))
    if clip.contacts is not None:
        rows.append(("feet on the floor", ", ".join(f"{share:.0%}" for share in clip.contacts.mean(axis=0)) + " of the time"))
    known = {"source": clip.provenance.source, "licence": clip.provenance.licence, "author": clip.provenance.author}
    table(("", ""), rows + [(key, value) for key, value in known.items() if value])


def _speed(clip: MotionClip) -> float:
    """Mean speed of the root along its path, m/s."""
    import numpy as np

    return float(np.linalg.norm(np.diff(clip.root_position, axis=0), axis=1).sum() / clip.duration)


def _clearance(clip: MotionClip) -> str:
    from mprl.motion import HUMANOID
    from mprl.motion.contacts import body_clearance

    lowest = float(body_clearance(HUMANOID, HUMANOID.to_qpos(clip).numpy()).min())
    return f"lowest point {abs(lowest) * 100:.1f} cm {'above it' if lowest >= 0 else 'inside it; environments raise the motion by that'}"
