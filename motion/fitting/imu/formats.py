"""Recordings of inertial sensors as files: `.npz` without pickle, or `.csv`.

    # frame_rate: 60
    # acceleration: free
    # calibration: 1.0
    left_forearm_qw,left_forearm_qx,left_forearm_qy,left_forearm_qz,left_forearm_ax,left_forearm_ay,left_forearm_az,head_qw,...
    0.99,0.01,0.0,0.12,0.02,-0.11,0.05,...

| column, for each sensor | what |
|---|---|
| `NAME_qw`, `NAME_qx`, `NAME_qy`, `NAME_qz` | the sensor's orientation in a world with z up, unit quaternion |
| `NAME_ax`, `NAME_ay`, `NAME_az` | acceleration, m/s² |
| `time` | s, evenly spaced, instead of the frame rate |

Above the names: `acceleration: free` (in the world's axes, without gravity; the default) or `specific_force` (what an accelerometer feels:
along the sensor's axes, with gravity); `calibration: SECONDS` for which the T-pose is held at the beginning (1 where nothing is said);
`heading: DEGREES` to the left from the world's x, where the person faces then; `spacing: N` of synthetic accelerations. Cells may be
empty for a quarter of a second. A `.npz` has the keys `sensors` (S,), `orientation` (T, S, 4), `acceleration` (T, S, 3), `frame_rate`,
and the others where they are known: `acceleration_kind`, `calibration`, `heading` (rad), `spacing`.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mprl.errors import MotionFormatError, MprlError, unknown_name
from mprl.motion import inertial
from mprl.motion import rotations as rot
from mprl.motion.fitting.imu.readings import Readings
from mprl.motion.fitting.imu.sensors import NAMES
from mprl.motion.formats import csv
from mprl.motion.formats.files import read_text, write_atomically
from mprl.motion.formats.members import TABLE, read_members

KINDS = ("free", "specific_force")
_SAID = re.compile(r"^#\s*(acceleration|calibration|heading|spacing)\s*[:=]\s*(\S+)\s*$", re.I | re.M)
_COLUMN = re.compile(r"^(.+)_(q[wxyz]|a[xyz])$")
_PARTS = ("qw", "qx", "qy", "qz", "ax", "ay", "az")
_MEMBERS = {"orientation": TABLE, "acceleration": TABLE, "sensors": 64, "frame_rate": 64, "acceleration_kind": 1, "calibration": 1,
            "heading": 1, "spacing": 1}  # fmt: skip


def read(path: str | Path, calibration: float | None = None, heading: float | None = None) -> Readings:
    """Read a recording.

    Args:
        path: `.csv` or `.npz`, see the module.
        calibration: s, instead of what the file says.
        heading: rad, instead of what the file says.

    Raises:
        MotionFormatError: names the file and what is wrong.
        UnknownNameError: a sensor that is none of the six.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".npz"):
        raise MotionFormatError(f"{path}: recordings of inertial sensors are .csv or .npz, not '{path.suffix}'")
    said = _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path)
    said |= {key: value for key, value in (("calibration", calibration), ("heading", heading)) if value is not None}
    kind = said.pop("kind")
    if kind not in KINDS:
        raise MotionFormatError(f"{path}: acceleration: expected one of {', '.join(KINDS)}, found '{kind[:40]}'")
    if kind == "specific_force":
        said["acceleration"] = _free(said["orientation"], said["acceleration"])
    try:
        return Readings(name=path.stem, **said)
    except MprlError as error:
        raise type(error)(str(error).replace(path.stem, str(path), 1)) from None


def write(readings: Readings, path: str | Path) -> Path:
    """Write a recording, `.csv` or `.npz` by its ending.

    Raises:
        MotionFormatError: another ending, or it cannot be written.
    """
    path = Path(path)
    r = readings
    if path.suffix.lower() == ".npz":
        return write_atomically(
            path,
            lambda file: np.savez_compressed(
                file, sensors=np.array(r.sensors), orientation=r.orientation, acceleration=r.acceleration, frame_rate=r.frame_rate,
                acceleration_kind="free", calibration=r.calibration, heading=r.heading, spacing=r.spacing,
            ),
        )  # fmt: skip
    if path.suffix.lower() != ".csv":
        raise MotionFormatError(f"{path}: recordings of inertial sensors are written as .csv or .npz, not '{path.suffix}'")
    text = io.StringIO()
    text.write(f"# frame_rate: {r.frame_rate!r}\n# acceleration: free\n# calibration: {r.calibration!r}\n")
    text.write(f"# heading: {math.degrees(r.heading):.9g}\n# spacing: {r.spacing}\n")
    text.write(",".join(f"{sensor}_{part}" for sensor in r.sensors for part in _PARTS) + "\n")
    rows = np.concatenate((r.orientation, r.acceleration), axis=-1).reshape(r.num_frames, -1)
    np.savetxt(text, rows, "%.7g", delimiter=",")
    return write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def _read_csv(path: Path) -> dict[str, Any]:
    text = read_text(path)
    names, rows, rate = csv.parse(path, text, missing=True)
    columns = dict(zip(names, rows.T, strict=True))
    if "time" in columns:
        rate = csv.rate_of_times(path, columns.pop("time"), rate)
    if rate is None:
        raise MotionFormatError(f"{path}: expected a column 'time', or a line '# frame_rate: 60' above the names of the columns")
    sensors = []
    for column in columns:
        found = _COLUMN.match(column)
        if found is None or found[1] not in NAMES:
            raise unknown_name(
                "sensor", found[1] if found else column, NAMES, f"{path}; columns are NAME_qw ... NAME_az of {', '.join(NAMES)}"
            )
        sensors.append(found[1])
    sensors = list(dict.fromkeys(sensors))
    for sensor in sensors:
        for part in _PARTS:
            if f"{sensor}_{part}" not in columns:
                raise MotionFormatError(f"{path}: the sensor '{sensor}' has no column '{sensor}_{part}'")
    values = np.stack([np.stack([columns[f"{sensor}_{part}"] for part in _PARTS], axis=-1) for sensor in sensors], axis=1)
    said = {key.lower(): value for key, value in _SAID.findall(text.partition(names[0])[0])}
    result: dict[str, Any] = {"kind": said.pop("acceleration", "free").lower()}
    for key, word in said.items():
        try:
            number = float(word)
            result[key] = math.radians(number) if key == "heading" else int(number) if key == "spacing" else number
        except (ValueError, OverflowError):
            raise MotionFormatError(f"{path}: {key}: expected a number, found '{word[:40]}'") from None
    return result | {"sensors": tuple(sensors), "frame_rate": rate, "orientation": values[..., :4], "acceleration": values[..., 4:]}


def _read_npz(path: Path) -> dict[str, Any]:
    content, names = read_members(path, _MEMBERS, strict=True)
    for key in ("sensors", "orientation", "acceleration", "frame_rate"):
        if key not in content:
            raise MotionFormatError(f'{path}: the key "{key}" is missing; this .npz holds {", ".join(names)[:80] or "nothing"}')
    sensors = tuple(str(name) for name in np.atleast_1d(content["sensors"]))
    rates = np.atleast_1d(content["frame_rate"])
    if rates.dtype.kind not in "iuf" or rates.size not in (1, len(sensors)) or content["orientation"].dtype.kind not in "iuf":
        raise MotionFormatError(f'{path}, key "frame_rate": expected a number of Hz, found {str(rates.tolist())[:60]}')
    if (rates != rates[0]).any():
        told = ", ".join(f"{sensor} {rate:g} Hz" for sensor, rate in zip(sensors, rates, strict=True))
        raise MotionFormatError(f"{path}: mixed rates: {told[:120]}; bring all sensors to one rate first")
    result: dict[str, Any] = {"kind": str(content.get("acceleration_kind", "free"))}
    for key, kind in (("calibration", float), ("heading", float), ("spacing", int)):
        if key in content:
            try:
                result[key] = kind(content[key])
            except (TypeError, ValueError, OverflowError):
                raise MotionFormatError(f'{path}, key "{key}": expected a number') from None
    table = {key: content[key] for key in ("orientation", "acceleration")}
    for key, width in (("orientation", 4), ("acceleration", 3)):
        if table[key].ndim != 3 or table[key].shape[1:] != (len(sensors), width):
            raise MotionFormatError(f'{path}, key "{key}": expected (frames, {len(sensors)} sensors, {width}), found {table[key].shape}')
    return result | {"sensors": sensors, "frame_rate": float(rates[0]), **table}


def _free(orientation: np.ndarray, force: np.ndarray) -> np.ndarray:
    gravity = torch.tensor(inertial.GRAVITY, dtype=torch.float64)
    q, f = (torch.as_tensor(np.asarray(value, dtype=np.float64)) for value in (orientation, force))
    return inertial.free_acceleration(rot.unit(q), f, gravity).numpy()
