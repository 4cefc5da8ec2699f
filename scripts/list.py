"""`mprl list envs|agents|motions|trained`: the names that other commands take."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/list.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["list", *sys.argv[1:]]))

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mprl.scripts.options import parse
from mprl.scripts.tables import table


@dataclass(frozen=True)
class Options:
    """Print names: of our environments, of the agents, of the motions or the trained agents that ship with the package."""

    what: Annotated[Literal["envs", "agents", "motions", "trained"], tyro.conf.Positional]
    """what to list"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl list`."""
    {"envs": environments, "agents": agents, "motions": motions, "trained": trained}[parse(Options, "mprl list", argv).what]()
    return 0


def environments() -> None:
    """Print our environments, and how to name others."""
    from mprl.scripts.environments import ours

    table(("environment", "what it is"), list(ours().items()))
    print("Any registered Gymnasium environment works too: CartPole-v1, Humanoid-v5, or your own as module:Name-v0.")
    print("Its options: mprl train ENV_ID --agent NAME --help")


def agents() -> None:
    """Print the agents, and what each is."""
    from mprl.agents import AGENTS

    table(("agent", "what it is"), [(name, _about(agent)) for name, agent in AGENTS.items()])
    print("Its settings: mprl train ENV_ID --agent NAME --help")


def _about(agent: type) -> str:
    """The first line of the file that holds the algorithm."""
    return (sys.modules[agent.__module__].__doc__ or "").split("\n")[0]


def motions() -> None:
    """Print the motions that ship with the package."""
    from mprl.motion import load
    from mprl.motion import motions as shipped
    from mprl.motion.clips.make import about

    clips = [load(name) for name in shipped()]
    rows = [(clip.name, f"{clip.duration:.2f} s", "cycle" if clip.loop == "wrap" else "ends", about(clip.name)) for clip in clips]
    table(("motion", "length", "loop", "what it is"), rows)
    print("A file works wherever a name does: mprl motion info FILE")


def trained() -> None:
    """Print the trained agents that ship with the package."""
    from mprl.agents import shipped

    cards = [shipped.card(name) for name in shipped.names()]
    rows = [
        (c["name"], c["clip"], f"{c['normalized_return']:.3f}", f"{c['success_rate']:.0%}", f"{c['samples'] / 1e6:.2f} M") for c in cards
    ]
    table(("trained agent", "clip", "normalised return", "success", "samples"), rows)
    print("Watch one: mprl play NAME. A name works wherever a run folder does: mprl evaluate NAME")
