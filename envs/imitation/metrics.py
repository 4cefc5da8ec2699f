"""How good an imitation is: normalised return, and PHC's tracking metrics.

All over deterministic episodes in a batch of their own, one world an episode, contact termination on and tracking termination
off. A looping clip starts at phases spread evenly over it; a one-shot clip starts at its beginning with joint noise of .01 rad.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.envs.imitation.rewards import PAPER, RELEASE

# PHC's failure: the mean body error exceeds this at some frame, m.
PHC_FAILURE = 0.5
JOINT_NOISE = 0.01
PHASE_BINS = 20

Policy = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Recording:
    """E episodes of at most T control steps. Arrays are (E, T, ...); steps after an episode's end are not `alive`.

    Attributes:
        alive: whether the step belongs to the episode, its last step included, (E, T) bool.
        fell: whether the step ended the episode by failure, (E, T) bool.
        character, reference: body origins after each step, (E, T, B, 3) m.
        resync: how far the re-sync at each cycle has moved the reference, (E, T, 3) m.
        rewards: by name of the reward, (E, T).
        earned: what the environment itself paid, (E, T).
        possible: steps each episode could have lasted, (E,).
        phase: of the clip, (E, T). saturation: share of actuators at their limit, (E, T). clip: (E,).
        goal: the task's own columns, (E, T) each; none without a task.
    """

    alive: NDArray[np.bool_]
    fell: NDArray[np.bool_]
    character: NDArray[np.float32]
    reference: NDArray[np.float32]
    resync: NDArray[np.float32]
    rewards: dict[str, NDArray[np.float32]]
    earned: NDArray[np.float32]
    possible: NDArray[np.int64]
    phase: NDArray[np.float32]
    saturation: NDArray[np.float32]
    clip: NDArray[np.int64]
    goal: dict[str, NDArray[Any]] = field(default_factory=dict)


def starts(library: Any, episodes: int) -> dict[str, Any]:
    """Reset options of an evaluation: clips in turn; phases evenly over a cycle, the beginning of a one-shot clip."""
    clip = torch.arange(episodes) % len(library)
    rank = torch.div(torch.arange(episodes), len(library), rounding_mode="floor").float()
    of_each = torch.ceil((episodes - torch.arange(len(library))) / len(library))[clip]
    cyclic = library.cyclic.cpu()[clip]
    noise = torch.where(cyclic, 0.0, JOINT_NOISE)
    return {"clip": clip, "phase": torch.where(cyclic, rank / of_each, 0.0), "joint_noise": noise}


def record(
    envs: Any, policy: Policy, seed: int, watch: Callable[[], None] | None = None, options: dict[str, Any] | None = None
) -> Recording:
    """Play one episode in every world of a `DeepMimicVectorEnv` (torch output, autoreset DISABLED).

    Args:
        envs: the worlds.
        policy: observations (W, n) -> actions (W, nu).
        seed: of the joint noise.
        watch: called after the reset and after every step, to make a video, say.
        options: of the reset; by default `starts`.
    """
    observation, _ = envs.reset(seed=seed, options=starts(envs.library, envs.num_envs) if options is None else options)
    getattr(policy, "reset", lambda: None)()  # where it has a memory
    alive = torch.ones(envs.num_envs, dtype=torch.bool, device=envs.device)
    columns: dict[str, list[Tensor]] = {
        k: [] for k in ("alive", "fell", "character", "reference", "resync", "earned", "phase", "saturation")
    }
    rewards: dict[str, list[Tensor]] = {RELEASE.name: [], PAPER.name: []}
    goal: dict[str, list[Tensor]] = {name: [] for name in ("reward_goal", *envs._task.columns)} if envs._task is not None else {}
    remaining = torch.ceil((envs.library.durations[envs._clip] - envs.times) / envs.control_step - 0.5).long()
    possible = torch.where(envs.library.cyclic[envs._clip], envs.max_episode_steps, remaining.clamp(max=envs.max_episode_steps))
    if watch is not None:
        watch()
    while alive.any():
        observation, earned, terminated, truncated, info = envs.step(policy(observation))
        motions = envs.motions()  # of the characters, of the reference
        for reward in (RELEASE, PAPER):
            # a step that ends in failure earns nothing
            rewards[reward.name].append(torch.where(terminated, 0.0, reward(motions[0], motions[1], envs.layout.joint_weights)[0]))
        body, reference = envs.body_positions()
        resync = envs._offset.clone()
        values = (alive.clone(), terminated & alive, body.clone(), reference, resync, earned, info["phase"], info["saturation"])
        for key, value in zip(columns, values, strict=True):
            columns[key].append(value)
        for key, column in goal.items():
            column.append(info[key])
        alive &= ~(terminated | truncated)
        if watch is not None:
            watch()
    table = {key: torch.stack(values, dim=1).numpy(force=True) for key, values in columns.items()}
    by_name = {name: torch.stack(values, dim=1).numpy(force=True) for name, values in rewards.items()}
    goals = {name: torch.stack(values, dim=1).numpy(force=True) for name, values in goal.items()}
    clip = envs._clip.numpy(force=True).copy()
    return Recording(rewards=by_name, possible=possible.numpy(force=True), clip=clip, goal=goals, **table)


def summarise(recording: Recording, frame_rate: float) -> dict[str, float]:
    """The metrics of a recording.

    `normalized_return`: an episode's rewards over the steps it could have lasted; steps lost by falling count as 0.
    `success_rate`: PHC's, the mean body error exceeds .5 m at no frame and the character does not fall. `mpjpe_global_mm`,
    `mpjpe_local_mm` (root subtracted), `velocity_error_mm_per_frame` and `acceleration_error_mm_per_frame2`: means over bodies and
    all frames up to the fall; the last two depend on the frame rate.
    """
    alive = recording.alive
    length = alive.sum(axis=1)
    difference = recording.character - recording.reference
    error = np.linalg.norm(difference, axis=-1)
    lost = ((error.mean(axis=-1) > PHC_FAILURE) & alive).any(axis=1)
    fell = recording.fell.any(axis=1)
    local = np.linalg.norm(difference - difference[:, :, :1], axis=-1)
    # a reference that is put elsewhere has not moved there
    drift = difference + recording.resync[:, :, None]
    velocity = np.linalg.norm(np.diff(drift, axis=1), axis=-1).mean(axis=-1)
    acceleration = np.linalg.norm(np.diff(drift, n=2, axis=1), axis=-1).mean(axis=-1)
    share = {name: (value * alive).sum(axis=1) / recording.possible for name, value in recording.rewards.items()}
    return {
        "episodes": len(alive),
        "return_mean": float((recording.earned * alive).sum(axis=1).mean()),
        "return_std": float((recording.earned * alive).sum(axis=1).std()),
        "length_mean": float(length.mean()),
        "seconds_mean": float(length.mean() / frame_rate),
        "normalized_return": float(share[RELEASE.name].mean()),
        "normalized_return_paper": float(share[PAPER.name].mean()),
        "success_rate": float((~lost & ~fell).mean()),
        "fall_rate": float(fell.mean()),
        "lasts_10_s_rate": float((length >= np.minimum(10 * frame_rate, recording.possible)).mean()),
        "mpjpe_global_mm": _mean_mm(error.mean(axis=-1), alive),
        "mpjpe_local_mm": _mean_mm(local.mean(axis=-1), alive),
        "velocity_error_mm_per_frame": _mean_mm(velocity, alive[:, 1:]),
        "acceleration_error_mm_per_frame2": _mean_mm(acceleration, alive[:, 2:]),
        "saturation": float(recording.saturation[alive].mean()),
        "frame_rate_hz": frame_rate,
    }


def error_over_phase(recording: Recording, bins: int = PHASE_BINS) -> dict[str, list[float]]:
    """Mean body error in bins of the clip's phase: their centres, and mm in the world and relative to the root.

    Empty bins are left out.
    """
    difference = recording.character - recording.reference
    world = np.linalg.norm(difference, axis=-1).mean(axis=-1)[recording.alive] * 1e3
    local = np.linalg.norm(difference - difference[:, :, :1], axis=-1).mean(axis=-1)[recording.alive] * 1e3
    index = np.minimum((recording.phase[recording.alive] * bins).astype(int), bins - 1)
    seen = np.unique(index)
    mean = lambda values: [float(values[index == b].mean()) for b in seen]  # noqa: E731
    return {"phase": [(int(b) + 0.5) / bins for b in seen], "error_mm": mean(world), "local_error_mm": mean(local)}


def _mean_mm(per_frame: NDArray[np.float32], alive: NDArray[np.bool_]) -> float:
    return float(per_frame[alive].mean() * 1e3) if alive.any() else float("nan")
