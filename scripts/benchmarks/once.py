"""Runs of a benchmark that take long: each is done once, and read back by the same benchmark run again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mprl.errors import CheckpointError
from mprl.scripts.evaluate import write_json


def once(path: Path, asked: Mapping[str, Any], names: Sequence[str], run: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What a run found: done now, or read from where it was written.

    Args:
        path: the .json file that it is written to, in the run's folder.
        asked: what the run is to be, fit for JSON.
        names: of the numbers that it finds.
        run: does it, and makes the folder.

    Raises:
        CheckpointError: the file is of another run, or cannot be read or written.
    """
    if not path.exists():
        print(f"training {path.parent}")
        found = run()
        write_json(path, {"asked": asked, "found": found})
        return found
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before, found = dict(content["asked"]), {name: float(content["found"][name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}; remove it to run this again") from None
    if before != asked:
        raise CheckpointError(f"{path}: another run than asked for, {before}; give another --out")
    return found
