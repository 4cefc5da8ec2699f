"""`mprl motion convert`: a motion file in another format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mprl.errors import SettingError


@dataclass(frozen=True)
class Options:
    """Write a motion as our own .npz, which needs no pickle."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """a motion file, or the name of a shipped motion"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")]
    """where to write it"""


def run(options: Options, words: Sequence[str] = ()) -> None:
    """Write a motion file as `.npz`."""
    from mprl.motion import load
    from mprl.motion.formats import npz

    if options.out.suffix.lower() != ".npz":
        raise SettingError(f"{options.out}: motions are written as .npz, not '{options.out.suffix}'")
    clip = load(options.file)
    npz.write(clip, options.out)
    print(f"wrote {options.out}: {clip.num_frames} frames, {clip.duration:.2f} s")
