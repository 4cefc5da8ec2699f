"""From keypoints to a skill: a motion that one camera saw is fitted and imitated, and judged by the true motion.

Two policies learn alike, one from the true motion and one from the fit. What each character does is compared with the truth at the same
time; the one that learned from the fit is never shown it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from mprl.envs.imitation import metrics
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.layout import CONTROL_RATE
from mprl.errors import SettingError
from mprl.motion import HUMANOID, MotionClip, MotionLibrary, Reference, SmplCharacter, edit, load
from mprl.motion import rotations as rot
from mprl.motion.fitting import smplify, synthetic
from mprl.motion.fitting.imu.simulation import unrolled
from mprl.motion.formats import npz
from mprl.motion.retarget import retarget
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.once import once
from mprl.scripts.benchmarks.report import Figure, Overview, Target
from mprl.scripts.options import make_folder

RESULT, MOTION = "benchmark_skill.json", "motion.npz"
ENV_ID = "mprl/DeepMimic-v0"
TRUE, FITTED = "true", "fitted"
NOISE, DROPPED = 2.0, 0.1  # px of each keypoint along each axis; share of keypoints that are missed
GOAL = 0.1  # of the normalised return that may be lost
EPISODES, WORLDS = 32, 256
# little exploration: docs/motion.md
SETTINGS: dict[str, Any] = {"initial_std": 0.1, "final_std": 0.04, "target_kl": 0.1, "clip_range": 0.3}
FOUND = ("normalized_return", "fall_rate", "mpjpe_local_mm", "own_return", "steps", "minutes")


class Spread(DeepMimicVectorEnv):
    """Worlds whose episodes begin evenly over the first seconds of a motion, as an evaluation's do over a cycle.

    Args:
        over: s.
        settings: see `DeepMimicVectorEnv`.
    """

    def __init__(self, *, over: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._over = over

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        share = min(1.0, self._over / float(self.library.durations.min()))
        phases = share * torch.arange(self.num_envs) / self.num_envs
        return super().reset(seed=seed, options={**(options or {}), "phase": phases.numpy()})


class Judged(Spread):
    """Worlds that follow one motion and are compared with another at the same times: with the truth.

    Nothing in pictures tells where a person is, so the truth is put under the character where an episode begins, and once in `period`
    seconds, as a cycle of a reference is at its end.

    Args:
        truth: of the same length as the motion.
        period: s. over: of the beginnings, s.
        settings: see `DeepMimicVectorEnv`.
    """

    def __init__(self, *, truth: MotionClip, period: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._truth, self._period = MotionLibrary([truth], self.character, self.device), period
        self._under, self._count = torch.zeros_like(self._offset), torch.zeros_like(self._steps)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        out = super().reset(seed=seed, options=options)
        self._count.fill_(-1)
        self.reference()
        return out

    def reference(self) -> Reference:
        reference = self._truth.sample(torch.zeros_like(self._clip), self.times)
        count = (self.times / self._period).long()
        gap = self._now.root_position - reference.root_position
        gap[:, 2].zero_()
        self._under = torch.where((count > self._count).unsqueeze(-1), gap, self._under)
        self._count = count
        return reference.moved(self._under)


def measure(mocap: Path | None, name: str, seconds: float, steps: float, out: Path) -> Measured:
    """All figures of `mprl benchmark skill`.

    Args:
        mocap: folder of DeepMimic's `humanoid3d_*.txt`.
        name: which of them.
        seconds: how long a cycle goes on while it is seen.
        steps: of each run.
        out: folder of the runs; those that are finished there are read back, shorter ones go on.

    Raises:
        MprlError: no such file, or a folder that holds something else.
    """
    file = (mocap or Path()) / f"humanoid3d_{name}.txt"
    if not file.is_file():
        raise SettingError(f"{file}: no such file; a motion that nothing was learned from: --mocap DIR (or $MPRL_MOCAP)")
    once_through = load(file)
    true = unrolled(once_through, seconds)
    asked = {"motion": name, "seconds": seconds, "steps": int(steps)}
    found: dict[str, dict[str, float]] = {}
    for way in (TRUE, FITTED):
        folder = out / f"{name}-{way}"
        _go_on_from_fewer_steps(folder / RESULT, {**asked, "way": way})
        train = partial(run, way, true, once_through.duration, int(steps), folder)
        found[way] = once(folder / RESULT, {**asked, "way": way}, FOUND, train)
    columns = ("learned from", "normalised return by the truth", "by its own motion", "falls", "error, mm", "steps", "minutes")
    return Measured(figures(name, found), {**asked, "episodes": EPISODES, "worlds": WORLDS}, Overview(columns, overview(found)))


def _go_on_from_fewer_steps(result: Path, asked: Mapping[str, Any]) -> None:
    """Forget the result of a run that differs only in its fewer steps, so that it goes on."""
    try:
        before = json.loads(result.read_text(encoding="utf-8"))["asked"]
        if before["steps"] < asked["steps"] and {**before, "steps": asked["steps"]} == asked:
            result.unlink()
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or `once` says what is wrong with it


def figures(name: str, found: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """The return of what learned from the fit, beside that of what learned from the truth, which may be greater by `GOAL`."""
    ours, peer = (found[way]["normalized_return"] for way in (FITTED, TRUE))
    against = "ours learned from one camera's keypoints, peer from the true motion"
    goal: Target = ("ours", peer - GOAL)
    return [Figure("normalized_return", f"{name}, by the truth", "normalised return", ours, peer, against=against, target=goal)]


def overview(found: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """A row for each motion that was learned from."""
    return [
        (
            "the true motion" if way == TRUE else "one camera's keypoints", f"{of['normalized_return']:.3f}", f"{of['own_return']:.3f}",
            f"{of['fall_rate']:.0%}", f"{of['mpjpe_local_mm']:.1f}", f"{of['steps']:,.0f}", f"{of['minutes']:.1f}",
        )
        for way, of in found.items()
    ]  # fmt: skip


def run(way: str, true: MotionClip, period: float, steps: int, folder: Path) -> dict[str, float]:
    """Train an agent on the truth or on what one camera saw of it, keep it, and judge it by the truth."""
    from mprl.agents import PPO, load_agent
    from mprl.agents.callbacks import RunWriter

    make_folder(folder)
    own = folder / MOTION
    goes_on = own.exists() and (folder / "config.json").is_file()
    if not goes_on:
        npz.write(true if way == TRUE else seen(true), own)
    threads = torch.get_num_threads()
    env = gym.make_vec(ENV_ID, num_envs=WORLDS, motion=str(own), output="torch", num_threads=threads)
    agent: Any = load_agent(folder, env) if goes_on else PPO(env, seed=0, std_steps=steps, **SETTINGS)
    writer = RunWriter(folder, agent.num_timesteps)
    began = time.perf_counter()
    agent.learn(max(0, steps - agent.num_timesteps), callback=writer)
    writer.close()
    minutes = (time.perf_counter() - began) / 60  # of what was learned now
    agent.save(folder, training=True)
    return {**judge(agent, own, true, period), "steps": float(agent.num_timesteps), "minutes": minutes}


def seen(true: MotionClip) -> MotionClip:
    """What one camera's keypoints tell of a motion, on the humanoid, heading as the truth does."""
    body = retarget(true, SmplCharacter())
    cameras = synthetic.around(body)
    fitted = smplify.fit(synthetic.evidence(body, cameras, noise=NOISE, dropped=DROPPED))
    return facing_as(retarget(fitted.clip, HUMANOID), true)


def facing_as(clip: MotionClip, true: MotionClip) -> MotionClip:
    """The clip turned about the vertical as a whole, to head where the truth does on average, and begun where it begins.

    No picture tells of either: a camera's own place in the world is not known.
    """
    ours, its = (torch.as_tensor(each.rotations[:, 0].copy()) for each in (clip, true))
    turn = rot.multiply(its, rot.conjugate(ours))
    # twice the angle of the twist about the vertical has a mean; 2 atan2(z, w) itself is a turn or more off in some frames
    angle = 2.0 * torch.atan2(turn[:, 3], turn[:, 0])
    turned = edit.turn(clip, math.atan2(float(angle.sin().mean()), float(angle.cos().mean())))
    place = np.array([1.0, 1.0, 0.0]) * (true.root_position[0] - turned.root_position[0])
    return replace(turned, root_position=turned.root_position + place)


def judge(agent: Any, own: Path, true: MotionClip, period: float) -> dict[str, float]:
    """Deterministic episodes that begin in the first cycle and go on to the end, compared with the truth and with what was learned from."""
    from mprl.agents.evaluation import Player

    settings: dict[str, Any] = {"num_envs": EPISODES, "motion": str(own), "output": "torch", "autoreset_mode": "disabled", "num_threads": 1}
    found = {}
    for key, env in (
        ("by_truth", Judged(truth=true, period=period, over=period, tracking_termination=None, **settings)),
        ("own", Spread(over=period, tracking_termination=None, **settings)),
    ):
        player = Player(agent, agent._make_batch(env).observation)
        found[key] = metrics.summarise(metrics.record(env, player, seed=0), CONTROL_RATE)
        env.close()
    by_truth = {name: found["by_truth"][name] for name in ("normalized_return", "fall_rate", "mpjpe_local_mm")}
    return {**by_truth, "own_return": found["own"]["normalized_return"]}
