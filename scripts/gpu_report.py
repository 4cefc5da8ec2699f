"""`python scripts/gpu_report.py --section NAME`: what a GPU does, measured on one and written into docs/benchmarks-gpu.md.

Each section takes under ten minutes. On a machine without a GPU, `--device cpu --toy` runs all of it, very small, on Warp's CPU
device: that proves that it works and measures nothing, so nothing is written.
"""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/gpu_report.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts import gpu_report

    sys.exit(gpu_report.command(sys.argv[1:]))

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mprl.errors import MprlError, SettingError
from mprl.scripts.benchmark import default_motion
from mprl.scripts.options import check_folder, parse

if TYPE_CHECKING:
    from mprl.scripts.benchmarks.environment import Measured

WORLDS = (1024, 2048, 4096, 8192, 16384, 32768)
_SMPL = " The SMPL character: 24 bodies, 75 degrees of freedom."
_BARE = (
    "The simulation alone: `WarpSimulation.step(4)`, that is four substeps, contacts, sensors and the search for broken worlds, beside "
    "the same substeps of `mujoco_warp.step`."
)
_ENVIRONMENT = (
    "Steps of the environment, observations, rewards, terminations and resets included, in CUDA graphs and without them, beside bare "
    "physics: the goal is 80 %."
)
_PPO = "PPO end to end, beside the environment's steps (the goal is 50 %), and the device's memory."
_WALK = "How long walk takes to a normalised return of .97: the goal is two minutes."
SECTIONS = {
    "bare": _BARE,
    "environment": _ENVIRONMENT,
    "ppo": _PPO,
    "walk": _WALK,
    "parity": "Episodes of one policy on the GPU and, by MuJoCo itself, on the CPU: the same distribution of return, length and tracking "
    "error? A probability of .01 or more says that nothing speaks against it.",
    "paper": "Every clip of DeepMimic's table that $MPRL_MOCAP has, until it reaches the paper's normalised return. One call learns one "
    "clip, the first that is left; results are kept in `--out`.",
    "mjx": "The same physics by MJX (`pip install 'mprl[mjx]' 'jax[cuda12]'`): what those have who stay with JAX.",
    "bare-smpl": _BARE + _SMPL,
    "environment-smpl": _ENVIRONMENT + _SMPL,
    "ppo-smpl": _PPO + _SMPL,
    "walk-smpl": _WALK + _SMPL,
}
HEADER = """# Benchmarks on a GPU

Each section is measured by one command of under ten minutes on a machine with an NVIDIA GPU (`pip install mprl[gpu]`), which writes it
here. A section that says so has not been measured on any GPU yet; there are no figures of a CPU on this page. The first command also
compiles the GPU's kernels, once, which takes minutes. What the columns mean is told in [benchmarks.md](benchmarks.md).
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a GPU does: one section of docs/benchmarks-gpu.md."""

    section: Literal[
        "bare", "environment", "ppo", "walk", "parity", "paper", "mjx", "bare-smpl", "environment-smpl", "ppo-smpl", "walk-smpl"
    ]  # fmt: skip
    """what is measured"""
    device: Annotated[str, tyro.conf.arg(metavar="D")] = "cuda"
    """cuda, cuda:1, ..., or cpu, with --toy, for Warp's CPU device"""
    toy: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="")] = 0
    """very small: to see that it runs"""
    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """what is imitated; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    agent: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """run folder of the policy of `parity`, instead of training one for three minutes"""
    episodes: Annotated[int, tyro.conf.arg(metavar="N")] = 200
    """of `parity`, on each back end"""
    time_limit: Annotated[float, tyro.conf.arg(metavar="S")] = 20.0
    """of an episode of `parity`"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/gpu")
    """where `paper` keeps results from call to call"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """write the figures"""
    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """where the section is written; by default docs/benchmarks-gpu.md of this checkout, or benchmarks-gpu.md here"""


def command(argv: Sequence[str]) -> int:
    """`main`, with mistakes told in one line."""
    try:
        return main(argv)
    except MprlError as error:
        print(f"mprl: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def main(argv: Sequence[str]) -> int:
    """Measure a section, print it, and write it where it belongs."""
    options = parse(Options, "gpu_report", argv)
    if options.json is not None:
        check_folder(options.json)
    if options.episodes < 2 or not options.time_limit > 0:
        raise SettingError(f"--episodes must be at least 2 and --time-limit above 0, found {options.episodes} and {options.time_limit}")

    import torch

    from mprl.devices import available
    from mprl.scripts.benchmarks.report import Report

    device = available(options.device)
    if device.type == "cpu" and not options.toy:
        raise SettingError("the CPU's figures are those of mprl benchmark; add --toy to see this run on Warp's CPU device")
    measured = _measure(options, device)
    report = Report(options.section, measured.figures, measured.settings, _command_line(argv), measured.overview)
    report.show()
    if options.json is not None:
        report.write_json(options.json)
    if device.type == "cuda" and not options.toy:
        page = options.page or default_page()
        if not page.is_file():
            page.write_text(template(), encoding="utf-8")
        report.write_markdown(page)
        print(f"wrote {page}")
        torch.cuda.synchronize()
    else:
        print("a toy's figures say nothing about a GPU: not written")
    return 0


def _measure(options: Options, device: Any) -> Measured:
    from mprl.scripts.benchmarks import gpu, gpu_learning, gpu_mjx

    o, motion = options, options.motion or default_motion()
    worlds, seconds = ((2, 4), 0.2) if o.toy else (WORLDS, 10.0)
    name, _, character = o.section.partition("-")
    settings = {"character": character} if character else {}
    budget = gpu_learning.Budget(4, 0.02, 1.0, 2) if o.toy else gpu_learning.Budget(4096, 8.0, 20.0, 32)
    if name == "walk":
        return gpu_learning.walk(motion, device, budget, **settings)
    if name == "paper":
        return gpu_learning.paper(Path(os.environ.get("MPRL_MOCAP", "")), device, budget, o.out)
    if name == "parity":
        return gpu.parity(motion, o.agent, device, o.episodes, o.time_limit, 0.02 if o.toy else 3.0)
    sections: dict[str, Callable[..., Measured]] = {"bare": gpu.bare, "environment": gpu.environment, "ppo": gpu.ppo, "mjx": gpu_mjx.mjx}
    return sections[name](motion, worlds, device, seconds, **settings)


def default_page() -> Path:
    """docs/benchmarks-gpu.md of the checkout; without one, a page in this folder."""
    docs = Path(__file__).resolve().parents[1] / "docs"
    return (docs if (docs / "benchmarks.md").is_file() else Path()) / "benchmarks-gpu.md"


def template() -> str:
    """The page before anything was measured."""
    parts = [HEADER]
    for name, text in SECTIONS.items():
        heading = (
            name.capitalize()
            .replace("Ppo", "PPO")
            .replace("-smpl", ", SMPL character")
            .replace("Paper", "The paper's clips")
            .replace("Mjx", "MJX")
        )
        block = f"<!-- {name}: begin -->\nNot measured on a GPU yet.\n<!-- {name}: end -->"
        parts.append(f"## {heading}\n\n    python scripts/gpu_report.py --section {name}\n\n{text}\n\n{block}\n")
    return "\n".join(parts)


def _command_line(argv: Sequence[str]) -> str:
    return " ".join(("python scripts/gpu_report.py", *(f".../{Path(word).name}" if Path(word).is_absolute() else word for word in argv)))


if __name__ == "__main__":  # python -m mprl.scripts.gpu_report
    sys.exit(command(sys.argv[1:]))
