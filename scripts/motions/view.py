"""`mprl motion view`: motions in the browser, live or as a page in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import SettingError, unknown_name
from mprl.scripts.reading import Reading, of_its_kind, text

if TYPE_CHECKING:
    from mprl.motion import MotionClip, SmplBody


@dataclass(frozen=True)
class Options(Reading):
    """Look at motions in the browser, several side by side."""

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CLIP...")]
    """motion files, or names of shipped motions"""
    html: Annotated[Path | None, text("OUT.html")] = None
    """write a page in one file, which needs no network and no mprl, in place of starting a server"""
    port: Annotated[int | None, text("PORT")] = None
    """of the server on this machine; 0 for any that is free; by default 8080, or the next one that is"""
    character: Annotated[str | None, text("ROBOT.xml")] = None
    """the MJCF that is drawn for the motions that move it, and whose joint angles a pickle or .csv holds"""
    body: Annotated[str | None, text("FILE")] = None
    """a body file, or smpl, for motions of SMPL's joints; by default the free body"""


def run(options: Options, words: Sequence[str] = ()) -> None:
    """Show motions."""
    from mprl.motion import SmplBody, viewing
    from mprl.motion.characters.mjcf import load_character
    from mprl.scripts.options import check_folder

    if not options.files:
        raise SettingError("expected at least one motion, found none (mprl motion view --help)")
    if options.html is not None:
        check_folder(options.html)
    if options.character is not None and not Path(options.character).suffix:
        raise unknown_name("character", options.character, (), "expected the path of an MJCF file")
    character = None if options.character is None else load_character(options.character)
    body = None if options.body is None else SmplBody.load(options.body)
    scene = viewing.scene_of([_load(file, options, body) for file in options.files], character, body)
    if options.html is not None:
        viewing.write(scene, options.html)
        print(f"wrote {options.html}: {scene.duration:.2f} s, {options.html.stat().st_size / 1000:.0f} kB")
        return
    with viewing.LiveView(scene, options.port) as view:
        print(f"open {view.url} in a browser; Ctrl-C ends", flush=True)
        try:
            view.run()
        except KeyboardInterrupt:
            print("\nstopped")


def _load(file: str, options: Options, body: SmplBody | None) -> MotionClip:
    from mprl.motion import load

    said = options.said()
    read_by: dict[str, Any] = {"character": options.character, "body": body}  # drawn in any case
    return load(file, **(said if len(options.files) == 1 else of_its_kind(file, said)), **of_its_kind(file, read_by))
