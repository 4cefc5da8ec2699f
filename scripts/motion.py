"""`mprl motion info|convert|render|edit`: look into motion files, convert them, play them, change them.

Playback is kinematic: the character is put into each pose, nothing is simulated.
"""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/motion.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["motion", *sys.argv[1:]]))

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import SettingError, unknown_name
from mprl.scripts.motion_edit import EditOptions, edit
from mprl.scripts.options import parse
from mprl.scripts.tables import table

if TYPE_CHECKING:
    import numpy as np

    from mprl.motion import MotionClip


@dataclass(frozen=True)
class InfoOptions:
    """Say what is in a motion file."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """a motion file, or the name of a shipped motion"""


@dataclass(frozen=True)
class ConvertOptions:
    """Write a motion as our own .npz, which needs no pickle."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """a motion file, or the name of a shipped motion"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")]
    """where to write it"""


@dataclass(frozen=True)
class RenderOptions:
    """Film a motion: kinematic playback on the humanoid."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """a motion file, or the name of a shipped motion"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.mp4")]
    """where to write it; .mp4 or .gif"""
    seconds: Annotated[float | None, tyro.conf.arg(metavar="S", help_behavior_hint="")] = None
    """length of the video; by default a cycle is played 4 times, another motion once"""
    fps: float = 30.0
    """pictures per second"""
    width: int = 640
    """of the picture, pixels"""
    height: int = 480
    """of the picture, pixels"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl motion`."""
    commands: dict[str, tuple[type, Callable[[Any], None]]] = {
        "info": (InfoOptions, info),
        "convert": (ConvertOptions, convert),
        "render": (RenderOptions, render),
        "edit": (EditOptions, functools.partial(edit, words=argv[1:])),
    }
    if not argv or argv[0] in ("-h", "--help"):
        rows = "\n".join(f"  {name:<9} {options.__doc__}" for name, (options, _) in commands.items())
        print(f"usage: mprl motion COMMAND [OPTIONS]\n\ncommands:\n{rows}\n\nmprl motion COMMAND --help says more.")
        return 0
    if argv[0] not in commands:
        raise unknown_name("motion command", argv[0], commands, "mprl motion --help")
    options, command = commands[argv[0]]
    command(parse(options, f"mprl motion {argv[0]}", argv[1:]))
    return 0


def info(options: InfoOptions) -> None:
    """Print what is in a motion file."""
    from mprl.motion import HUMANOID, load

    clip = load(options.file)
    travelled = clip.cycle_displacement if clip.loop == "wrap" else clip.root_position[-1] - clip.root_position[0]
    heights = clip.root_position[:, 2]
    joints = len(clip.skeleton.names)
    fits = clip.skeleton.names == HUMANOID.body_names
    rows = [
        ("name", clip.name),
        ("length", f"{clip.duration:.3f} s: {clip.num_frames} frames at {clip.frame_rate:g} Hz"),
        ("loop", "a cycle, continued with the root's displacement" if clip.loop == "wrap" else "ends"),
        ("root moves", f"({travelled[0]:.2f}, {travelled[1]:.2f}, {travelled[2]:.2f}) m, at {_speed(clip):.2f} m/s"),
        ("root height", f"{heights.min():.2f} to {heights.max():.2f} m"),
        ("joints", f"{joints}: {', '.join(clip.skeleton.names)}"),
        ("fits", "the humanoid" if fits else "not the humanoid; retarget it first"),
    ]
    if fits:
        rows.append(("floor", _clearance(clip)))
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


def convert(options: ConvertOptions) -> None:
    """Write a motion file as `.npz`."""
    from mprl.motion import load
    from mprl.motion.formats import npz

    if options.out.suffix.lower() != ".npz":
        raise SettingError(f"{options.out}: motions are written as .npz, not '{options.out.suffix}'")
    clip = load(options.file)
    npz.write(clip, options.out)
    print(f"wrote {options.out}: {clip.num_frames} frames, {clip.duration:.2f} s")


def render(options: RenderOptions) -> None:
    """Film a motion."""
    from mprl.motion import HUMANOID, MotionLibrary, load
    from mprl.simulation.rendering import SceneRenderer
    from mprl.simulation.video import write_video

    clip = load(options.file)
    seconds = clip.duration * (4 if clip.loop == "wrap" else 1) if options.seconds is None else options.seconds
    if not (0 < seconds < math.inf and 0 < options.fps < math.inf):
        raise SettingError(f"expected a video longer than 0 s that ends, found --seconds {seconds:g} --fps {options.fps:g}")
    library = MotionLibrary([clip], HUMANOID)
    with SceneRenderer(HUMANOID.model, options.width, options.height, fps=options.fps) as renderer:
        write_video(options.out, _playback(library, renderer, seconds, options.fps), options.fps)
    print(f"wrote {options.out}: {seconds:.2f} s at {options.fps:g} frames/s")


def _playback(library: Any, renderer: Any, seconds: float, fps: float) -> Iterator[np.ndarray]:
    import torch

    from mprl.simulation.video import caption

    times = torch.arange(max(1, round(seconds * fps))) / fps
    poses = library.sample(torch.zeros(len(times), dtype=torch.long), times).qpos.double().numpy()
    for time, pose in zip(times.tolist(), poses, strict=True):
        yield caption(renderer.render(pose), f"{library.clips[0].name} · {time:.1f} s")
