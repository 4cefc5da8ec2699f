"""The DeepMimic environment keeps Gymnasium's promises and its own docstring's."""

from __future__ import annotations

import functools
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from scipy.spatial.transform import Rotation
from stable_baselines3.common import env_checker as sb3_checker

import mprl  # noqa: F401  registers the environments
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.rewards import REWARDS
from mprl.errors import ActionError, DeviceError, MotionFormatError, MprlError, SettingError, UnknownNameError
from mprl.motion import load

ID = "mprl/DeepMimic-v0"


def make(worlds: int = 4, motion="walk", **settings) -> DeepMimicVectorEnv:
    return DeepMimicVectorEnv(worlds, motion, **{"num_threads": 1, **settings})


def actions(env: DeepMimicVectorEnv, steps: int, scale: float = 0.2, seed: int = 0) -> np.ndarray:
    """Small random actions, (steps, worlds, 28): the character staggers but mostly stays up for a while."""
    return scale * np.random.default_rng(seed).standard_normal((steps, env.num_envs, 28)).astype(np.float32)


def same(a, b) -> bool:
    """Bitwise, NaN equal to NaN."""
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)


def on_the_reference(env: DeepMimicVectorEnv, offset=(0.0, 0.0, 0.0)) -> None:
    """From now on physics is replaced by perfect imitation: each step puts the characters onto the reference, moved by `offset`."""
    everyone = torch.ones(env.num_envs, dtype=torch.bool)

    def step(substeps: int) -> None:
        reference = env.library.sample(env._clip, env.times + env.control_step)
        qpos = reference.qpos.double()
        qpos[:, :3] += torch.tensor(offset)
        env.simulation.reset(everyone, qpos, reference.qvel.double())

    env.simulation.step = step  # type: ignore[method-assign]


# --------------------------------------------------------------------------------------------------------------- the usual checkers


@pytest.mark.slow
@pytest.mark.parametrize("motion", ["walk", "jump"])
def test_gymnasium_s_checker_passes_the_single_environment(motion):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="gymnasium")
        warnings.filterwarnings("ignore", message=".*infinity", module="gymnasium")
        env = gym.make(ID, motion=motion)
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_stable_baselines3_s_checker_passes_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_checker.check_env(gym.make(ID, motion="walk").unwrapped)


def test_make_vec_gives_the_native_batch():
    envs = gym.make_vec(ID, num_envs=3, motion="walk")
    assert isinstance(envs.unwrapped, DeepMimicVectorEnv) and envs.num_envs == 3
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert envs.single_action_space == gym.spaces.Box(-1, 1, (28,), np.float32)
    assert envs.single_observation_space == gym.spaces.Box(-np.inf, np.inf, (108 + 37 * 3,), np.float32)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_shapes_types_and_spaces_are_those_declared(mode):
    env = make(3, autoreset_mode=mode)
    observation, info = env.reset(seed=0)
    for step in range(12):
        assert env.observation_space.contains(observation) and observation.dtype == np.float32
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert reward.shape == (3,) and reward.dtype == np.float32 and ((reward >= 0) & (reward <= 1)).all()
        for flag in (terminated, truncated):
            assert flag.shape == (3,) and flag.dtype == bool
        for name in (*(f"reward_{term}" for term in REWARDS["release"].terms), "tracking_error", "local_tracking_error", "saturation",
                     "phase", "clip", "terminated_contact", "terminated_tracking", "terminated_diverged", "truncated_time",
                     "truncated_clip_end"):  # fmt: skip
            assert info[name].shape == (3,), name
        if mode == AutoresetMode.DISABLED and step == 5:
            env.reset(options={"reset_mask": np.array([True, False, True])})


def test_gymnasium_s_vector_wrappers_work():
    env = gym.wrappers.vector.NormalizeObservation(gym.wrappers.vector.RecordEpisodeStatistics(make(2, max_episode_steps=3)))
    env.reset(seed=0)
    lengths = [list(env.step(np.zeros((2, 28), np.float32))[4].get("episode", {}).get("l", [])) for _ in range(3)]
    assert lengths == [[], [], [3, 3]]


def test_what_a_step_returned_is_not_changed_by_the_next():
    env = make(3)
    first, _ = env.reset(seed=0)
    kept = [first, *env.step(np.zeros((3, 28), np.float32))[:4]]
    copies = [value.copy() for value in kept]
    for action in actions(env, 5):
        env.step(action)
    assert all(map(same, kept, copies))


# ------------------------------------------------------------------------------------------- autoreset, as in Gymnasium's documents


STARTS = np.array([0.5, 0.7, 0.8, 0.9])  # of a jump, which ends: so each world has its own length


@functools.cache
def play(mode: AutoresetMode, steps: int = 70) -> list[tuple]:
    """What came back, to be read only."""
    env = make(4, "jump", autoreset_mode=mode, contact_termination=False, tracking_termination=None)
    observation, info = env.reset(seed=3, options={"phase": STARTS})
    trace = [(observation, None, None, None, info)]
    for action in actions(env, steps, 0.05):
        trace.append(env.step(action))
    return trace


def first_end(trace: list[tuple], world: int) -> int:
    return next(t for t, step in enumerate(trace) if t and (step[2][world] or step[3][world]))


def test_the_worlds_of_these_tests_end_one_after_the_other():
    trace = play(AutoresetMode.NEXT_STEP)
    ends = [first_end(trace, world) for world in range(4)]
    assert len(set(ends)) == 4 and max(ends) < 70


def test_next_step_returns_the_last_observation_and_resets_a_step_later():
    trace, reference = play(AutoresetMode.NEXT_STEP), play(AutoresetMode.DISABLED)
    for world in range(4):
        end = first_end(trace, world)
        for t in range(end + 1):  # up to the end nothing differs from a run that is never reset
            assert same(trace[t][0][world], reference[t][0][world]) and (not t or trace[t][1][world] == reference[t][1][world])
        observation, reward, terminated, truncated, info = trace[end + 1]
        assert reward[world] == 0 and not terminated[world] and not truncated[world]
        assert not same(observation[world], reference[end + 1][0][world])
        # the new episode starts with this observation: it is on the reference, where the next step takes up the action
        assert trace[end + 2][1][world] > 0.5
        assert "final_obs" not in info


def test_next_step_ignores_the_action_of_the_step_that_resets():
    envs = [make(2, max_episode_steps=2) for _ in range(2)]
    after = []
    for env, wild in zip(envs, (0.0, 1.0), strict=True):
        env.reset(seed=1)
        for _ in range(2):
            env.step(np.zeros((2, 28), np.float32))
        after.append(env.step(np.full((2, 28), wild, np.float32))[0])
    assert same(*after)


def test_next_step_reports_no_cause_when_nothing_ends():
    """Whoever counts the causes in `info` counts each end once."""
    trace = play(AutoresetMode.NEXT_STEP)
    for _, _, terminated, truncated, info in trace[1:]:
        for flag, prefix in ((terminated, "terminated_"), (truncated, "truncated_")):
            causes = np.stack([value for key, value in info.items() if key.startswith(prefix)])
            assert not (causes.any(axis=0) & ~flag).any()


def test_same_step_returns_the_new_episode_and_keeps_the_last_observation():
    trace, reference = play(AutoresetMode.SAME_STEP), play(AutoresetMode.DISABLED)
    for world in range(4):
        end = first_end(trace, world)
        observation, reward, _, truncated, info = trace[end]
        assert truncated[world] and reward[world] == reference[end][1][world]
        assert info["_final_obs"].dtype == bool and info["_final_obs"][world]
        assert info["final_obs"].shape == observation.shape and info["final_obs"].dtype == np.float32
        assert same(info["final_obs"][world], reference[end][0][world])
        assert not same(observation[world], info["final_obs"][world])
        assert trace[end + 1][1][world] > 0.5  # the new episode goes on at once
    for _, _, terminated, truncated, info in trace[1:]:
        assert same(info.get("_final_obs", np.zeros(4, bool)), terminated | truncated)


def test_disabled_resets_what_it_is_told_and_leaves_the_others_alone():
    env, untouched = make(4, autoreset_mode="DISABLED"), make(4, autoreset_mode="DISABLED")
    mask = np.array([False, True, False, True])
    for e in (env, untouched):
        e.reset(seed=0)
        for action in actions(e, 5):
            e.step(action)
    before = untouched.step(actions(env, 1, seed=7)[0])[0]
    env.step(actions(env, 1, seed=7)[0])
    observation, info = env.reset(options={"reset_mask": mask, "phase": 0.25})
    assert same(observation[~mask], before[~mask]) and not same(observation[mask], before[mask])
    assert info["phase"][mask] == pytest.approx(0.25) and (info["phase"][~mask] != 0.25).all()
    for action in actions(env, 5, seed=8):
        one, other = env.step(action), untouched.step(action)
        for a, b in zip(one[:4], other[:4], strict=True):
            assert same(a[~mask], b[~mask])


def test_a_step_before_the_first_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded):
        make(1).step(np.zeros((1, 28), np.float32))


# --------------------------------------------------------------------------------------------------------------- the same, again


def trajectory(env: DeepMimicVectorEnv, seed: int, steps: int = 40) -> list[np.ndarray]:
    found = [env.reset(seed=seed)[0]]
    for action in actions(env, steps, 0.5):
        observation, reward, terminated, truncated, info = env.step(action)
        found += [observation, reward, terminated, truncated, *(info[key] for key in sorted(info))]
    return found


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_a_seed_fixes_everything_at_any_number_of_threads(mode):
    runs = [trajectory(make(6, num_threads=threads, autoreset_mode=mode), seed=5) for threads in (1, 3)]
    assert any(value.dtype == bool and value.any() for value in runs[0])  # episodes ended and began anew
    for run in runs[1:]:
        assert len(run) == len(runs[0]) and all(map(same, run, runs[0]))


def test_a_used_environment_starts_over_with_its_seed():
    env = make(3)
    first = trajectory(env, seed=5)
    assert all(map(same, trajectory(env, seed=5), first))


def test_another_seed_is_another_run_and_no_seed_goes_on():
    env = make(3)
    one = env.reset(seed=1)[0]
    assert not same(env.reset(seed=2)[0], one)
    assert not same(env.reset()[0], env.reset()[0])


def test_each_world_is_what_the_single_environment_is():
    batch = make(3, autoreset_mode="DISABLED")
    phases, moves = [0.0, 0.3, 0.8], actions(batch, 15)
    observations = [batch.reset(options={"phase": phases})[0]]
    rewards = []
    for move in moves:
        observation, reward, *_ = batch.step(move)
        observations.append(observation), rewards.append(reward)
    for world in range(3):
        env = gym.make(ID, motion="walk").unwrapped
        found = [env.reset(options={"phase": phases[world]})[0]]
        earned = []
        for move in moves[:, world]:
            observation, reward, *_ = env.step(move)
            found.append(observation), earned.append(reward)
        np.testing.assert_allclose(found, np.stack(observations)[:, world], atol=1e-4)
        np.testing.assert_allclose(earned, np.stack(rewards)[:, world], atol=1e-5)


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED"])
def test_a_saved_state_is_continued_bit_for_bit(mode):
    env = make(4, autoreset_mode=mode, max_episode_steps=9)
    trajectory(env, seed=2, steps=12)
    state = env.get_state()
    other = make(4, autoreset_mode=mode, max_episode_steps=9, num_threads=2)
    last = env.set_state(state)
    assert same(other.set_state(state), last)
    for action in actions(env, 25, 0.5, seed=4):
        one, two = env.step(action), other.step(action)
        assert all(map(same, one[:4], two[:4])) and set(one[4]) == set(two[4])
        assert all(same(one[4][key], two[4][key]) for key in one[4])


def test_a_saved_state_is_a_copy():
    env = make(2)
    env.reset(seed=0)
    state = env.get_state()
    before = {key: value.clone() for key, value in state.items()}
    trajectory(env, seed=1, steps=5)
    assert all(torch.equal(state[key], before[key]) for key in state)


def test_torch_output_holds_the_same_numbers():
    arrays, tensors = make(3, autoreset_mode="SAME_STEP"), make(3, output="torch")
    assert tensors.autoreset_mode == AutoresetMode.SAME_STEP
    assert same(arrays.reset(seed=0)[0], tensors.reset(seed=0)[0])
    for action in actions(arrays, 20, 0.5):
        one, two = arrays.step(action), tensors.step(torch.from_numpy(action))
        assert all(isinstance(value, torch.Tensor) for value in two[:4]) and all(map(same, one[:4], two[:4]))


# -------------------------------------------------------------------------------------------------------------- starts and ends


def test_an_episode_starts_on_the_reference_at_an_even_phase():
    env = make(400)
    _, info = env.reset(seed=0)
    assert (env.body_positions()[0] - env.body_positions()[1]).abs().max() < 5e-4
    phase = np.sort(info["phase"])
    assert np.abs(phase - np.linspace(0, 1, 400)).max() < 0.08  # Kolmogorov and Smirnov: 1 % beyond 1.63 / sqrt(400)


def test_phase_and_clip_can_be_chosen_for_each_world():
    env = make(3, ["walk", "jump"])
    _, info = env.reset(options={"phase": [0.1, 0.5, 0.0], "clip": [1, 0, 1]})
    assert info["clip"].tolist() == [1, 0, 1] and info["phase"][1] == pytest.approx(0.5)


def test_joint_noise_moves_joints_only():
    env = make(2)
    env.reset(options={"phase": 0.3, "joint_noise": 0.01})
    character, reference = env.motions()
    turned = (character.hinges - reference.hinges).abs()
    assert 0 < turned.max() < 0.06
    assert torch.allclose(character.root_position, reference.root_position, atol=1e-6)
    assert torch.allclose(character.rotations[:, 0], reference.rotations[:, 0], atol=1e-6)


def test_clips_of_a_library_are_drawn_by_their_length():
    env = make(1000, ["walk", "jump"])
    _, info = env.reset(seed=0)
    seconds = env.library.durations
    share = float(seconds[1] / seconds.sum())
    assert info["clip"].mean() == pytest.approx(share, abs=4 * (share * (1 - share) / 1000) ** 0.5)


def test_worlds_of_a_library_imitate_their_own_clip():
    together = make(2, ["walk", "jump"], autoreset_mode="DISABLED")
    together.reset(options={"phase": 0.2, "clip": [0, 1]})
    alone = [make(1, motion, autoreset_mode="DISABLED") for motion in ("walk", "jump")]
    for env in alone:
        env.reset(options={"phase": 0.2})
    for action in actions(together, 8):
        _, reward, *_ = together.step(action)
        for world, env in enumerate(alone):
            assert env.step(action[world : world + 1])[1][0] == pytest.approx(reward[world], abs=1e-5)


def test_twenty_seconds_truncate():
    assert make(1).max_episode_steps == 600
    env = make(2, time_limit=0.2)
    env.reset(seed=0)
    for step in range(1, 7):
        _, reward, terminated, truncated, info = env.step(np.zeros((2, 28), np.float32))
        assert truncated.all() == truncated.any() == (step == 6) and not terminated.any() and (reward > 0.3).all()
    assert info["truncated_time"].all() and not info["truncated_clip_end"].any()


def test_the_end_of_a_clip_that_does_not_loop_truncates():
    env = make(1, "jump", tracking_termination=None, contact_termination=False)
    assert not env.library.cyclic[0]
    _, info = env.reset(options={"phase": 0.0})
    steps = 0
    while True:
        _, reward, terminated, truncated, info = env.step(np.zeros((1, 28), np.float32))
        steps += 1
        assert not terminated[0]
        if truncated[0]:
            break
    assert info["truncated_clip_end"][0] and not info["truncated_time"][0] and reward[0] > 0
    assert steps == round(float(env.library.durations[0]) * 30)


@pytest.mark.parametrize("phase", [0.0, 0.5, 0.999])
def test_a_clip_that_does_not_loop_leaves_at_least_a_step(phase):
    env = make(1, "jump", contact_termination=False)
    env.reset(options={"phase": phase})
    _, reward, _, _, _ = env.step(np.zeros((1, 28), np.float32))
    assert reward[0] > 0.5


def test_a_fall_terminates_and_earns_nothing():
    env = make(8, tracking_termination=None)
    env.reset(seed=0)
    fallen = np.zeros(8, bool)
    for action in actions(env, 90, 3.0):
        _, reward, terminated, truncated, info = env.step(action)
        assert (reward[terminated] == 0).all() and (reward[~terminated] >= 0).all() and not (terminated & truncated).any()
        assert info["terminated_contact"][terminated].all()
        fallen |= terminated
    assert fallen.all()


def test_a_failure_in_the_last_step_is_a_failure_and_no_truncation():
    """Its value is 0, not bootstrapped."""
    env = make(2, max_episode_steps=1, tracking_termination=0.3)
    env.reset(options={"phase": 0.0})
    on_the_reference(env, (0.4, 0.0, 0.0))
    _, reward, terminated, truncated, _ = env.step(np.zeros((2, 28), np.float32))
    assert terminated.all() and not truncated.any() and not reward.any()


def test_losing_the_reference_terminates():
    env = make(1, tracking_termination=0.3, contact_termination=False)
    env.reset(options={"phase": 0.0})
    on_the_reference(env, (0.2, 0.2, 0.0))  # 28 cm
    _, reward, terminated, _, info = env.step(np.zeros((1, 28), np.float32))
    assert not terminated[0] and reward[0] > 0 and info["tracking_error"][0] == pytest.approx(0.283, abs=1e-3)
    assert info["local_tracking_error"][0] == pytest.approx(0, abs=1e-4)
    on_the_reference(env, (0.2, 0.24, 0.0))  # 31 cm
    _, reward, terminated, _, info = env.step(np.zeros((1, 28), np.float32))
    assert terminated[0] and reward[0] == 0 and info["terminated_tracking"][0]


def test_without_terminations_nothing_terminates():
    env = make(4, contact_termination=False, tracking_termination=None)
    env.reset(seed=0)
    for action in actions(env, 90, 3.0):
        assert not env.step(action)[2].any()


@pytest.mark.slow
def test_bodies_that_may_touch_the_ground_do_not_end_an_episode():
    everything = make(4, contact_bodies=make(1).character.body_names, tracking_termination=None)
    everything.reset(seed=0)
    for action in actions(everything, 60, 3.0):
        assert not everything.step(action)[2].any()


# ----------------------------------------------------------------------------------------------------------------------- rewards


@pytest.mark.parametrize(("reward", "motion"), [*((reward, "walk") for reward in REWARDS), (next(iter(REWARDS)), "jump")])
def test_perfect_imitation_earns_one(reward, motion):
    env = make(3, motion, reward=reward, contact_termination=False)
    env.reset(options={"phase": [0.0, 0.4, 0.6]})
    on_the_reference(env)
    for _ in range(10):
        _, earned, terminated, _, info = env.step(np.zeros((3, 28), np.float32))
        assert earned == pytest.approx(1, abs=2e-3) and not terminated.any()
        for name in REWARDS[reward].terms:
            assert info[f"reward_{name}"] == pytest.approx(1, abs=5e-3), name


def test_a_character_a_tenth_of_a_metre_away_loses_in_the_root_term_only():
    env = make(1, contact_termination=False, reference_sync=False)
    env.reset(options={"phase": 0.2})
    on_the_reference(env, (0.1, 0.0, 0.0))
    _, reward, _, _, info = env.step(np.zeros((1, 28), np.float32))
    assert info["reward_root"][0] == pytest.approx(np.exp(-5 * 0.01), abs=1e-3)
    assert reward[0] == pytest.approx(1 - 0.2 * (1 - np.exp(-5 * 0.01)), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("sync", [True, False])
def test_a_new_cycle_moves_the_reference_to_the_character_along_the_floor(sync):
    """`sync_char_root_pos` of the authors' code: horizontal position only, at the start of each new cycle."""
    env = make(1, contact_termination=False, tracking_termination=None, reference_sync=sync, autoreset_mode="DISABLED")
    env.reset(options={"phase": 0.5})
    on_the_reference(env, (0.2, -0.1, 0.03))
    period = float(env.library.durations[0])
    for _ in range(round(1.7 * period * 30)):
        cycles = int(float(env.times[0]) / period)
        _, _, _, _, info = env.step(np.zeros((1, 28), np.float32))
        now = int(float(env.times[0]) / period)
        character, reference = env.motions()
        gap = (character.root_position - reference.root_position)[0].tolist()
        if not sync or now == 0:
            assert gap == pytest.approx([0.2, -0.1, 0.03], abs=1e-3)
        elif now > cycles:
            assert gap == pytest.approx([0, 0, 0.03], abs=1e-5)
        else:
            assert gap == pytest.approx([0, 0, 0.03], abs=1e-3)
        shift = 0.0 if sync and now else 0.05
        assert info["reward_root"][0] == pytest.approx(np.exp(-5 * (shift + 0.0009)), abs=2e-3)


def test_the_synchronised_reference_is_what_is_seen():
    """After a new cycle a character that went astray sees its targets ahead of itself again, as at the start."""
    env = make(1, contact_termination=False, tracking_termination=None, autoreset_mode="DISABLED")
    first, _ = env.reset(options={"phase": 0.0})
    on_the_reference(env, (0.3, 0.0, 0.0))
    steps = round(float(env.library.durations[0]) * 30)
    astray = env.step(np.zeros((1, 28), np.float32))[0]
    for _ in range(steps):
        again = env.step(np.zeros((1, 28), np.float32))[0]
    assert int(float(env.times[0]) / float(env.library.durations[0])) == 1
    targets = slice(1 + 24, 1 + 24 + 9)  # root positions of the targets, in the heading frame
    assert np.abs(astray[0, targets] - again[0, targets]).max() > 0.25
    assert again[0, targets] == pytest.approx(first[0, targets], abs=0.05)


@pytest.mark.parametrize("quarters", [0.4, 1, 2, 3])
def test_turning_and_moving_everything_together_changes_nothing(quarters):
    clip = load("walk")
    turn = Rotation.from_rotvec([0, 0, quarters * np.pi / 2])
    rotations = clip.rotations.copy()
    rotations[:, 0] = (turn * Rotation.from_quat(rotations[:, 0], scalar_first=True)).as_quat(scalar_first=True)
    elsewhere = replace(clip, root_position=turn.apply(clip.root_position.copy()) + [5, -3, 0], rotations=rotations)
    here, there = make(3, clip), make(3, elsewhere)
    options = {"phase": [0.1, 0.4, 0.7]}
    np.testing.assert_allclose(here.reset(options=options)[0], there.reset(options=options)[0], atol=1e-4)
    for action in actions(here, 6 if quarters >= 1 else 0):  # MuJoCo's friction is a pyramid, which a quarter turn maps onto itself
        one, other = here.step(action), there.step(action)
        np.testing.assert_allclose(one[0], other[0], atol=5e-3)
        np.testing.assert_allclose(one[1], other[1], atol=1e-3)


def test_a_step_is_a_thirtieth_of_a_second_of_physics_and_of_the_clip():
    env = make(2)
    env.reset(options={"phase": 0.2})
    start = env.times.clone()
    for _ in range(3):
        env.step(np.zeros((2, 28), np.float32))
    assert env.simulation.bind("time").tolist() == pytest.approx([0.1, 0.1])
    assert (env.times - start).tolist() == pytest.approx([0.1, 0.1], abs=1e-6)


def test_saturation_is_each_world_s_share_of_actuators_at_their_limit():
    env = make(3, contact_termination=False, tracking_termination=None)
    env.reset(options={"phase": 0.2})
    pushed = np.zeros((3, 28), np.float32)
    pushed[1] = 1.0
    pushed[2, :14] = 1.0
    _, _, _, _, info = env.step(pushed)
    still, all_of_them, half = info["saturation"]
    assert still < 0.15 and all_of_them > still + 0.3 and still < half < all_of_them


def test_zero_actions_follow_the_reference_for_a_while():
    """Residual targets: doing nothing is already a PD controller on the reference."""
    env = make(4)
    env.reset(options={"phase": [0.0, 0.25, 0.5, 0.75]})
    for _ in range(5):
        _, reward, terminated, _, info = env.step(np.zeros((4, 28), np.float32))
    assert (reward > 0.7).all() and not terminated.any() and (info["local_tracking_error"] < 0.06).all()


def test_the_two_action_modes_mean_what_they_say():
    """`absolute`: the same targets wherever in the clip; `residual`: targets that move with the reference."""
    scale = {"absolute": 1.5, "residual": 0.5}
    for mode, moves in (("absolute", False), ("residual", True)):
        env = make(2, action_mode=mode)
        env.reset(options={"phase": [0.1, 0.6]})
        target = lambda action, env=env: env._targets(env._checked(np.full((2, 28), action, np.float32)))  # noqa: E731
        middle = target(0.0)
        assert bool((middle[0] != middle[1]).any()) == moves
        for action, by in ((0.4, 0.4), (-1.0, -1.0), (7.0, 1.0)):  # values beyond 1 are clipped
            assert (target(action) - middle)[0].tolist() == pytest.approx([by * scale[mode]] * 28, abs=1e-5)


def test_the_whole_torque_damping_included_is_within_the_published_limit():
    """At the start of a control step kp (target - q) - kd dq/dt is the torque; its limits are the release's table."""
    env = make(8, tracking_termination=None, contact_termination=False)
    env.reset(seed=0)
    random = np.random.default_rng(0)
    kp, kd, limit = (np.empty(28) for _ in range(3))
    published = {"chest": (1000, 100, 200), "neck": (100, 10, 50), "hip": (500, 50, 200), "knee": (500, 50, 150), "ankle": (400, 40, 90),
                 "shoulder": (400, 40, 100), "elbow": (300, 30, 60)}  # fmt: skip
    for i in range(28):
        kp[i], kd[i], limit[i] = next(values for joint, values in published.items() if joint in env.model.actuator(i).name)
    at_limit = 0
    for _ in range(20):
        length, velocity = env._actuator_length.numpy().copy(), env._actuator_velocity.numpy().copy()
        action = random.uniform(-1, 1, (8, 28)).astype(np.float32)
        wanted = env._targets(env._checked(action)).double().numpy()
        env.step(action)
        control = env.simulation.bind("ctrl").numpy()
        torque = kp * (control - length) - kd * velocity
        assert (np.abs(torque) <= limit + 0.05).all()
        free = np.abs(kp * (wanted - length) - kd * velocity) < limit - 0.05
        assert np.allclose(control[free], wanted[free], atol=1e-6)
        at_limit += (~free).sum()
    assert at_limit > 100


def test_the_phase_can_be_shown():
    env = make(2, phase_observation=True)
    observation, _ = env.reset(options={"phase": [0.25, 0.5]})
    assert observation.shape == (2, 108 + 37 * 3 + 2)
    assert observation[:, -2:].flatten() == pytest.approx([1, 0, 0, -1], abs=1e-5)


# ------------------------------------------------------------------------------------------------------------------ what breaks down


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_world_that_breaks_down_is_reported_ended_and_reset_and_no_nan_leaves(mode):
    broken, whole = make(3, autoreset_mode=mode), make(3, autoreset_mode=mode)
    others = np.array([True, False, True])
    for env in (broken, whole):
        env.reset(seed=0, options={"phase": [0.1, 0.2, 0.3]})
        env.step(np.zeros((3, 28), np.float32))
    broken.simulation.bind("qpos")[1, 10] = torch.nan
    for step in range(4):
        one, two = broken.step(np.zeros((3, 28), np.float32)), whole.step(np.zeros((3, 28), np.float32))
        for value in (*one[:4], *one[4].values()):
            assert np.isfinite(value).all()
        assert all(same(a[others], b[others]) for a, b in zip(one[:4], two[:4], strict=True))
        if step == 0:
            assert one[4]["terminated_diverged"].tolist() == [False, True, False]
            assert one[2][1] and not one[3][1] and one[1][1] == 0
        if mode == AutoresetMode.DISABLED and step == 0:
            broken.reset(options={"reset_mask": ~others, "phase": 0.2})
    assert one[1][1] > 0.5  # it walks again


# --------------------------------------------------------------------------------------------------------------- a user's mistakes


@pytest.fixture(scope="module")
def standing() -> DeepMimicVectorEnv:
    """Four worlds that have been reset, for what leaves them as they are."""
    env = make(4, autoreset_mode="DISABLED")
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (np.zeros((4, 27)), r"\(4, 28\), found \(4, 27\)"),
        (np.zeros(28), r"\(4, 28\), found \(28,\)"),
        (np.zeros((1, 28)), r"\(4, 28\), found \(1, 28\)"),
        (np.zeros((4, 28, 1)), r"found \(4, 28, 1\)"),
        (np.full((4, 28), np.nan), "finite.*world 0"),
        (np.where(np.arange(4)[:, None] == 2, np.inf, np.zeros((4, 28))), "finite.*world 2"),
        (np.where(np.arange(28) == 2, [[np.inf], [-np.inf], [0], [0]], 0.0), "finite.*world 0"),
    ],
)
def test_a_wrong_action_is_refused_and_nothing_moves(action, says, standing):
    env = standing
    before = env.get_state()
    with pytest.raises(ActionError, match=says) as caught:
        env.step(action)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in env.get_state().items())


@pytest.mark.parametrize("action", [np.zeros(27), np.zeros((1, 28)), np.full(28, np.nan)])
def test_a_wrong_action_of_the_single_environment_is_refused(action):
    env = gym.make(ID, motion="walk").unwrapped
    env.reset(seed=0)
    with pytest.raises(ActionError):
        env.step(action)


def test_very_large_actions_are_clipped_and_not_refused():
    env = make(2)
    env.reset(seed=0)
    assert np.isfinite(env.step(np.full((2, 28), 3e38, np.float32))[0]).all()


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"motion": "wlak"}, UnknownNameError, "did you mean 'walk'"),
        ({"motion": "nowhere/humanoid3d_walk.txt"}, MotionFormatError, "no such file"),
        ({"motion": []}, SettingError, "at least one clip"),
        ({"reward": "relase"}, UnknownNameError, "did you mean 'release'"),
        ({"action_mode": "residul"}, UnknownNameError, "did you mean 'residual'"),
        ({"output": "numpi"}, UnknownNameError, "did you mean 'numpy'"),
        ({"autoreset_mode": "SAME_STP"}, UnknownNameError, "did you mean 'SAME_STEP'"),
        ({"contact_bodies": ["left_ankel"]}, UnknownNameError, "did you mean 'left_ankle'"),
        ({"render_mode": "rgb_aray"}, UnknownNameError, "did you mean 'rgb_array'"),
        ({"device": "cuda"}, DeviceError, "cuda"),
        ({"device": "cpuu"}, DeviceError, "cpuu"),
        ({"num_envs": 0}, SettingError, "at least 1, found 0"),
        ({"time_limit": 0.0}, SettingError, "0 s"),
        ({"time_limit": float("nan")}, SettingError, "time_limit"),
        ({"max_episode_steps": 0}, SettingError, "episode"),
        ({"target_frames": ()}, SettingError, "target_frames"),
        ({"target_frames": (0,)}, SettingError, "target_frames"),
        ({"tracking_termination": -1.0}, SettingError, "tracking_termination"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, kind, says):
    if settings.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("a machine with CUDA")
    with pytest.raises(kind, match=says) as caught:
        make(**{"worlds": settings.pop("num_envs", 1), **settings})
    assert isinstance(caught.value, MprlError) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"phase": 1.0}, "phase"),
        ({"phase": -0.1}, "phase"),
        ({"phase": np.nan}, "phase"),
        ({"phase": [0.1, 0.2, 0.3, 0.4, 0.5]}, "phase"),
        ({"clip": 1}, "clip"),
        ({"clip": -1}, "clip"),
        ({"reset_mask": [True]}, "reset_mask"),
        ({"joint_noise": np.nan}, "joint_noise"),
        ({"phse": 0.5}, "did you mean 'phase'"),
    ],
)
def test_a_reset_option_that_cannot_work_is_named(options, says, standing):
    with pytest.raises(MprlError, match=says) as caught:
        standing.reset(options=options)
    assert "\n" not in str(caught.value)
