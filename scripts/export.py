"""`mprl export DIR FILE`: a trained policy as one file that runs without mprl, ONNX or `torch.export`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/export.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["export", *sys.argv[1:]]))

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mprl.scripts.options import check_folder, parse

_RUN = {
    ".onnx": 'onnxruntime.InferenceSession("{path}").run(None, {{"observation": observation}})',
    ".pt2": 'torch.export.load("{path}").module()(observation)',
}


@dataclass(frozen=True)
class Options:
    """Write the deterministic policy of a trained agent into one file that runs without mprl."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """run folder, as `mprl train` leaves it, or its best/"""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """.onnx, or .pt2 for torch.export.load"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl export`."""
    options = parse(Options, "mprl export", argv)
    check_folder(options.file)

    from mprl.agents import load_agent, spaces
    from mprl.agents.export import check_suffix, export

    check_suffix(options.file)
    agent = load_agent(options.folder)
    export(agent, options.file)
    size = spaces.size(agent.observation_space)
    print(f"wrote {options.file}: observation (batch, {size}) float32 to action (batch, ...) of {agent.env_id}")
    print(f"Try next:\n  {_RUN[options.file.suffix].format(path=options.file)}")
    return 0
