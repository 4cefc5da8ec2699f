"""Judging a policy: episodes in worlds of their own, and the metrics of imitation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from mprl.envs.imitation import metrics
from mprl.envs.imitation.film import Film
from mprl.envs.imitation.layout import CONTROL_RATE
from mprl.envs.imitation.metrics import Policy
from mprl.errors import SettingError

_AGAIN = ("normalized_return", "normalized_return_paper", "success_rate", "mpjpe_global_mm")


def evaluate(like: Any, policy: Policy, episodes: int = 32, seed: int = 0, video: str | Path | None = None) -> dict[str, Any]:
    """Judge a policy by the metrics of imitation, in a batch of worlds of its own (`envs/imitation/metrics.py`).

    Args:
        like: a `DeepMimicVectorEnv`, whose settings the batch has.
        policy: observations (W, n) -> actions (W, nu), torch.
        episodes: how many, one world each.
        seed: of the joint noise that one-shot clips start with.
        video: write the first episode, with the reference as a translucent figure, to this .mp4.

    Returns:
        The metrics of `metrics.summarise`, those that need it again `..._without_sync` (no horizontal re-sync of the
        reference at each cycle), and `error_over_phase`.
    """
    if episodes < 1:
        raise SettingError(f"episodes must be at least 1, found {episodes}")
    results: dict[str, Any] = {}
    for sync in (True, False):
        changes = {"num_envs": episodes, "output": "torch", "autoreset_mode": AutoresetMode.DISABLED, "reference_sync": sync}
        changes |= {"contact_termination": True, "tracking_termination": None, "motion": like.library.clips, "render_mode": None}
        envs = type(like)(**{**like._settings, **changes})
        frames = Film(envs, video, *like._render_size) if sync and video is not None else None
        recording = metrics.record(envs, policy, seed, watch=frames)
        summary: dict[str, float] = metrics.summarise(recording, CONTROL_RATE)
        if envs._task is not None:
            summary |= envs._task.summarise(recording.goal, recording.alive, recording.clip)
        if sync:
            results = {**summary, "error_over_phase": metrics.error_over_phase(recording)}
            if frames is not None:
                frames.write()
        else:
            results |= {f"{key}_without_sync": summary[key] for key in _AGAIN}
    return results
