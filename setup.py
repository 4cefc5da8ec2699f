"""Packages and data, computed from the tree.

Each top-level code folder is one subpackage of `mprl` (`envs/` is `mprl.envs`). A static list would go stale without a word,
so the list is made here; everything else is in pyproject.toml, and tests/test_packaging.py compares the wheel with the tree.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
PACKAGE_DIR = {"mprl": "mprl", "mprl.motion": "motion", "mprl.envs": "envs", "mprl.agents": "agents", "mprl.scripts": "scripts"}


def is_shipped(name: str) -> bool:
    """False for caches, compiled files and whatever editors and systems leave (`.DS_Store`, `x~`)."""
    return not (name.startswith(".") or name == "__pycache__" or name.endswith((".pyc", ".pyo", "~", ".orig", ".rej", ".egg-info")))


def find_packages(root: Path = ROOT) -> tuple[list[str], dict[str, list[str]]]:
    """Every package below the code folders, and the data files of each (all files that are not Python).

    Returns:
        The package names, sorted, and for each package that has data the paths relative to its folder, with forward slashes.

    Raises:
        SystemExit: a folder with Python files has no `__init__.py`: it would be missing from the wheel.
    """
    packages: list[str] = []
    data: dict[str, list[str]] = {}
    for package, folder in PACKAGE_DIR.items():
        for here, folders, files in os.walk(root / folder):
            folders[:] = sorted(name for name in folders if is_shipped(name))
            inside = Path(here).relative_to(root / folder)
            if "__init__.py" in files:
                owner, owner_path = ".".join((package, *inside.parts)), inside
                packages.append(owner)
            elif any(name.endswith(".py") for name in files):
                raise SystemExit(f"{Path(here).relative_to(root).as_posix()}: Python files, but no __init__.py")
            else:  # a folder of data belongs to the nearest package above it
                parts = inside.parts
                while ".".join((package, *parts)) not in packages:
                    if not parts:
                        raise SystemExit(f"{folder}: no __init__.py")
                    parts = parts[:-1]
                owner, owner_path = ".".join((package, *parts)), Path(*parts)
            for name in sorted(files):
                if is_shipped(name) and not name.endswith(".py"):
                    data.setdefault(owner, []).append((inside / name).relative_to(owner_path).as_posix())
    return sorted(packages), data


if __name__ == "__main__":
    # setuptools copies what a former build left here into the new wheel, deleted modules too.
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    packages, package_data = find_packages()
    setup(packages=packages, package_dir=PACKAGE_DIR, package_data=package_data, include_package_data=False)
