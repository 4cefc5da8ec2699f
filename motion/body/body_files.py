"""SMPL's files, read and written.

`v_template` (V, 3), `f` (F, 3), `weights` (V, 24), `shapedirs` (V, 3, S), `posedirs` (V, 3, 207), `J_regressor` (24, V), dense or
sparse, and `kintree_table` (2, 24), whose first row holds the parents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.formats.files import check

_NUMBERS = ("v_template", "f", "weights", "shapedirs", "posedirs", "J_regressor", "kintree_table")
_TEXTS = ("name", "gender", "licence", "source")


def find(body: str | Path, gender: str = "neutral") -> Path:
    """The file of a body."""
    return Path(body)


def read(path: str | Path, num_betas: int = 10, gender: str = "neutral") -> dict[str, Any]:
    """The arrays of a body file.

    Raises:
        MotionFormatError: names the file, the key, and what was expected.
    """
    path = Path(path)
    check(path)
    with np.load(path, allow_pickle=False) as content:
        arrays: dict[str, Any] = {key: content[key] for key in content.files}
    for key in _NUMBERS:
        if key not in arrays:
            raise MotionFormatError(f'{path}: the key "{key}" is missing')
    return arrays


def write(arrays: Mapping[str, Any], path: str | Path) -> Path:
    """Write a body file."""
    path = Path(path)
    np.savez_compressed(path, **arrays)
    return path
