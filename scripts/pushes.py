"""`mprl evaluate DIR --push`: how strong a push a policy survives, beside DeepMimic's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mprl.errors import SettingError
from mprl.scripts import clips, evaluate
from mprl.scripts.tables import table


def measure(folder: Path, most: float = 1000.0, motion: Sequence[str] = ()) -> dict[str, Any]:
    """The push test (`envs/imitation/push.py`) of the agent in a run folder, for each of its clips.

    Args:
        folder: of a run.
        most: greatest push that is tried, N.
        motion: what is imitated instead of what was learned.

    Raises:
        MprlError: no agent, one that imitates no motion, a force that cannot be, or a motion in which nothing tells a fall.
    """
    from mprl.agents import load_agent
    from mprl.agents.checkpoints import read_config
    from mprl.agents.evaluation import Player

    config = read_config(folder)
    env = evaluate.environment(config, 1, **clips.instead(config, motion))
    try:
        if not hasattr(env.unwrapped, "evaluate_pushes") or env.unwrapped is not env:
            raise SettingError(f"--push: {config['env_id']} has no root to push, or it is seen through pictures")
        agent = load_agent(folder, env, training=False)
        player = Player(agent, agent._make_batch(env).observation)
        found = [env.evaluate_pushes(player, most, clip) for clip in range(len(env.library))]
    finally:
        env.close()
    return {"env_id": config["env_id"], "agent": config["agent"], "num_timesteps": config["num_timesteps"], "pushes": found}


def show(results: Mapping[str, Any]) -> None:
    """Print a row for each clip and direction."""
    rows = []
    for found in results["pushes"]:
        for direction, force in found["survived_n"].items():
            ours = "falls unpushed" if force is None else f"{'at least ' * (force >= found['most_n'])}{force:.0f} N"
            paper = found["paper_n"].get(direction)
            rows.append((found["clip"], direction, ours, "" if paper is None else f"{paper} N"))
    title = "greatest push survived: .2 s on the root, halfway through the first cycle"
    table(("clip", "pushed to the", "survives", "DeepMimic"), rows, title)
