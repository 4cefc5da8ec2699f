"""The command `mprl`: finds the subcommand, runs it, and says what went wrong in one line.

Exit codes: 0 success, 2 a user's mistake (one line on standard error), 130 and 143 stopped by Ctrl-C and SIGTERM. An exception that
is not a user's mistake is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys
    from pathlib import Path

    if not __package__:  # python scripts/main.py: the checkout is on the path, this folder is not
        sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts import main as command

    sys.exit(command.main())

import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from gymnasium.error import DependencyNotInstalled

from mprl import __version__, torchrun
from mprl.errors import DistributedError, MprlError, unknown_name

# Name of each command, which is its module too, and what it does.
COMMANDS = {
    "demo": "train a character to walk for 8 minutes, measure it, and film it",
    "train": "train an agent in any registered Gymnasium environment",
    "tune": "search for good settings of an agent",
    "distill": "several experts in one policy",
    "evaluate": "measure a trained agent, and film it",
    "play": "watch a trained agent in the browser, and push it",
    "export": "write a trained policy as ONNX or for torch.export",
    "plot": "pictures of learning curves, value functions and policies",
    "list": "names of environments, agents and motions",
    "perception": "train models that see, and measure them",
    "pose": "train models that find people in pictures, and find them in videos",
    "motion": "look into motion files, convert them, play them",
    "benchmark": "our figures beside those of others and of the limit",
}

# A disk that is full, read-only or not ours is no bug of ours.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def usage() -> str:
    """What `mprl --help` prints."""
    rows = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    return f"""usage: mprl COMMAND [OPTIONS]

From perception to a physically simulated character.

commands:
{rows}

options:
  -h, --help  this text; mprl COMMAND --help says more
  --version   the version

examples:
  mprl demo
  mprl play walk
  mprl train mprl/DeepMimic-v0 --agent ppo --env.motion walk --minutes 15 --out runs/walk
  mprl train --resume runs/walk
  mprl evaluate runs/walk --video walk.mp4"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own.

    Returns:
        The exit code.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    _log_to_standard_output()
    try:
        return run(args)
    except DistributedError as error:
        # all that are left lose the one that has ended: two of them say so, as the one may have been the first
        return _fail(str(error), 2) if torchrun.rank() < 2 else 2
    except MprlError as error:
        return _fail(str(error), 2)
    except DependencyNotInstalled as error:  # what an environment of Gymnasium's needs, to draw for instance
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # mprl list envs | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _DISK:
            raise
        return _fail(f"{error.filename or 'output folder'}: {error.strerror}", 2)


def run(args: list[str]) -> int:
    """Run a command line; mistakes are raised.

    Raises:
        MprlError: a user's mistake.
    """
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args[0] in ("--version", "-V"):
        print(f"mprl {__version__}")
        return 0
    command = args[0]
    if command not in COMMANDS:
        raise unknown_name("option" if command.startswith("-") else "command", command, [*COMMANDS, "--help", "--version"], "mprl --help")
    try:
        return int(importlib.import_module(f"mprl.scripts.{command}").main(args[1:]))
    except SystemExit as stop:  # --help of a command ends like this
        return int(stop.code or 0)


def _fail(text: str, code: int) -> int:
    line = f"mprl: {' '.join(text.split())}"
    print(line, file=sys.stderr)
    torchrun.note_error(line)
    return code


class _StandardOutput(logging.Handler):
    """Messages to whatever standard output is at the time, which a live display replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage())


def _log_to_standard_output() -> None:
    log = logging.getLogger("mprl")
    if not any(isinstance(handler, _StandardOutput) for handler in log.handlers):
        log.addHandler(_StandardOutput())
        log.setLevel(logging.INFO)
        log.propagate = False
