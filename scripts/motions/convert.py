"""`mprl motion convert`: motion files in another format, one, many, or whole folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mprl.errors import MprlError, SettingError, nearest
from mprl.scripts.options import check_folder, make_folder
from mprl.scripts.reading import Reading, check_not_over, of_its_kind, progress, text

if TYPE_CHECKING:
    from mprl.motion import MotionClip

_ENDINGS = {"npz": ".npz", "amass": ".npz", "bvh": ".bvh"}


@dataclass(frozen=True)
class Options(Reading):
    """Write motions as .npz, AMASS or BVH: a file, many, or a folder with all in it."""

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE... OUT", help_behavior_hint="")]
    """motion files, folders, or names of shipped motions; last the file to write, or the folder where several are written"""
    to: Annotated[Literal["npz", "amass", "bvh"] | None, text("FORMAT")] = None
    """npz (ours), amass (SMPL's joints only) or bvh; by default as OUT ends, npz in a folder"""
    character: Annotated[str | None, text("ROBOT.xml")] = None
    """the MJCF of whose joint angles a pickle or .csv holds"""
    skip_existing: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="")] = 0
    """leave files alone that are there already and newer than what they are made from"""


def run(options: Options, words: Sequence[str] = ()) -> int:
    """Convert motions.

    Returns:
        0, or 1 where at least one file of several could not be converted.

    Raises:
        MprlError: there is nothing to convert, or the only file cannot be.
    """
    if len(options.files) < 2:
        raise SettingError("expected a motion and where to write it: mprl motion convert FILE... OUT")
    sources, out = options.files[:-1], Path(options.files[-1])
    several = len(sources) > 1 or Path(sources[0]).is_dir()
    if not several and out.suffix and not out.is_dir():
        form = options.to or out.suffix.lower().lstrip(".")
        if form not in _ENDINGS or (options.to and out.suffix.lower() != _ENDINGS[form]):
            raise SettingError(f"{out}: motions are written as .npz or .bvh, not '{out.suffix}'")
        from mprl.motion import load

        check_folder(out)
        check_not_over(out, {Path(sources[0]).resolve()})
        clip = load(sources[0], **_how(options))
        _write(clip, out, form)
        print(f"wrote {out}: {clip.num_frames} frames, {clip.duration:.2f} s")
        return 0
    if out.suffix.lower() in _ENDINGS.values() and not out.is_dir():
        raise SettingError(f"{out}: several motions are written to a folder; name one")
    return _convert_all(list(_found(sources)), out, options)


def _how(options: Options) -> dict[str, Any]:
    return options.said() | {"character": options.character}


def _found(sources: Sequence[str]) -> Iterator[tuple[Path | str, Path]]:
    """Each file to read, and its place below the folder that was named."""
    from mprl.motion.load import READERS

    for source in sources:
        folder = Path(source)
        if not folder.is_dir():
            yield source, Path(folder.name)
            continue
        everything = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        inside = [path for path in everything if path.suffix.lower() in READERS]
        if not inside:
            raise SettingError(f"{folder}: no motion files in it; known are {', '.join(READERS)}")
        if others := sorted({path.suffix or path.name for path in everything} - {path.suffix for path in inside}):
            print(f"{folder}: {len(everything) - len(inside)} other files left alone ({', '.join(others)[:80]})")
        for path in inside:
            yield path, path.relative_to(folder)


def _convert_all(files: list[tuple[Path | str, Path]], out: Path, options: Options) -> int:
    """Convert file after file; one that cannot be is reported at the end."""
    from rich.progress import TextColumn

    from mprl.motion import load_all

    make_folder(out)
    form, read = options.to or "npz", {Path(source).resolve() for source, _ in files}
    written: dict[Path, str] = {}
    failed: list[str] = []
    left, seconds = 0, 0.0
    with progress("converting", TextColumn("{task.fields[file]}")) as bar:
        task = bar.add_task("", total=len(files), file="")
        for source, inside in files:
            bar.update(task, file=inside.name[:40])
            place = (out / inside).with_suffix(_ENDINGS[form])
            try:
                if options.skip_existing and _is_newer(place, source):
                    left += 1
                    continue
                clips = load_all(source, failed=failed, **of_its_kind(source, _how(options)))
                for clip, more in _with_more(clips):
                    target = place.with_name(f"{place.stem}_{_file_name(clip.name)}{place.suffix}") if more else place
                    if target in written:
                        raise SettingError(f"{source}: {target} is written from {written[target]} already; convert it elsewhere")
                    check_not_over(target, read)
                    make_folder(target.parent)
                    _write(clip, target, form)
                    written[target] = str(source)
                    seconds += clip.duration
            except MprlError as error:
                if len(files) == 1 and not written and not failed:
                    raise
                failed.append(str(error))
            finally:
                bar.advance(task)
    skipped = f", {left} there already" if left else ""
    print(f"wrote {len(written)} motions, {seconds / 60:.1f} min, to {out}{skipped}")
    for line in failed:
        print(f"could not be converted: {line}")
    if failed:
        print(f"{len(failed)} could not be converted, of {len(files)} files")
    return 1 if failed else 0


def _with_more(clips: Iterator[MotionClip]) -> Iterator[tuple[MotionClip, bool]]:
    """Each clip, and whether it is one of several."""
    first, second = next(clips, None), next(clips, None)
    if first is not None:
        yield first, second is not None
    if second is not None:
        yield second, True
        for clip in clips:
            yield clip, True


def _is_newer(place: Path, source: Path | str) -> bool:
    return place.is_file() and (not Path(source).is_file() or place.stat().st_mtime >= Path(source).stat().st_mtime)


def _file_name(name: str) -> str:
    """A clip's name as a file's."""
    return "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name)[:120]


def _write(clip: MotionClip, out: Path, form: str) -> None:
    from mprl.motion.formats import amass, bvh, npz

    writers: dict[str, Any] = {"npz": npz.write, "amass": amass.write, "bvh": bvh.write}
    if form not in writers:
        raise SettingError(f"--to: expected npz, amass or bvh, found '{form}'{nearest(form, writers)}")
    writers[form](clip, out)
