"""`mprl motion COMMAND`: look into motion files, convert them, change them, play them. The commands are in `motions/`, a file each."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/motion.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["motion", *sys.argv[1:]]))

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any

from mprl.errors import unknown_name
from mprl.scripts import motions
from mprl.scripts.options import parse

# in the order of use; others follow by name
_FIRST = ("info", "convert", "retarget", "edit", "view", "render", "report")


def commands() -> dict[str, Any]:
    """The modules of `motions/`, by name; `fit_imu.py` is `fit-imu`."""
    names = {module.name for module in pkgutil.iter_modules(motions.__path__)}
    order = [name for name in _FIRST if name in names] + sorted(names - set(_FIRST))
    return {name.replace("_", "-"): importlib.import_module(f"{motions.__name__}.{name}") for name in order}


def main(argv: Sequence[str]) -> int:
    """Run `mprl motion`.

    Returns:
        The exit code: 0, or what the command says.
    """
    known = commands()
    if not argv or argv[0] in ("-h", "--help"):
        rows = "\n".join(f"  {name:<12} {module.Options.__doc__.splitlines()[0]}" for name, module in known.items())
        print(f"usage: mprl motion COMMAND [OPTIONS]\n\ncommands:\n{rows}\n\nmprl motion COMMAND --help says more.")
        return 0
    if argv[0] not in known:
        raise unknown_name("motion command", argv[0], known, "mprl motion --help")
    command = known[argv[0]]
    return int(command.run(parse(command.Options, f"mprl motion {argv[0]}", argv[1:]), argv[1:]) or 0)
