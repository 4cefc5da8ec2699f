"""SMPL's files: found, read, checked, written.

`v_template` (V, 3), `f` (F, 3), `weights` (V, J), `shapedirs` (V, 3, S), `posedirs` (V, 3, 9 (J - 1)), `J_regressor` (J, V), dense or
sparse, and `kintree_table` (2, J), whose first row holds the parents; in a `.npz`, or in the pickle of the official download, which
is read without running it. SMPL has 24 joints; SMPL-H and SMPL-X have fingers, and come out with SMPL's 24 (`hands.py`).
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from mprl.errors import MotionFormatError, SettingError, unknown_name
from mprl.motion.body.hands import without_fingers
from mprl.motion.body.joints import PARENTS
from mprl.motion.formats import pickles, smpl_motion
from mprl.motion.formats.files import check, write_atomically

VARIABLE = "MPRL_SMPL"  # environment variable: the folder of the user's files
MAX_BYTES = 2**30  # SMPL-X takes half of it

_NUMBERS = ("v_template", "f", "weights", "shapedirs", "posedirs", "J_regressor", "kintree_table")
_HANDS = ("hands_meanl", "hands_meanr")
_TEXTS = ("name", "gender", "licence", "source")
_KINDS = {  # by the number of joints
    24: ("SMPL", "https://smpl.is.tue.mpg.de"),
    52: ("SMPL-H", "https://mano.is.tue.mpg.de"),
    55: ("SMPL-X", "https://smpl-x.is.tue.mpg.de"),
}
# Names in the usual layouts: smplx's own (models/smpl/SMPL_FEMALE.pkl), the official downloads', AMASS' (smplh/female/model.npz).
_LAYOUTS = {
    "smpl": (r"smpl_{gender}\.(pkl|npz)", r"basicmodel_({gender}|{letter})_lbs_10_207_0_[^/]*\.pkl"),
    "smplh": (r"smplh_{gender}\.(pkl|npz)", r"smplh/{gender}/model\.(npz|pkl)"),
    "smplx": (r"smplx_{gender}\.(npz|pkl)", r"smplx/{gender}/model\.(npz|pkl)"),
}
_SITES = {"smpl": _KINDS[24][1], "smplh": _KINDS[52][1], "smplx": _KINDS[55][1]}
_MEANWHILE = "the free body works meanwhile: SmplBody.default()"


def find(body: str | Path, gender: str = "neutral", folder: str | Path | None = None) -> Path:
    """The file of "smpl", "smplh" or "smplx" in a folder (default: the one that MPRL_SMPL names); any other name is a path.

    Raises:
        SettingError: there is none; says where to get it.
    """
    kind = str(body).lower()
    if kind not in _LAYOUTS:
        path = Path(body).expanduser()
        if not path.exists() and not path.suffix:
            raise unknown_name("body", str(body), ["default", *_LAYOUTS], "or the path of a .pkl or .npz file")
        return path
    if gender not in ("neutral", "female", "male"):
        raise unknown_name("gender", gender, ["neutral", "female", "male"], "neutral, female or male")
    place = folder or os.environ.get(VARIABLE)
    asked = f"{kind.upper()}_{gender.upper()}"
    if not place:
        raise SettingError(f"{asked}: get it from {_SITES[kind]} and set {VARIABLE} to its folder; {_MEANWHILE}")
    names = [form.format(gender=gender, letter=gender[0]) for form in _LAYOUTS[kind]]
    pattern = re.compile("|".join(f"(?:^|.*/){name}" for name in names), re.IGNORECASE)
    for path in _files(Path(place).expanduser()):
        if pattern.fullmatch(path.as_posix()):
            return path
    raise SettingError(f"{place}: no {asked}.pkl or .npz there or below; get it from {_SITES[kind]}; {_MEANWHILE}")


def _files(folder: Path, deepest: int = 5) -> list[Path]:
    """Files below a folder, nearest first, `.npz` before `.pkl`: it loads faster."""
    found = []
    for here, folders, files in os.walk(folder):
        if len(Path(here).relative_to(folder).parts) >= deepest:
            folders.clear()
        found += [Path(here, name) for name in files if name.lower().endswith((".pkl", ".npz"))]
    return sorted(found, key=lambda path: (len(path.parts), path.suffix.lower(), str(path)))


def read(path: str | Path, num_betas: int = 10, gender: str | None = None) -> dict[str, Any]:
    """The arrays of a body file, with 24 joints and at most `num_betas` shape directions.

    Raises:
        MotionFormatError: names the file, the key, and what was expected.
    """
    path = Path(path).expanduser()
    check(path, MAX_BYTES)
    content = _read_npz(path) if path.suffix.lower() == ".npz" else _read_pickle(path)
    for key in _NUMBERS:
        if key not in content:
            raise MotionFormatError(f'{path}: the key "{key}" is missing; expected a body in SMPL\'s format')
    if scipy.sparse.issparse(content["J_regressor"]):
        content["J_regressor"] = _unfolded(path, content["J_regressor"], content["v_template"])
    arrays: dict[str, Any] = {key: _numbers(path, key, content[key]) for key in (*_NUMBERS, *_HANDS) if key in content}
    joints = _check_shapes(path, arrays)
    shapes = arrays["shapedirs"]
    if joints == 55:  # SMPL-X: expressions of the face follow the shape directions
        shapes = shapes[..., : 300 if shapes.shape[-1] >= 400 else 10]
    arrays["shapedirs"] = shapes[..., :num_betas]
    kind, site = _KINDS[joints]
    said = {key: str(content[key]) for key in _TEXTS if isinstance(content.get(key), str | np.ndarray)}
    named = re.search(r"(?:^|[_/])(female|male|f|m)(?:_|/|\.|$)", "/".join(path.parts[-2:]).lower())
    texts = {
        "name": kind,
        "gender": gender or {"f": "female", "m": "male"}.get(named[1][0] if named else "", "neutral"),
        "licence": f"of {kind}, non-commercial: {site}",
        "source": path.name,
    }
    said |= {"gender": gender} if gender else {}
    return (without_fingers(arrays) if joints > 24 else arrays) | texts | said


def write(arrays: Mapping[str, Any], path: str | Path) -> Path:
    """Write a body: `.pkl` as `smplx.SMPL` reads it, or `.npz`, compressed; atomically.

    Raises:
        MotionFormatError: it cannot be written there, or the ending is another.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        return write_atomically(path, lambda file: np.savez_compressed(file, **arrays))
    if path.suffix.lower() == ".pkl":
        return pickles.save(dict(arrays), path)
    raise MotionFormatError(f"{path}: expected a name that ends in .pkl or .npz")


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = {f"{key}.npy" for key in (*_NUMBERS, *_HANDS, *_TEXTS)}
            unpacked = sum(member.file_size for member in archive.infolist() if member.filename in wanted)
        if unpacked > MAX_BYTES:
            raise MotionFormatError(f"{path}: unpacks to {unpacked // 2**20} MiB, expected at most {MAX_BYTES // 2**20}")
        with np.load(path, allow_pickle=False) as content:  # SMPL-X' own has objects under other keys: these are not touched
            return {key: content[key] for key in (*_NUMBERS, *_HANDS, *_TEXTS) if key in content.files}
    except MotionFormatError:
        raise
    except Exception as error:  # zip, zlib and NumPy each have their own ways to fail on a broken file
        raise MotionFormatError(f"{path}: expected a .npz body file, cannot be read: {' '.join(str(error).split())[:160]}") from None


def _read_pickle(path: Path) -> dict[str, Any]:
    content = pickles.load(path, MAX_BYTES)
    if not isinstance(content, dict):
        raise MotionFormatError(f"{path}: expected a dictionary of arrays, found {type(content).__name__}")
    return content


def _unfolded(path: Path, regressor: Any, template: Any) -> np.ndarray:
    """A sparse `J_regressor` (J, V) as an array, if it has as many columns as there are vertices: it may claim any number."""
    vertices = len(template) if isinstance(template, np.ndarray) and template.ndim else 0
    if regressor.shape not in [(joints, vertices) for joints in _KINDS]:
        raise MotionFormatError(f'{path}, key "J_regressor": expected (joints, {vertices}), found a sparse matrix {regressor.shape}')
    return np.asarray(regressor.toarray())


def _numbers(path: Path, key: str, value: Any) -> np.ndarray:
    numbers = value if isinstance(value, np.ndarray) else smpl_motion.numbers(path, key, value)
    if numbers.dtype.kind not in "biuf":
        raise MotionFormatError(f'{path}, key "{key}": expected finite numbers, found {numbers.dtype}')
    if not np.isfinite(numbers).all() or (numbers.size and np.abs(numbers.astype(np.float64)).max() > 2**32):
        raise MotionFormatError(f'{path}, key "{key}": expected finite numbers, found NaN, infinity or {numbers.flat[0]:.3g}')
    return numbers


def _check_shapes(path: Path, arrays: dict[str, Any]) -> int:
    """The number of joints, if everything fits together."""
    tree, template = arrays["kintree_table"], arrays["v_template"]
    joints = tree.shape[-1] if tree.ndim == 2 else 0
    if joints not in _KINDS:
        raise MotionFormatError(f'{path}, key "kintree_table": expected (2, 24), (2, 52) or (2, 55), found {tree.shape}')
    vertices = len(template) if template.ndim == 2 else 0
    expected = {
        "v_template": (vertices, 3), "f": (arrays["f"].size // 3, 3), "weights": (vertices, joints), "J_regressor": (joints, vertices),
        "shapedirs": (vertices, 3, max(1, arrays["shapedirs"].size // max(1, 3 * vertices))), "posedirs": (vertices, 3, 9 * (joints - 1)),
    }  # fmt: skip
    for key, shape in expected.items():
        if arrays[key].shape != shape or 0 in shape:
            raise MotionFormatError(f'{path}, key "{key}": expected {shape}, found {arrays[key].shape}')
    parents = tree[0].astype(np.int64)
    if joints == 24 and parents[1:].tolist() != list(PARENTS[1:]):
        raise MotionFormatError(f'{path}, key "kintree_table": expected SMPL\'s tree of 24 joints, found the parents {parents.tolist()}')
    if (parents[1:] >= np.arange(1, joints)).any() or (parents[1:] < 0).any():
        raise MotionFormatError(f'{path}, key "kintree_table": a parent must come before its children')
    if arrays["f"].min() < 0 or arrays["f"].max() >= vertices:
        raise MotionFormatError(f'{path}, key "f": expected indices of {vertices} vertices, found {arrays["f"].max()}')
    return joints
