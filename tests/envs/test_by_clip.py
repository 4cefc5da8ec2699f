"""A policy judged clip by clip, on recordings made by hand and on characters whose physics is perfect imitation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mprl.envs.imitation import by_clip
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.metrics import Recording
from mprl.envs.imitation.rewards import PAPER, RELEASE
from mprl.errors import SettingError
from mprl.motion import load
from mprl.motion.edit import trim

STEPS, BODIES = 10, 3


def recording(offset: Any, clip: Any, alive: Any = STEPS, phase: Any = None) -> Recording:
    """Episodes whose bodies are `offset` (E, T) m off along x, each `alive` steps long; phases run from 0 to 1."""
    offset, clip = np.asarray(offset, np.float32), np.asarray(clip)
    shape = (len(clip), STEPS)
    offset = np.broadcast_to(offset, shape)
    reference = np.zeros((*shape, BODIES, 3), np.float32)
    character = reference.copy()
    character[..., 0] = offset[..., None]
    ones = np.ones(shape, np.float32)
    lives = np.arange(STEPS) < np.broadcast_to(alive, len(clip))[:, None]
    return Recording(
        alive=lives, fell=np.zeros(shape, bool), character=character, reference=reference, resync=np.zeros((*shape, 3), np.float32),
        rewards={RELEASE.name: ones, PAPER.name: ones}, earned=ones, possible=np.broadcast_to(alive, len(clip)).astype(np.int64),
        phase=np.broadcast_to(np.arange(STEPS) / STEPS if phase is None else phase, shape), saturation=0 * ones, clip=clip,
    )  # fmt: skip


def limit(*steps: int) -> np.ndarray:
    return np.array(steps)


def test_an_episode_ends_with_the_first_frame_that_is_more_than_half_a_metre_off():
    made = by_clip.until_failure(recording([[0.1] * 6 + [0.6] * 4, [0.1] * 10], [0, 0]), limit(10, 10))
    assert made.alive.sum(axis=1).tolist() == [7, 10] and made.fell.nonzero()[1].tolist() == [6]


def test_half_a_metre_is_not_more_than_half_a_metre():
    assert not by_clip.until_failure(recording([[0.5] * 10], [0]), limit(10)).fell.any()


def test_what_happens_after_the_limit_does_not_count():
    made = by_clip.until_failure(recording([[0.1] * 6 + [0.6] * 4], [0]), limit(5))
    assert made.alive.sum() == 5 and not made.fell.any() and made.possible.tolist() == [5]


def summary(offset: Any, clip: Any, repeats: int) -> dict[str, Any]:
    made = by_clip.until_failure(recording(offset, clip), np.full(len(clip), STEPS))
    return by_clip.summarise(made, ["walk", "jump"], repeats)


def test_each_clip_has_its_own_success_and_errors():
    fails = [0.1] * 4 + [0.7] * 6  # fails in the fifth of ten frames
    found = summary([[0.1] * 10, [0.1] * 10, fails, [0.2] * 10], [0, 0, 1, 1], repeats=2)
    walk, jump = found["clips"]
    assert (walk["clip"], walk["success_rate"], jump["success_rate"]) == ("walk", 1, 0.5)
    assert walk["mpjpe_global_mm"] == pytest.approx(100, abs=0.01) and walk["mpjpe_local_mm"] == pytest.approx(0, abs=0.01)
    # 4 x 100 and 700 until the failure, and 10 x 200
    assert jump["mpjpe_global_mm"] == pytest.approx((4 * 100 + 700 + 10 * 200) / 15, abs=0.1)
    assert jump["normalized_return"] == pytest.approx((0.5 + 1) / 2)  # what follows the failure earns nothing


def test_over_the_library_frames_weigh_the_same_and_clips_succeed_or_do_not():
    fails = [0.1] * 4 + [0.7] * 6
    overall = summary([[0.1] * 10, [0.1] * 10, fails, [0.2] * 10], [0, 0, 1, 1], repeats=2)["library"]
    assert overall["success_rate"] == 0.75 and overall["clips_succeeded"] == 0.5 and overall["episodes"] == 4
    assert overall["mpjpe_global_mm"] == pytest.approx((20 * 100 + 4 * 100 + 700 + 10 * 200) / 35, abs=0.1)


def test_episodes_that_begin_elsewhere_count_for_the_map_alone():
    found = summary([[0.1] * 10, [0.9] * 10, [0.1] * 10, [0.1] * 10], [0, 0, 1, 1], repeats=1)
    assert found["library"]["success_rate"] == 1 and found["library"]["episodes"] == 2
    assert np.nansum(found["failures"]) > 0


def test_the_map_tells_which_share_of_those_that_pass_fail_there():
    """Of two episodes of the second clip one fails at phase .4; nobody of the first gets beyond .3."""
    offset = np.zeros((4, STEPS))
    offset[2, 4:] = offset[:2, 2] = 1.0
    made = by_clip.until_failure(recording(offset, [0, 0, 1, 1]), np.full(4, STEPS))
    found = by_clip.failures(made, 2, bins=10)
    assert found[0, :3].tolist() == [0, 0, 1] and np.isnan(found[0, 3:]).all()
    assert found[1].tolist() == [0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0]


def test_passing_a_phase_twice_is_passing_it():
    made = by_clip.until_failure(recording([[0.0] * 9 + [1.0]], [0], phase=[[0.0, 0.5] * 5]), limit(STEPS))
    assert by_clip.failures(made, 1, bins=2).tolist() == [[0, 1]]


# --------------------------------------------------------------------------------------------------------------- whole evaluations


class Puppets(DeepMimicVectorEnv):
    """Each step puts the characters onto the reference, those of the second clip `OFF` metres beside it."""

    OFF = 0.6

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)

        def step(substeps: int) -> None:
            reference = self.library.sample(self._clip, self.times + self.control_step)
            qpos = reference.qpos.double()
            qpos[:, 1] += self.OFF * self._clip
            self.simulation.reset(torch.ones(self.num_envs, dtype=torch.bool), qpos, reference.qvel.double())

        self.simulation.step = step  # type: ignore[method-assign]


def test_a_library_is_judged_in_one_batch():
    clips = [trim(load(name), 0.0, 0.4) for name in ("squat", "turn")]
    env = Puppets(1, clips, num_threads=1, clip_weights=(1, 2), adaptive_sampling=True)
    still = lambda observation: torch.zeros(len(observation), 28)  # noqa: E731
    found = env.evaluate_clips(still, repeats=2)
    good, bad = found["clips"]
    assert (good["success_rate"], bad["success_rate"], found["library"]["success_rate"]) == (1, 0, 0.5)
    assert good["mpjpe_global_mm"] < 1 and bad["mpjpe_global_mm"] == pytest.approx(600, abs=1) and bad["mpjpe_local_mm"] < 1
    assert good["normalized_return"] > 0.99 and good["seconds_mean"] == good["seconds_possible"] == pytest.approx(0.4, abs=0.01)
    assert np.nanmax(found["failures"][0]) == 0 and np.nanmax(found["failures"][1]) == 1
    with pytest.raises(SettingError, match="repeats"):
        env.evaluate_clips(still, repeats=0)
