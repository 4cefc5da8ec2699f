"""`python -m mprl.scripts.gallery docs/agents.webp`: trained agents side by side, moving, for the top of the README. For developers."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from mprl.errors import MprlError, SettingError
from mprl.scripts.options import check_folder, parse

_EVERY = 2  # control steps between pictures: 15 a second


@dataclass(frozen=True)
class Options:
    """Draw trained agents side by side as an animated picture."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """.webp, or .png for an animated PNG"""
    agents: tuple[str, ...] = ("walk", "smpl-walk", "squat", "spinkick")
    """names or run folders, from left to right"""
    seconds: float = 4.0
    """of the film; a shorter episode begins again"""
    width: int = 230
    """of one agent, pixels"""
    height: int = 260
    """pixels"""
    quality: int = 60
    """of a .webp, 0 to 100"""


def main(argv: Sequence[str]) -> int:
    """Run it."""
    options = parse(Options, "python -m mprl.scripts.gallery", argv)
    check_folder(options.out)
    if options.out.suffix.lower() not in (".webp", ".png"):
        raise SettingError(f"{options.out}: an animated picture is written as .webp or .png, not '{options.out.suffix}'")
    count = round(options.seconds * 30 / _EVERY)
    columns = [column(name, count, options.width, options.height) for name in options.agents]
    frames = [np.concatenate(row, axis=1) for row in zip(*columns, strict=True)]
    write(options.out, frames, 30 / _EVERY, options.quality)
    print(f"wrote {options.out}: {len(frames)} pictures, {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


def column(name: str, count: int, width: int, height: int) -> list[NDArray[np.uint8]]:
    """Pictures of one agent at play, (height, width, 3), with its reference as a ghost."""
    from mprl.scripts import play
    from mprl.scripts.shows import Simulated
    from mprl.simulation.rendering import SceneRenderer
    from mprl.simulation.video import caption

    show: Any = play.make(play.read([name]))
    if not isinstance(show, Simulated):
        raise SettingError(f"{name}: expected an agent that imitates a motion")
    from mprl.envs.imitation.played import record

    moments = record(show.played, count * _EVERY * show.played.control_step)[1::_EVERY]
    model = show.played.envs._models[0]
    with SceneRenderer(model, width, height, ghost=True, fps=30 / _EVERY, distance=3.5) as scene:
        pictures = [scene.render(moment.qpos, moment.ghost, moment.markers) for moment in moments]
    show.close()
    return [caption(pictures[i % len(pictures)], name) for i in range(count)]


def write(path: Path, frames: Sequence[NDArray[np.uint8]], rate: float, quality: int) -> None:
    """Write an animated picture that never ends; it appears whole or not at all."""
    from PIL import Image

    from mprl.files import write_atomically

    images, content = [Image.fromarray(frame) for frame in frames], io.BytesIO()
    kind: dict[str, Any] = {"format": "WEBP", "quality": quality, "method": 6} if path.suffix.lower() == ".webp" else {"format": "PNG"}
    images[0].save(content, save_all=True, append_images=images[1:], duration=round(1000 / rate), loop=0, **kind)
    write_atomically(path, content.getvalue())


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MprlError as error:
        sys.exit(f"mprl: {error}")
