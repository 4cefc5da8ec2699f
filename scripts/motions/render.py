"""`mprl motion render`: a film of a motion. Kinematic: the character is put into each pose, nothing is simulated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import SettingError
from mprl.scripts.reading import Reading

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Options(Reading):
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


def run(options: Options, words: Sequence[str] = ()) -> None:
    """Film a motion."""
    from mprl.motion import HUMANOID, MotionLibrary, load
    from mprl.simulation.rendering import SceneRenderer
    from mprl.simulation.video import write_video

    clip = load(options.file, **options.said())
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
