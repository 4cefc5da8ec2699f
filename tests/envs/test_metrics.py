"""The metrics of imitation, on recordings made by hand: PHC's definitions (Luo et al. 2023, arXiv 2305.06456) and the issue's NR."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mprl.envs.imitation import metrics
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.metrics import Recording, error_over_phase, summarise
from mprl.envs.imitation.rewards import PAPER, RELEASE

STEPS, BODIES = 10, 15
TIME = np.arange(STEPS, dtype=np.float32)


def recording(
    offset: Any = 0.0, alive: Any = STEPS, fell: Any = False, possible: Any = STEPS, episodes: int = 1, reward: float = 1.0, **others: Any
) -> Recording:
    """Episodes whose bodies all are `offset` off a reference that wanders; each `alive` steps long.

    `offset` broadcasts to (episodes, steps, bodies, 3); what comes after an episode's end is nonsense, as it may be.
    """
    shape = (episodes, STEPS)
    random = np.random.default_rng(0)
    reference = random.standard_normal((*shape, BODIES, 3)).astype(np.float32)
    length = np.broadcast_to(alive, episodes)
    lives = np.arange(STEPS) < length[:, None]
    character = reference + np.broadcast_to(np.asarray(offset, np.float32), reference.shape)
    character[~lives] = 1e3
    last = np.arange(STEPS) == length[:, None] - 1
    paid = np.where(lives, np.where(last & np.broadcast_to(fell, episodes)[:, None], 0.0, reward), 77.0).astype(np.float32)
    fields = {
        "alive": lives,
        "fell": last & np.broadcast_to(fell, episodes)[:, None],
        "character": character,
        "reference": reference,
        "resync": np.zeros((*shape, 3), np.float32),
        "rewards": {RELEASE.name: paid, PAPER.name: 0.5 * paid},
        "earned": paid,
        "possible": np.broadcast_to(possible, episodes).astype(np.int64),
        "phase": np.broadcast_to(TIME / STEPS, shape),
        "saturation": np.zeros(shape, np.float32),
        "clip": np.zeros(episodes, np.int64),
    }
    return Recording(**{**fields, **others})


def along(values: Any) -> np.ndarray:
    """An offset along x that depends on time, for all bodies: (1, steps, 1, 3)."""
    return np.stack([values, 0 * TIME, 0 * TIME], axis=-1)[None, :, None, :]


# --------------------------------------------------------------------------------------------------------------- PHC's tracking errors


def errors(made: Recording) -> list[float]:
    """World, root-relative, velocity, acceleration; mm."""
    found = summarise(made, 30.0)
    names = ("mpjpe_global_mm", "mpjpe_local_mm", "velocity_error_mm_per_frame", "acceleration_error_mm_per_frame2")
    return [found[name] for name in names]


def test_perfect_tracking_has_no_error():
    assert errors(recording()) == [0, 0, 0, 0]


def test_a_decimetre_off_is_100_mm_in_the_world_and_none_relative_to_the_root():
    assert errors(recording([0.1, 0, 0])) == pytest.approx([100, 0, 0, 0], abs=0.01)


def test_distances_are_euclidean():
    assert errors(recording([0.03, -0.04, 0.12])) == pytest.approx([130, 0, 0, 0], abs=0.01)


def test_drifting_away_by_a_centimetre_a_frame_is_a_velocity_error_of_10_mm():
    # the offset is 0, 10, ... 90 mm: 45 on average
    assert errors(recording(along(0.01 * TIME))) == pytest.approx([45, 0, 10, 0], abs=0.02)


def test_drifting_away_ever_faster_is_an_acceleration_error():
    # .002 t²: second differences are 4 mm, first ones 2, 6, ... 34
    assert errors(recording(along(0.002 * TIME**2))) == pytest.approx([2 * 28.5, 0, 18, 4], abs=0.03)


def test_the_direction_of_a_change_does_not_matter():
    assert errors(recording(along(-0.01 * TIME))) == pytest.approx([45, 0, 10, 0], abs=0.02)
    # back and forth: 100 mm in each step, 200 from one step to the next
    assert errors(recording(along(0.05 * (-1) ** TIME))) == pytest.approx([50, 0, 100, 200], abs=0.05)


def test_one_body_off_counts_by_its_share_and_the_root_moves_all_others():
    hand, root = np.zeros((2, 1, 1, BODIES, 3))
    hand[..., 7, 2] = 0.15
    root[..., 0, 2] = 0.15
    assert errors(recording(hand)) == pytest.approx([10, 10, 0, 0], abs=0.01)
    assert errors(recording(root)) == pytest.approx([10, 140, 0, 0], abs=0.01)  # the other 14 are off relative to it


def test_frames_after_the_fall_do_not_count():
    # the fall is in the fourth frame: offsets 0, 10, 20, 30 mm
    assert errors(recording(along(0.01 * TIME), alive=4, fell=True)) == pytest.approx([15, 0, 10, 0], abs=0.02)


def test_a_reference_that_is_moved_under_the_character_is_not_a_motion_to_imitate():
    """Drifting by 10 mm a frame, caught up with at frame 5: velocities differ by 10 mm at that frame too, not by 40."""
    caught_up = np.where(TIME < 5, 0.0, 0.05)
    resync = np.zeros((1, STEPS, 3), np.float32)
    resync[..., 0] = caught_up
    made = recording(along(0.01 * TIME - caught_up), resync=resync)
    assert errors(made) == pytest.approx([20, 0, 10, 0], abs=0.02)


def test_all_frames_weigh_the_same_whatever_their_episode():
    offset = np.array([0.1, 0.3])[:, None, None, None] * np.array([1.0, 0, 0])
    assert errors(recording(offset, episodes=2, alive=[9, 3]))[0] == pytest.approx((9 * 100 + 3 * 300) / 12, abs=0.05)


def test_episodes_too_short_for_a_difference_have_none():
    world, local, velocity, acceleration = errors(recording([0.1, 0, 0], alive=2))
    assert [world, local, velocity] == pytest.approx([100, 0, 0], abs=0.01) and np.isnan(acceleration)


# ------------------------------------------------------------------------------------------------------------------ success and falls


def outcome(made: Recording) -> tuple[float, float]:
    found = summarise(made, 30.0)
    return found["success_rate"], found["fall_rate"]


def test_success_is_lost_when_the_mean_body_error_exceeds_half_a_metre_at_one_frame():
    far = np.where(TIME == 6, 0.51, 0.0)
    assert outcome(recording(along(far))) == (0, 0)
    assert outcome(recording(along(0.98 * far))) == (1, 0)  # .4998 m


def test_success_looks_at_the_mean_over_bodies_not_at_the_worst():
    hand = np.zeros((1, 1, BODIES, 3))
    hand[..., 7, 0] = 7.0  # 47 cm on average
    assert outcome(recording(hand)) == (1, 0)
    hand[..., 7, 0] = 8.0  # 53 cm
    assert outcome(recording(hand)) == (0, 0)


def test_a_fall_is_no_success_however_close_the_character_was():
    assert outcome(recording(alive=5, fell=True)) == (0, 1)


def test_an_episode_that_was_truncated_is_one():
    assert outcome(recording(alive=5, possible=5)) == (1, 0)


def test_rates_are_over_episodes():
    far = np.zeros((4, 1, 1, 3))
    far[3] = 1.0
    assert outcome(recording(far, episodes=4, alive=[10, 3, 10, 10], fell=[False, True, False, False])) == (0.5, 0.25)


# ------------------------------------------------------------------------------------------------------------------ normalised return


def shares(made: Recording) -> tuple[float, float]:
    found = summarise(made, 30.0)
    return found["normalized_return"], found["normalized_return_paper"]


def test_perfect_episodes_have_a_normalised_return_of_one():
    assert shares(recording(episodes=3)) == (1, 0.5)


def test_steps_lost_by_falling_count_as_nothing():
    # four steps that earn 1 and a fall that earns nothing, of ten
    assert shares(recording(alive=5, fell=True)) == pytest.approx((0.4, 0.2))


def test_steps_that_a_clip_does_not_have_are_not_missed():
    assert shares(recording(alive=6, possible=6)) == pytest.approx((1, 0.5))


def test_it_is_a_mean_over_episodes_each_by_its_own_length():
    assert shares(recording(episodes=2, alive=[10, 1], possible=[10, 4])) == pytest.approx(((1 + 0.25) / 2, (0.5 + 0.125) / 2))


def test_lengths_and_returns():
    found = summarise(recording(episodes=2, alive=[10, 4], fell=[False, True], reward=0.5), 5.0)
    assert found["episodes"] == 2 and found["length_mean"] == 7 and found["seconds_mean"] == pytest.approx(1.4)
    assert found["return_mean"] == pytest.approx((5 + 1.5) / 2) and found["return_std"] == pytest.approx(1.75)
    assert found["frame_rate_hz"] == 5.0


def test_ten_seconds_or_all_that_there_is():
    # at 0.8 Hz ten seconds are 8 steps
    made = recording(episodes=4, alive=[10, 7, 5, 8], possible=[10, 10, 5, 10], fell=[False, True, False, True])
    assert summarise(made, 0.8)["lasts_10_s_rate"] == 0.75


# -------------------------------------------------------------------------------------------------------------- error over the phase


def test_the_error_over_the_phase_is_that_of_its_frames():
    found = error_over_phase(recording(along(0.01 * TIME)), bins=5)
    assert found["phase"] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert found["error_mm"] == pytest.approx([5, 25, 45, 65, 85], abs=0.02) and found["local_error_mm"] == pytest.approx([0] * 5, abs=0.02)


def test_phases_nobody_was_in_are_left_out_and_the_dead_do_not_count():
    found = error_over_phase(recording([0.1, 0, 0], alive=3), bins=5)
    assert found["phase"] == pytest.approx([0.1, 0.3]) and found["error_mm"] == pytest.approx([100, 100], abs=0.02)


# ----------------------------------------------------------------------------------------------------------------------------- starts


def starts(cyclic: list[bool], episodes: int) -> list[tuple[int, float, float]]:
    found = metrics.starts(_Library(cyclic), episodes)
    return [
        (int(c), round(float(p), 6), round(float(n), 6))
        for c, p, n in zip(*(found[k] for k in ("clip", "phase", "joint_noise")), strict=True)
    ]


class _Library(SimpleNamespace):
    def __init__(self, cyclic: list[bool]) -> None:
        super().__init__(cyclic=torch.tensor(cyclic))

    def __len__(self) -> int:
        return len(self.cyclic)


def test_phases_of_a_cycle_are_spread_evenly():
    assert starts([True], 4) == [(0, 0.0, 0), (0, 0.25, 0), (0, 0.5, 0), (0, 0.75, 0)]


def test_a_clip_that_ends_is_started_at_its_beginning_with_joint_noise():
    assert starts([False], 3) == [(0, 0.0, 0.01)] * 3


def test_clips_take_turns_and_each_has_its_own_phases():
    # five episodes: three of the first clip, two of the second
    assert starts([True, True], 5) == [(0, 0.0, 0), (1, 0.0, 0), (0, 0.333333, 0), (1, 0.5, 0), (0, 0.666667, 0)]
    assert starts([True, False], 4) == [(0, 0.0, 0), (1, 0.0, 0.01), (0, 0.5, 0), (1, 0.0, 0.01)]


# --------------------------------------------------------------------------------------------------------------- whole evaluations


def puppets(offset: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> type[DeepMimicVectorEnv]:
    """An environment whose physics is perfect imitation: each step puts the characters onto the reference, moved by `offset`."""

    class Puppets(DeepMimicVectorEnv):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            everyone = torch.ones(self.num_envs, dtype=torch.bool)

            def step(substeps: int) -> None:
                reference = self.library.sample(self._clip, self.times + self.control_step)
                qpos = reference.qpos.double()
                qpos[:, :3] += torch.tensor(offset)
                self.simulation.reset(everyone, qpos, reference.qvel.double())

            self.simulation.step = step  # type: ignore[method-assign]

    return Puppets


def still(observation: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(observation), 28)


@pytest.mark.parametrize(("motion", "seconds"), [("walk", 1.5), ("jump", 0.5)])
def test_perfect_imitation_is_judged_perfect(motion, seconds):
    env = puppets()(1, motion, num_threads=1, time_limit=seconds)
    found = env.evaluate(still, episodes=2)
    assert found["normalized_return"] == pytest.approx(1, abs=3e-3) and found["success_rate"] == 1 and found["fall_rate"] == 0
    assert found["normalized_return_without_sync"] == pytest.approx(1, abs=3e-3)
    assert found["mpjpe_global_mm"] < 1 and found["mpjpe_local_mm"] < 1


@pytest.mark.slow
def test_a_clip_that_ends_could_have_lasted_exactly_as_long_as_it_does():
    """Steps possible are those to the clip's end: neither one more (NR below 1) nor one fewer (NR above 1)."""
    env = puppets()(3, "jump", output="torch", autoreset_mode="DISABLED", num_threads=1)
    made = metrics.record(env, still, seed=0)
    seconds = float(env.library.durations[0])
    assert made.possible.tolist() == made.alive.sum(axis=1).tolist() == [round(seconds * 30)] * 3
    assert not made.fell.any()


def test_a_cycle_could_have_lasted_to_the_time_limit():
    env = puppets()(3, "walk", output="torch", autoreset_mode="DISABLED", num_threads=1, time_limit=0.5)
    made = metrics.record(env, still, seed=0)
    assert made.possible.tolist() == [15] * 3 and made.alive.sum(axis=1).tolist() == [15] * 3
    assert made.phase[:, 0] == pytest.approx(np.array([0, 1 / 3, 2 / 3]) + 1 / 30 / float(env.library.durations[0]), abs=1e-4)


@pytest.mark.slow
def test_walking_beside_the_reference_is_seen_in_the_world_only():
    found = puppets((0.1, 0.0, 0.0))(1, "walk", num_threads=1, time_limit=0.5).evaluate(still, episodes=2)
    # the re-sync closes the gap of 10 cm at the start of a new cycle, where the run without it keeps it
    assert found["mpjpe_global_mm_without_sync"] == pytest.approx(100, abs=1) and found["mpjpe_local_mm"] < 1
    assert found["normalized_return_without_sync"] == pytest.approx(1 - 0.2 * (1 - np.exp(-5 * 0.01)), abs=2e-3)


@pytest.mark.slow
def test_velocity_errors_do_not_depend_on_the_re_sync():
    """A character that is ever faster than the reference, by 10 mm a frame, over several cycles."""
    found = []
    for sync in (True, False):
        env = puppets()(2, "walk", output="torch", autoreset_mode="DISABLED", num_threads=1, time_limit=4.0, reference_sync=sync)
        everyone = torch.ones(2, dtype=torch.bool)

        def drift(substeps: int, env: DeepMimicVectorEnv = env, everyone: torch.Tensor = everyone) -> None:
            reference = env.library.sample(env._clip, env.times + env.control_step)
            qpos = reference.qpos.double()
            qpos[:, 0] += 0.01 * (env._steps + 1)
            env.simulation.reset(everyone, qpos, reference.qvel.double())

        env.simulation.step = drift  # type: ignore[method-assign]
        env.tracking_termination = None
        found.append(summarise(metrics.record(env, still, seed=0), 30.0))
    for each in found:
        assert each["velocity_error_mm_per_frame"] == pytest.approx(10, abs=0.1)
        assert each["acceleration_error_mm_per_frame2"] == pytest.approx(0, abs=0.1)
    with_sync, without = (each["mpjpe_global_mm"] for each in found)
    assert without == pytest.approx(10 * 121 / 2, abs=5) and with_sync < 0.5 * without


@pytest.mark.slow
def test_a_fall_ends_an_episode_and_losing_the_reference_does_not():
    """Contact termination on, tracking termination off, whatever the training environment's settings."""
    settings: dict[str, Any] = dict(num_threads=1, time_limit=1.0, contact_termination=False, tracking_termination=0.1)
    far = puppets((0.6, 0.0, 0.0))(1, "walk", **settings, reference_sync=False).evaluate(still, episodes=2)
    assert far["fall_rate"] == 0 and far["length_mean"] == 30 and far["success_rate_without_sync"] == 0
    wild = DeepMimicVectorEnv(1, "walk", **{**settings, "time_limit": 3.0}).evaluate(lambda o: 0 * still(o) + 1, episodes=2)
    assert wild["fall_rate"] == 1 and wild["success_rate"] == 0 and 1 < wild["length_mean"] < 90
    assert wild["normalized_return"] == pytest.approx(wild["return_mean"] / 90, rel=1e-4)


@pytest.mark.slow
def test_an_evaluation_repeats():
    env = DeepMimicVectorEnv(1, "jump", num_threads=1, time_limit=0.2)
    one, same, other = (env.evaluate(still, episodes=2, seed=seed) for seed in (1, 1, 2))
    assert one == same and one["return_mean"] != other["return_mean"]
