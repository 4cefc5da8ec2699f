"""Judging one policy over a library, clip by clip, in one batch: PHC's success and errors, and where in each clip it fails.

PHC (Luo et al. 2023, arXiv 2305.06456, section 4): an episode plays a clip from its start; it is a success when at no frame the bodies
are more than .5 m off the reference on average. Nothing else ends it here, neither a contact nor the distance of a single body. The
reference is never moved to where the character is (no re-sync). Errors are means over bodies and frames, up to the failure.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from mprl.envs.imitation import metrics
from mprl.envs.imitation.layout import CONTROL_RATE
from mprl.envs.imitation.metrics import JOINT_NOISE, PHC_FAILURE, Policy, Recording
from mprl.errors import number

CYCLE_SECONDS = 10.0  # for which a clip goes on that loops; PHC's data has none
SPREAD = 10  # episodes of each clip that begin elsewhere in it, so that what lies behind a failure is seen too
BINS = 20  # of a clip's phase

_TOLD = (
    "success_rate", "mpjpe_global_mm", "mpjpe_local_mm", "velocity_error_mm_per_frame", "acceleration_error_mm_per_frame2",
    "normalized_return", "seconds_mean",
)  # fmt: skip


def judge(like: Any, policy: Policy, repeats: int = 3, seed: int = 0) -> dict[str, Any]:
    """Judge a policy on each clip of a library by PHC's definitions.

    Args:
        like: a `DeepMimicVectorEnv`, whose settings and clips the batch has.
        policy: observations (W, n) -> actions (W, nu), torch.
        repeats: episodes of each clip from its start; all but the first with joint noise of .01 rad.
        seed: of the noise.

    Returns:
        `clips`: of each clip its name, `success_rate`, `mpjpe_global_mm`, `mpjpe_local_mm` (relative to the root), velocity and
        acceleration error, `normalized_return` (what follows a failure counts as 0), `seconds_mean` (until the failure) and
        `seconds_possible`. `library`: the same over all episodes (errors over all frames, as PHC has it), and `clips_succeeded`, the
        share of the clips in which no repeat failed. `failures`: per clip and bin of its phase the share of the episodes passing
        through that fail there, (C, BINS); NaN where none came. Episodes that begin at `SPREAD` phases of each clip count for this alone.
    """
    repeats = number("repeats", repeats, least=1, whole=True)
    library = like.library
    noise = torch.full((repeats + SPREAD,), JOINT_NOISE)
    noise[0] = noise[repeats:] = 0.0
    phase = torch.cat((torch.zeros(repeats), torch.arange(SPREAD) / SPREAD))
    count = len(library)
    start = {
        "clip": torch.arange(count).repeat_interleave(len(noise)), "phase": phase.repeat(count), "joint_noise": noise.repeat(count)
    }  # fmt: skip
    cycle = round(CYCLE_SECONDS * CONTROL_RATE)
    longest = torch.where(library.cyclic, CYCLE_SECONDS, library.durations).max()
    changes = {"num_envs": count * len(noise), "output": "torch", "autoreset_mode": AutoresetMode.DISABLED, "render_mode": None}
    changes |= {"motion": library.clips, "max_episode_steps": int(np.ceil(float(longest) * CONTROL_RATE)) + 1}
    changes |= {"contact_termination": False, "tracking_termination": None, "reference_sync": False}
    envs = type(like)(**{**like._settings, **changes})
    recording = metrics.record(envs, policy, seed, options=start)
    limit = np.where(library.cyclic.cpu().numpy()[recording.clip], np.minimum(cycle, recording.possible), recording.possible)
    envs.close()
    return summarise(until_failure(recording, limit), [clip.name for clip in library.clips], repeats)


def until_failure(recording: Recording, limit: NDArray[np.int64]) -> Recording:
    """Episodes that end with PHC's failure, that frame included, or after `limit` (E,) steps; failures are in `fell`."""
    within = recording.alive & (np.arange(recording.alive.shape[1]) < limit[:, None])
    error = np.linalg.norm(recording.character - recording.reference, axis=-1).mean(axis=-1)
    failed = within & ((error > PHC_FAILURE) | recording.fell)
    alive = within & (failed.cumsum(axis=1) - failed == 0)
    return dataclasses.replace(recording, alive=alive, fell=failed & alive, possible=limit)


def summarise(recording: Recording, names: list[str], repeats: int) -> dict[str, Any]:
    """What `judge` returns, of episodes that end with their failure, clip after clip; the first `repeats` of each from its start."""
    episodes = len(recording.clip)
    first = np.arange(episodes) % (episodes // len(names)) < repeats
    clips = []
    for clip, name in enumerate(names):
        mine = some(recording, first & (recording.clip == clip))
        clips.append({"clip": name, **_told(mine), "seconds_possible": float(mine.possible.mean() / CONTROL_RATE)})
    overall = {**_told(some(recording, first)), "episodes": int(first.sum())}
    overall["clips_succeeded"] = float(np.mean([one["success_rate"] == 1 for one in clips]))
    return {"clips": clips, "library": overall, "failures": failures(recording, len(names))}


def _told(recording: Recording) -> dict[str, float]:
    found = metrics.summarise(recording, CONTROL_RATE)
    return {key: found[key] for key in _TOLD}


def some(recording: Recording, which: NDArray[np.bool_]) -> Recording:
    """Only those episodes, (E,) bool."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(recording):
        value = getattr(recording, field.name)
        fields[field.name] = {key: column[which] for key, column in value.items()} if isinstance(value, dict) else value[which]
    return Recording(**fields)


def failures(recording: Recording, clips: int, bins: int = BINS) -> NDArray[np.float64]:
    """Share of the episodes passing through each bin of each clip's phase that fail there, (C, bins); NaN where none came."""
    episode, step = recording.alive.nonzero()
    bin_of = np.minimum((recording.phase * bins).astype(int), bins - 1)
    passed = np.zeros((len(recording.alive), bins), dtype=bool)
    passed[episode, bin_of[episode, step]] = True
    failed = np.zeros_like(passed)
    episode, step = recording.fell.nonzero()
    failed[episode, bin_of[episode, step]] = True
    counts = np.zeros((2, clips, bins))
    for count, what in zip(counts, (passed, failed), strict=True):
        np.add.at(count, recording.clip, what)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts[1] / counts[0])
