"""A policy over a library, clip by clip: a table and a map of where it fails, for `mprl evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mprl.errors import SettingError
from mprl.scripts.tables import table

if TYPE_CHECKING:
    from mprl.agents.agent import Agent

# columns of the table: heading, key, how it is written
COLUMNS = (
    ("success", "success_rate", "{:.0%}"),
    ("error, mm", "mpjpe_global_mm", "{:.1f}"),
    ("relative to the root", "mpjpe_local_mm", "{:.1f}"),
    ("normalised return", "normalized_return", "{:.3f}"),
    ("lasts, s", "seconds_mean", "{:.2f}"),
)


def instead(config: Mapping[str, Any], motion: Sequence[str]) -> dict[str, Any]:
    """Arguments of the environment in which an agent imitates other motions than it has learned; none where there are no others.

    Raises:
        SettingError: the environment imitates no motion, or the agent's actions mean something else with others.
    """
    if not motion:
        return {}
    if not config["env_id"].startswith("mprl/DeepMimic"):
        raise SettingError(f"--motion: {config['env_id']} imitates no motion")
    if config["env_kwargs"].get("action_mode") == "absolute":
        raise SettingError("--motion: this agent acts around the mean pose of its own clips (action_mode absolute); others have another")
    return {"motion": list(motion), "clip_weights": None}


def evaluate_clips(agent: Agent, env: Any, episodes: int, seed: int) -> dict[str, Any]:
    """`DeepMimicVectorEnv.evaluate_clips` where the environment has a library, as often as it takes for so many episodes; else {}."""
    from mprl.agents.evaluation import Player

    worlds = env.unwrapped
    if not hasattr(worlds, "evaluate_clips") or len(worlds.library) < 2 or worlds is not env:
        return {}
    repeats = -(-episodes // len(worlds.library))
    found: dict[str, Any] = worlds.evaluate_clips(Player(agent, agent._make_batch(env).observation), repeats, seed)
    return found


def show(results: Mapping[str, Any]) -> None:
    """Print a row for each clip, the worst first, and one for all."""
    ordered = sorted(results["clips"], key=lambda one: (one["success_rate"], -one["mpjpe_global_mm"]))
    rows = [(one["clip"], *_cells(one), f"{one['seconds_possible']:.2f}") for one in ordered]
    overall = results["library"]
    rows.append((f"all {len(rows)}, {overall['episodes']} episodes", *_cells(overall), ""))
    title = "each clip from its start, no re-sync; success: never .5 m off on average (PHC)"
    table(("clip", *(heading for heading, _, _ in COLUMNS), "of"), rows, title)


def _cells(one: Mapping[str, float]) -> list[str]:
    return [form.format(one[key]) for _, key, form in COLUMNS]


def draw(results: Mapping[str, Any], out: Path, title: str) -> Path:
    """Draw where in each clip the policy fails: share of the episodes passing through a bin of the clip's phase that fail in it."""
    from mprl.scripts.plots import failure_map

    names = [one["clip"] for one in results["clips"]]
    return failure_map(np.asarray(results["failures"], dtype=float), names, out, title)
