"""A library of any number of clips in a folder: opened at once, each clip laid out when it is first asked for.

The rows of all clips lie in one file of float32 numbers that is mapped into memory, so that the operating system keeps what is in
use and nothing else. A clip's rows are written when it is sampled for the first time and are there from then on, for the next
process too. The file's place and name tell what it was made from: other clips, another character or other settings make another one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from mprl.errors import MprlError, SettingError
from mprl.motion import library
from mprl.motion import rotations as rot
from mprl.motion.characters.character import Character
from mprl.motion.clip import MotionClip
from mprl.motion.load import READERS, load

log = logging.getLogger("mprl")

_VERSION = 1  # of the rows; another one lays all clips out again
_CLIPS_KEPT = 64  # of those that were looked at last


class FolderLibrary(library.MotionLibrary):
    """All motion files below a folder, as a `MotionLibrary`; broken ones are told and left out.

    Args:
        folder: with motion files of any format.
        character: whose motions they are.
        device: where samples go; the rows stay on the disk and in the memory.
        velocity_cutoff, correct_floor: as of a `MotionLibrary`.
        cache: folder for the index and the rows; by default `.mprl` in the folder itself.
        progress: show bars while the files are looked through, and while clips are laid out.

    Attributes:
        files: the clips' files, in the order of their ids.

    Raises:
        SettingError: no such folder, no motion in it that fits the character, or the cache cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        character: Character,
        device: torch.device | str = "cpu",
        velocity_cutoff: float | None = 6.0,
        correct_floor: bool = True,
        cache: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise SettingError(f"{folder}: expected a folder of motions, there is none")
        self.character, self._cutoff, self._correct, self._progress = character, velocity_cutoff, correct_floor, progress
        self._set_columns(device)
        place = folder / ".mprl" if cache is None else Path(cache)
        found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in READERS and place not in file.parents)
        facts = _facts(folder, found, character, velocity_cutoff, correct_floor)
        name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        try:
            place.mkdir(parents=True, exist_ok=True)
            index = _index(place / f"{name}.json", folder, found, character, progress)
            self.files = [folder / file for file in index["files"]]
            if not self.files:
                raise SettingError(f"{folder}: holds no motion that fits the character '{character.name}'")
            steps = np.array(index["steps"], dtype=np.int64)
            first = np.concatenate(([0], np.cumsum(steps + 1)))
            self._rows, self._there = _mapped(place / name, int(first[-1]), sum(self._sizes), len(steps))
        except OSError as error:
            raise SettingError(
                f"{place}: the index of the motions cannot be written: {error.strerror or error}; name another cache"
            ) from None
        self._device = torch.device(device)
        self._first, self._steps = torch.as_tensor(first[:-1]), torch.as_tensor(steps).float()
        self.durations = torch.tensor(index["durations"], dtype=torch.float32, device=device)
        self.cyclic = torch.tensor(index["cyclic"], dtype=torch.bool, device=device)
        self.displacement = torch.tensor(index["displacement"], dtype=torch.float32, device=device).reshape(-1, 3)
        self.clips = _Clips(self)
        columns = np.cumsum((0, *self._sizes))
        self._targets = (slice(0, 7), slice(int(columns[4]), int(columns[6])))

    def lay_out(self, clip_ids: Sequence[int] | None = None) -> None:
        """Lay clips out now, by default all that are not there yet, rather than when they are first sampled."""
        wanted = np.arange(len(self.files)) if clip_ids is None else np.unique(np.asarray(clip_ids))
        missing = [int(clip) for clip in wanted if not self._there[clip]]
        for clip in _bar(missing, "laying out", self._progress and len(missing) > 1):
            rows = library.lay_out(self.clips[clip], self.character, self._cutoff).float()
            start = int(self._first[clip])
            self._rows[start : start + len(rows)] = rows
            self._there[clip] = True  # last, so that a kill leaves no half of a clip behind

    def sample_targets(self, clip_ids: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index, blend, displacement = self._find(clip_ids, times)
        blend, flat = blend.reshape(-1, 1), index.reshape(-1)
        parts = [
            torch.lerp(part.index_select(0, flat), part.index_select(0, flat + 1), blend)
            for part in (self._rows[:, columns] for columns in self._targets)
        ]
        row = torch.cat(parts, dim=1).unflatten(0, index.shape).to(self._device)
        nu = self.character.model.nu
        root, quaternion, control, feedforward = row.split((3, 4, nu, nu), dim=-1)
        return root + displacement, rot.unit(quaternion), control, feedforward

    def _blend(self, rows: Tensor, clip_ids: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        index, blend, displacement = self._find(clip_ids, times)
        return library.between(rows, index, blend).to(self._device), displacement

    def _find(self, clip_ids: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row before each time and the share of the next one, both where the rows are, and the displacement so far."""
        ids = clip_ids.to("cpu")
        there = torch.from_numpy(self._there)
        if not bool(there[ids].all()):
            self.lay_out(ids.unique().tolist())
        progress = times / self.durations[clip_ids]
        cycles = torch.where(self.cyclic[clip_ids], progress.floor(), 0.0)
        steps = self._steps[ids]
        at = (progress - cycles).clamp(0.0, 1.0).to("cpu") * steps
        before = at.floor().clamp(max=steps - 1)
        return self._first[ids] + before.long(), at - before, cycles.unsqueeze(-1) * self.displacement[clip_ids]


class _Clips(Sequence[MotionClip]):
    """The clips of a library, read from their files when they are looked at; the last few are kept."""

    def __init__(self, of: FolderLibrary) -> None:
        self._of = of
        self._get = functools.lru_cache(_CLIPS_KEPT)(self._read)

    def __len__(self) -> int:
        return len(self._of.files)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        return self._get(int(index) % len(self))

    def _read(self, index: int) -> MotionClip:
        return library.prepared(load(self._of.files[index]), self._of.character, self._of._correct)


def _facts(folder: Path, files: list[Path], character: Character, cutoff: float | None, correct_floor: bool) -> list[Any]:
    """All that the rows depend on: the files as they are, the compiled character, the settings."""
    model = character.model
    compiled = np.empty(mujoco.mj_sizeModel(model), dtype=np.uint8)
    mujoco.mj_saveModel(model, None, compiled)
    about = [_VERSION, cutoff, correct_floor, library.GRID_RATE, hashlib.sha256(compiled.tobytes()).hexdigest()]
    return [about, [[str(file.relative_to(folder)), file.stat().st_size, file.stat().st_mtime_ns] for file in files]]


def _index(path: Path, folder: Path, files: list[Path], character: Character, progress: bool) -> dict[str, Any]:
    """What sampling needs to know of each clip; read back where it was written before."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("version") == _VERSION:
            return found
    index: dict[str, Any] = {"version": _VERSION, "files": [], "durations": [], "steps": [], "cyclic": [], "displacement": []}
    for file in _bar(files, "reading", progress):
        try:
            clip = load(file)
            character.check(clip)
        except MprlError as error:
            log.warning("left out: %s", error)
            continue
        index["files"].append(str(file.relative_to(folder)))
        index["durations"].append(clip.duration)
        index["steps"].append(library.grid_steps(clip.num_frames, clip.frame_rate))
        index["cyclic"].append(clip.loop == "wrap")
        index["displacement"].append(clip.cycle_displacement.tolist())
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        temporary.write_text(json.dumps(index), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return index


def _mapped(path: Path, rows: int, columns: int, clips: int) -> tuple[Tensor, np.ndarray]:
    """The table (rows, columns), and which clips are in it, (clips,) bool: files that take no room before they are written."""
    maps, broken = [], False
    for suffix, shape, dtype in ((".rows", (rows, columns), np.float32), (".there", (clips,), np.bool_)):
        file = path.with_suffix(suffix)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with file.open("ab") as handle:
            broken = broken or handle.tell() != size  # without its rows no clip is there
            if broken:
                handle.truncate(0)
                handle.truncate(size)
        maps.append(np.memmap(file, dtype=dtype, mode="r+", shape=shape))
    return torch.from_numpy(maps[0]), maps[1]


def _bar(items: Sequence[Any], what: str, shown: bool) -> Iterator[Any]:
    if not shown:
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=what)
