"""Samples on disk: a folder that is written as it grows and read without ever being in memory as a whole.

    with DatasetWriter("frames", {"image": ("uint8", (64, 64, 3)), "episode": ("int64", ()), "step": ("int64", ())}) as writer:
        writer.add({"image": images, "episode": episodes, "step": steps})       # (n, ...) each

    train, validation = Dataset("frames").split(validation=0.1)
    for batch in train.batches(256, seed=0, epochs=10):                         # {"image": uint8 (256, 64, 64, 3), ...}
        ...

The folder holds `dataset.json` (columns, shards, samples of each episode in each shard) and shards, `00000.npz`, ...: NumPy's own
format, compressed, read with `allow_pickle=False`. Both are written beside their place and moved there when they are complete, the
shard first, so that a kill at any moment loses the shard in the making and nothing else.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.errors import CheckpointError, DatasetError, SettingError, number, unknown_name
from mprl.files import VERSION, read_json, write_atomically

FORMAT = "mprl-dataset"
EPISODE, STEP = "episode", "step"
SHARD_BYTES = 32 << 20  # of a shard in memory
_KINDS = "biuf"  # bool, integers, floating-point numbers
# Level 1: pictures become some percent larger than at zlib's default of 6, in a fraction of the time.
_LEVEL = 1

Columns = Mapping[str, tuple[Any, Sequence[int]]]
Arrays = dict[str, NDArray[Any]]


class DatasetWriter:
    """Appends samples to a dataset, new or old.

    Where there are columns `episode` and `step`, samples of a shard are kept in their order, so that an episode's steps are
    neighbours also where many worlds were recorded at once.

    Args:
        folder: made if missing; a dataset that is there is continued.
        columns: (dtype, shape of one sample) by name.
        about: anything that JSON can hold, to say where the samples come from.
        shard_samples: samples of a shard; by default as many as are 32 MiB.
        same: entries of `about` that must be those of a dataset that is continued.

    Raises:
        DatasetError: the folder holds something else, or a dataset with other columns or another origin.
        SettingError: columns or a shard size that cannot be.
    """

    def __init__(
        self,
        folder: str | Path,
        columns: Columns,
        about: Mapping[str, Any] | None = None,
        shard_samples: int | None = None,
        same: Sequence[str] = (),
    ) -> None:
        self.folder = Path(folder)
        self._types = _checked_columns(columns)
        size = sum(dtype.itemsize * math.prod(shape) for dtype, shape in self._types.values())
        chosen = max(1, SHARD_BYTES // max(size, 1)) if shard_samples is None else shard_samples
        self._shard_samples: int = number("shard_samples", chosen, 1, whole=True)
        self._shards: list[dict[str, Any]] = []
        self._about = dict(about or {})
        if (self.folder / "dataset.json").exists():
            old = Dataset(self.folder)
            if old.columns != self._types:
                raise DatasetError(f"{self.folder}: holds a dataset of {_said(old.columns)}; expected {_said(self._types)}; take another")
            for key in same:
                if old.about.get(key, self._about[key]) != self._about[key]:
                    found = f"{key} {old.about[key]}, not {self._about[key]}"
                    raise DatasetError(f"{self.folder}: holds a dataset with {found}; take another folder")
            self._shards, self._about = old.shards, {**old.about, **self._about}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # a kill may have left a shard that nothing lists, or the beginning of a file
            strange = [path.name for path in self.folder.iterdir() if not self._shards and path.suffix != ".npz" and path.name[0] != "."]
        except OSError as error:
            raise DatasetError(f"{self.folder}: cannot be made: {error.strerror}") from None
        if strange:
            raise DatasetError(f"{self.folder}: holds something else than a dataset ({min(strange)}); take another folder")
        self._waiting: list[Arrays] = []
        self._count = 0

    @property
    def samples(self) -> int:
        """How many samples are in the dataset, those included that are not on disk yet."""
        return sum(shard["samples"] for shard in self._shards) + self._count

    def add(self, batch: Mapping[str, Any]) -> None:
        """Append samples, (n, ...) of each column. They are copied.

        Raises:
            SettingError: a column too many or too few, or of another type or shape.
        """
        for name in batch:
            if name not in self._types:
                raise unknown_name("column", name, self._types, f"known: {', '.join(self._types)}")
        arrays: Arrays = {}
        for name, (dtype, shape) in self._types.items():
            if name not in batch:
                raise SettingError(f"{self.folder}: a batch without the column '{name}'; expected {_said(self._types)}")
            value = batch[name]
            array = value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)
            if array.dtype != dtype or array.shape[1:] != shape or array.ndim == 0:
                raise SettingError(f"{self.folder}: column '{name}' is {dtype} (n, {_of(shape)}), found {array.dtype} {array.shape}")
            arrays[name] = array.copy()
        counts = {len(array) for array in arrays.values()}
        if len(counts) != 1:
            raise SettingError(f"{self.folder}: columns of one length expected, found {sorted(counts)}")
        self._waiting.append(arrays)
        self._count += counts.pop()
        while self._count >= self._shard_samples:
            self._write(self._shard_samples)

    def flush(self) -> None:
        """Write what is waiting, as a smaller shard."""
        if self._count:
            self._write(self._count)

    def _write(self, count: int) -> None:
        arrays = {name: np.concatenate([part[name] for part in self._waiting]) for name in self._types}
        rest = {name: array[count:] for name, array in arrays.items()}
        arrays = {name: array[:count] for name, array in arrays.items()}
        if EPISODE in arrays and STEP in arrays:
            order = np.lexsort((arrays[STEP], arrays[EPISODE]))
            arrays = {name: array[order] for name, array in arrays.items()}
        shard: dict[str, Any] = {"file": f"{len(self._shards):05d}.npz", "samples": count}
        if EPISODE in arrays:
            episodes, counts = np.unique(arrays[EPISODE], return_counts=True)
            shard["episodes"] = [episodes.tolist(), counts.tolist()]
        description = {
            "format": FORMAT,
            "version": VERSION,
            "about": self._about,
            "columns": {name: {"dtype": dtype.name, "shape": list(shape)} for name, (dtype, shape) in self._types.items()},
            "shards": [*self._shards, shard],
        }
        try:
            write_atomically(self.folder / shard["file"], _packed(arrays))
            write_atomically(self.folder / "dataset.json", json.dumps(description).encode())
        except OSError as error:
            raise DatasetError(f"{error.filename}: cannot be written: {error.strerror}") from None
        self._shards.append(shard)
        self._waiting, self._count = ([rest] if self._count > count else []), self._count - count

    def close(self) -> None:
        """Write what is waiting."""
        self.flush()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class Dataset:
    """Samples in a folder.

    Args:
        folder: of a `DatasetWriter`.

    Attributes:
        columns: (dtype, shape of one sample) by name.
        about: where the samples come from.
        shards: what `dataset.json` says of each.

    Raises:
        DatasetError: no dataset, or a broken one; shards are looked at when they are read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "dataset.json"
        if not path.is_file():
            raise DatasetError(f"{self.folder}: no dataset there (no dataset.json); mprl.envs.recording.record makes one")
        try:
            content = read_json(path, FORMAT, "a dataset")
            self.columns = _checked_columns({name: (column["dtype"], column["shape"]) for name, column in content["columns"].items()})
            self.shards: list[dict[str, Any]] = [_checked_shard(shard, EPISODE in self.columns) for shard in content["shards"]]
            self.about: dict[str, Any] = dict(content["about"])
        except CheckpointError as error:
            raise DatasetError(str(error)) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{path}: broken: {' '.join(str(error).split())[:120]}") from None
        self._episodes: frozenset[int] | None = None  # all

    def __len__(self) -> int:
        """Number of samples."""
        if self._episodes is None:
            return sum(shard["samples"] for shard in self.shards)
        chosen = self._episodes
        return sum(n for shard in self.shards for e, n in zip(*shard["episodes"], strict=True) if e in chosen)

    @property
    def episodes(self) -> list[int]:
        """Numbers of the episodes; none where no column tells."""
        found = {e for shard in self.shards for e in shard.get("episodes", [[]])[0]}
        return sorted(found if self._episodes is None else found & self._episodes)

    def split(self, validation: float = 0.1, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two parts without a common episode, so that nobody is judged by neighbours of what they learned from.

        Args:
            validation: share of the episodes in the second part, at least one.
            seed: which ones.

        Raises:
            DatasetError: fewer than two episodes, or no column `episode`.
            SettingError: a share that is not between 0 and 1.
        """
        if not 0 < number("validation", validation) < 1:
            raise SettingError(f"validation must be a share between 0 and 1, found {validation}")
        episodes = self.episodes
        if len(episodes) < 2:
            raise DatasetError(f"{self.folder}: a split needs a column 'episode' with at least two, found {len(episodes)} episodes")
        order = np.random.default_rng(seed).permutation(episodes).tolist()
        count = min(max(1, round(validation * len(order))), len(order) - 1)
        return self._part(order[count:]), self._part(order[:count])

    def _part(self, episodes: Sequence[int]) -> Dataset:
        part = Dataset(self.folder)
        part._episodes = frozenset(episodes)
        return part

    def batches(
        self,
        batch_size: int,
        *,
        columns: Sequence[str] | None = None,
        window: int | None = None,
        seed: int | None = 0,
        epochs: int | None = 1,
        first_epoch: int = 0,
        drop_last: bool = False,
        mixed: int = 4,
    ) -> Iterator[dict[str, Tensor]]:
        """Batches of samples in random order, each sample once an epoch.

        Shards are drawn in random order and shuffled `mixed` at a time, so that memory holds these and no more. Epoch e of a seed is
        the same whenever it is asked for.

        Args:
            batch_size: B; the last batch of an epoch may be smaller.
            columns: which to read; all by default.
            window: T: samples are all runs of T steps in a row of an episode, (B, T, ...). Runs across two shards are left out.
            seed: of the order; None: in the order of writing.
            epochs: how often; None: without end.
            first_epoch: number of the first one, to go on where a training stopped.
            drop_last: leave out a smaller last batch.
            mixed: how many shards are shuffled together.

        Yields:
            Tensors of the columns' types by name, (B, ...).

        Raises:
            DatasetError: a shard that is missing, cut off or not as `dataset.json` says; or columns that a window needs.
            UnknownNameError: no such column.
        """
        batch_size = number("batch_size", batch_size, 1, whole=True)
        mixed = number("mixed", mixed, 1, whole=True)
        names = list(self.columns if columns is None else columns)
        for name in names:
            if name not in self.columns:
                raise unknown_name("column", name, self.columns, f"of {self.folder}: {', '.join(self.columns)}")
        if window is not None:
            number("window", window, 1, whole=True)
            if not (EPISODE in self.columns and STEP in self.columns):
                raise DatasetError(f"{self.folder}: windows need the columns 'episode' and 'step', found {_said(self.columns)}")
        return self._batches(batch_size, names, window, seed, epochs, first_epoch, drop_last, mixed)

    def _batches(
        self,
        batch_size: int,
        names: list[str],
        window: int | None,
        seed: int | None,
        epochs: int | None,
        first_epoch: int,
        drop_last: bool,
        mixed: int,
    ) -> Iterator[dict[str, Tensor]]:
        epoch = first_epoch
        while epochs is None or epoch < first_epoch + epochs:
            random = None if seed is None else np.random.default_rng([seed, epoch])
            yield from self._epoch(batch_size, names, window, random, drop_last, mixed)
            epoch += 1

    def _epoch(
        self, batch_size: int, names: list[str], window: int | None, random: np.random.Generator | None, drop_last: bool, mixed: int
    ) -> Iterator[dict[str, Tensor]]:
        places = [place for place, shard in enumerate(self.shards) if self._holds(shard)]
        if random is not None:
            places = random.permutation(places).tolist()
        left: Arrays | None = None  # less than a batch, of the last shards
        for first in range(0, len(places), mixed):
            parts = [self._samples(place, names, window) for place in places[first : first + mixed]]
            parts = ([left] if left is not None else []) + parts
            arrays = {name: np.concatenate([part[name] for part in parts]) for name in names}
            count = len(arrays[names[0]])
            order = np.arange(count) if random is None else random.permutation(count)
            full = count - count % batch_size
            for start in range(0, full, batch_size):
                yield {name: torch.from_numpy(array[order[start : start + batch_size]]) for name, array in arrays.items()}
            left = {name: array[order[full:]] for name, array in arrays.items()}
        if left is not None and len(left[names[0]]) and not drop_last:
            yield {name: torch.from_numpy(array) for name, array in left.items()}

    def _holds(self, shard: Mapping[str, Any]) -> bool:
        return self._episodes is None or not self._episodes.isdisjoint(shard["episodes"][0])

    def _samples(self, place: int, names: Sequence[str], window: int | None) -> Arrays:
        """Of one shard: the samples of this part of the dataset, or the runs of samples."""
        keys = [EPISODE] * (self._episodes is not None or window is not None) + [STEP] * (window is not None)
        arrays = self.read(place, list(dict.fromkeys([*names, *keys])))
        count = self.shards[place]["samples"]
        starts = np.arange(count)
        if window is not None:
            starts = starts[: max(0, count - window + 1)]
            ends = starts + window - 1
            # steps in a row of one episode: it began at the same row
            begun = arrays[STEP].astype(np.int64) - np.arange(count)
            starts = starts[(arrays[EPISODE][starts] == arrays[EPISODE][ends]) & (begun[starts] == begun[ends])]
        if self._episodes is not None:
            starts = starts[np.isin(arrays[EPISODE][starts], list(self._episodes))]
        rows = starts if window is None else starts[:, None] + np.arange(window)
        if window is None and len(rows) == count:
            return {name: arrays[name] for name in names}
        return {name: arrays[name][rows] for name in names}

    def read(self, place: int, names: Sequence[str] | None = None) -> Arrays:
        """All samples of a shard, (n, ...) by column.

        Args:
            place: which shard.
            names: of the columns; all by default.

        Raises:
            DatasetError: it is missing, cut off, or not as `dataset.json` says.
        """
        path, count = self.folder / self.shards[place]["file"], self.shards[place]["samples"]
        arrays: Arrays = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for name in self.columns if names is None else names:
                    arrays[name] = _unpacked(archive, name, self.columns[name], count)
        except FileNotFoundError:
            raise DatasetError(f"{path}: missing, though dataset.json lists it; record the dataset anew, or take it off the list") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise DatasetError(f"{path}: cannot be read: {reason}; is the file cut off?") from None
        return arrays


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz file, as `numpy.savez_compressed` writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _unpacked(archive: zipfile.ZipFile, name: str, kind: tuple[np.dtype[Any], tuple[int, ...]], count: int) -> NDArray[Any]:
    """One column of a shard. Its size is known beforehand, so that no file can ask for more memory than that."""
    dtype, shape = kind
    size = count * math.prod(shape) * dtype.itemsize
    member = archive.getinfo(f"{name}.npy")
    if not size <= member.file_size <= size + 4096:
        raise ValueError(f"column '{name}' has {member.file_size} bytes, expected {size} and a header")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype != dtype or array.shape != (count, *shape):
        raise ValueError(f"column '{name}' is {array.dtype} {array.shape}, expected {dtype} {(count, *shape)}")
    return array


def _checked_columns(columns: Columns) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    found = {}
    for name, (dtype, shape) in columns.items():
        try:
            kind = np.dtype(dtype)
            sides = tuple(number(f"shape of '{name}'", side, 0, whole=True) for side in shape)
        except TypeError:
            raise SettingError(f"column '{name}': expected a NumPy type and a shape, found {str((dtype, shape))[:60]}") from None
        if kind.kind not in _KINDS:
            raise SettingError(f"column '{name}': expected numbers, found {kind}")
        if not name or not name.replace("_", "").isalnum():
            raise SettingError(f"a column's name has letters, digits and _ only, found {name!r}")
        found[name] = (kind, sides)
    if not found:
        raise SettingError("a dataset needs at least one column")
    return found


def _checked_shard(shard: Any, with_episodes: bool) -> dict[str, Any]:
    """What `dataset.json` says of a shard: a file beside it, and how many samples of which episodes."""
    file, samples = shard["file"], shard["samples"]
    if not isinstance(file, str) or Path(file).name != file or type(samples) is not int or samples < 0:
        raise ValueError(f"a shard must have a file and a number of samples, found {str(shard)[:60]}")
    checked: dict[str, Any] = {"file": file, "samples": samples}
    if with_episodes:
        episodes, counts = shard["episodes"]
        if len(episodes) != len(counts) or sum(counts) != samples or not all(type(e) is int for e in episodes):
            raise ValueError(f"the episodes of {file} must have {samples} samples")
        checked["episodes"] = [episodes, counts]
    return checked


def _of(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _said(columns: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype.name} ({_of(shape)})" for name, (dtype, shape) in columns.items())
