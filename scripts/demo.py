"""`mprl demo`: a character learns to walk while you watch, is measured, and is filmed."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/demo.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["demo", *sys.argv[1:]]))

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mprl.errors import RenderingError
from mprl.scripts import evaluate, train
from mprl.scripts.options import parse
from mprl.scripts.tables import table

ENVIRONMENT, AGENT = "mprl/DeepMimic-v0", "ppo"


@dataclass(frozen=True)
class Options:
    """Train a simulated humanoid to imitate a motion, measure it, and film it beside its reference."""

    motion: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "walk"
    """a shipped motion (mprl list motions) or a motion file"""
    minutes: Annotated[float, tyro.conf.arg(metavar="M")] = 8.0
    """time to train for"""
    seed: int = 0
    """of everything random"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """run folder, new or empty; by default runs/demo, or runs/demo-2, ... where there is one already"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl demo`."""
    options = parse(Options, "mprl demo", argv)
    words = ["--env.motion", options.motion, "--minutes", str(options.minutes), "--seed", str(options.seed)]
    training = train.read([ENVIRONMENT, "--agent", AGENT, *words])
    folder = train.free_folder(options.out or unused_folder())
    agent = train.make_agent(training)
    print(f"A humanoid of 45 kg learns to imitate '{options.motion}' for {options.minutes:g} minutes, in {folder}. Ctrl-C ends it early.")
    ended = train.train(agent, folder, train.plan(training))
    if ended:
        train.summarise(agent, folder)
        return ended
    print("Training is over; measuring 32 episodes without exploration.")
    results = measure(folder)
    evaluate.write_json(folder / "evaluation.json", results)
    evaluate.show(results)
    print(verdict(results))
    summarise(folder, options.motion)
    return 0


def unused_folder() -> Path:
    """`runs/demo`, or with a number behind it."""
    folder, number = Path("runs/demo"), 1
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = Path(f"runs/demo-{number}")
    return folder


def measure(folder: Path) -> dict[str, Any]:
    """Evaluate the run, with a video where pictures can be made."""
    try:
        return evaluate.evaluate_folder(folder, video=folder / "video.mp4")
    except RenderingError as error:
        print(f"No video: {error}")
        return evaluate.evaluate_folder(folder)


def verdict(results: dict[str, Any]) -> str:
    """The line that says whether it walks."""
    share, count, normalized = results["lasts_10_s_rate"], results["episodes"], results["normalized_return"]
    return f"It keeps going for 10 s in {share:.0%} of {count} episodes; normalised return {normalized:.3f} of 1."


def summarise(folder: Path, motion: str) -> None:
    """Print where everything is, and what to try next."""
    table(("", ""), train.contents(folder))
    rows = [
        ("measure it again", f"mprl evaluate {folder} --episodes 100"),
        ("see the curves", f"tensorboard --logdir {folder}"),
        ("a better walk", f"mprl train {ENVIRONMENT} --env.motion {motion} --minutes 30"),
        ("another motion", "mprl list motions; mprl demo --motion NAME"),
        ("your own environment", "mprl train module:Name-v0 --agent ppo"),
    ]
    table(("try next", ""), rows)
