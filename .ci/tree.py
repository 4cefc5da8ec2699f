"""Make `.tree/mprl`, the tree as it looks once installed, out of symbolic links.

    python .ci/tree.py

mypy, coverage tools and editors do not follow the folder map of setup.py (`mprl.envs` lies in `envs/`). Pointed at `.tree`
they see one ordinary package. Git ignores the folder; make it anew when a file or folder was added to `mprl/`.
"""

from __future__ import annotations

import os
import runpy
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def make_tree(root: Path = ROOT) -> Path:
    """Link everything in `mprl/`, and beside it each subpackage's folder. Returns the new `.tree` folder."""
    package_dir: dict[str, str] = runpy.run_path(str(root / "setup.py"), run_name="setup")["PACKAGE_DIR"]
    tree = root / ".tree"
    shutil.rmtree(tree, ignore_errors=True)
    package = tree / "mprl"
    package.mkdir(parents=True)
    links = {entry.name: entry for entry in (root / "mprl").iterdir() if entry.name != "__pycache__"}
    links |= {name.removeprefix("mprl."): root / folder for name, folder in package_dir.items() if name != "mprl"}
    for name, target in sorted(links.items()):
        (package / name).symlink_to(os.path.relpath(target, package), target_is_directory=target.is_dir())
    return tree


if __name__ == "__main__":
    made = make_tree()
    print(f"{made.relative_to(ROOT)}: {', '.join(sorted(entry.name for entry in (made / 'mprl').iterdir()))}")
