"""A policy that acts on what is perceived: what it is shown is the noisy, late or felt state, what it is paid for is the true one."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch

from mprl.agents import PPO
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.felt import Felt
from mprl.envs.imitation.perceived import Ahead, Bodies, Late, Noise, Noisy, PerceivedVectorEnv
from mprl.errors import SettingError, UnknownNameError
from mprl.motion import HUMANOID, SmplCharacter
from mprl.motion import rotations as rot

SETTINGS = {"num_envs": 3, "output": "torch", "num_threads": 1}
OWN, COMING = slice(0, 25), slice(25, 52)  # of the humanoid's observation: root, hands, feet and head; where the reference will be


def played(env, steps=4):
    """Observations and rewards from half-way through the walk, with actions that are the same each time."""
    random = torch.Generator().manual_seed(0)
    seen, earned = [env.reset(seed=0, options={"phase": 0.5})[0]], []
    for _ in range(steps):
        observation, reward, *_ = env.step(0.1 * torch.randn(env.num_envs, env.model.nu, generator=random))
        seen.append(observation)
        earned.append(reward)
    return torch.stack(seen), torch.stack(earned)


@pytest.fixture(scope="module")
def true():
    return played(DeepMimicVectorEnv(autoreset_mode="disabled", **SETTINGS))


@pytest.mark.parametrize("perceive", [[], [Late(0)], [Noisy(Noise(), HUMANOID)]])
def test_without_faults_all_is_as_it_is(true, perceive):
    seen, earned = played(PerceivedVectorEnv(perceive=perceive, **SETTINGS))
    torch.testing.assert_close(seen, true[0], atol=1e-4, rtol=0)
    assert torch.equal(earned, true[1])


def test_what_is_late_is_what_was_seen_before_and_rewards_are_of_now(true):
    seen, earned = played(PerceivedVectorEnv(perceive=[Late(2)], **SETTINGS))
    assert torch.equal(earned, true[1])
    for now, then in ((0, 0), (1, 0), (2, 0), (3, 1), (4, 2)):
        assert torch.equal(seen[now][:, OWN], true[0][then][:, OWN])
    assert not torch.equal(seen[4][:, COMING], true[0][2][:, COMING])  # where the motion goes is known as of now


@pytest.mark.parametrize("character", ["humanoid", "smpl"])
def test_a_state_is_carried_on_as_mujoco_integrates_positions(character):
    env = PerceivedVectorEnv(perceive=[], character=character, **SETTINGS)
    played(env, 2)
    ahead = Ahead(2, env.character)(env._now, env)
    for world in range(env.num_envs):
        qpos = env._qpos[world].numpy().copy()
        mujoco.mj_integratePos(env.model, qpos, env._qvel[world].numpy().copy(), 2 / 30)
        assert np.abs(qpos[:3] - ahead.root_position[world].numpy()).max() < 1e-5
        balls, hinges = torch.tensor(qpos[env.character.ball_qpos]).float(), torch.tensor(qpos[env.character.hinge_qpos]).float()
        assert float(rot.angle(balls, ahead.rotations[world]).max()) < 2e-3
        torch.testing.assert_close(hinges, ahead.hinges[world], atol=1e-5, rtol=0)


def test_a_new_episode_begins_with_its_own_first_state():
    env = PerceivedVectorEnv(perceive=[Late(3)], **SETTINGS)
    played(env)
    again = env.reset(seed=0, options={"phase": 0.1})[0]
    assert torch.equal(again, DeepMimicVectorEnv(autoreset_mode="disabled", **SETTINGS).reset(seed=0, options={"phase": 0.1})[0])


def test_noise_has_the_deviation_that_it_is_said_to_have():
    env = PerceivedVectorEnv(perceive=[], **{**SETTINGS, "num_envs": 256})
    env.reset(seed=0)
    state, noisy = env._now, Noisy(Noise(angle=0.05, place=0.02, rate=0.3, speed=0.1), HUMANOID)(env._now, env)
    angle = rot.angle(state.rotations, noisy.rotations).square().mean().sqrt()
    assert float(angle) == pytest.approx(0.05, rel=0.05)
    for name, part, deviation in (("root_position", slice(None), 0.02), ("velocity", slice(0, 3), 0.1), ("velocity", slice(3, None), 0.3)):
        difference = (getattr(noisy, name) - getattr(state, name))[:, part]
        assert float(difference.std()) == pytest.approx(deviation, rel=0.1)


def test_noise_that_lasts_is_as_large_and_like_that_of_the_step_before():
    env = PerceivedVectorEnv(perceive=[], **{**SETTINGS, "num_envs": 256})
    env.reset(seed=0)
    noisy = Noisy(Noise(place=0.02), HUMANOID, lasts=0.1)

    def noise() -> torch.Tensor:
        env._steps += 1
        return noisy(env._now, env).root_position - env._now.root_position

    first, *_, before, last = (noise() for _ in range(20))
    assert float(last.std()) == pytest.approx(0.02, rel=0.1)
    alike = lambda a, b: float((a * b).mean() / (a.std() * b.std()))  # noqa: E731
    assert alike(before, last) == pytest.approx(math.exp(-1 / 3), abs=0.07) and abs(alike(first, last)) < 0.1
    # where others' episodes begin the step is observed again, and shows the same
    env._steps[:3] = 0
    again = noisy(env._now, env).root_position - env._now.root_position
    assert torch.equal(again[3:], last[3:]) and (again[:3] != last[:3]).all()


def test_noise_can_be_learned_with():
    env = PerceivedVectorEnv(perceive=[Noisy(Noise(angle=0.05), HUMANOID)], autoreset_mode="same_step", **SETTINGS)
    agent = PPO(env, hidden=(8,), n_steps=16, batch_size=16)
    agent.learn(16 * 3)
    assert agent.num_timesteps == 16 * 3


@pytest.mark.parametrize("character", ["humanoid", "smpl"])
def test_bodies_are_where_the_physics_has_them(character):
    env = DeepMimicVectorEnv(character=character, autoreset_mode="disabled", **SETTINGS)
    played(env, 2)
    now = env._now
    torch.testing.assert_close(Bodies(env.character)(now.root_position, now.rotations, now.hinges), now.bodies, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_what_sensors_feel_of_a_walk_is_near_the_truth():
    """Bones with a sensor are known; a walk that nobody saw is told to some 10 degrees, its speed to .5 m/s, its height to 8 cm."""
    env = PerceivedVectorEnv(perceive=[], character="smpl", **SETTINGS)
    felt, found = Felt(env.character), []
    env._perceive = (lambda state, envs: found.append((state, felt(state, envs))) or state,)
    played(env, 5)
    true, seen = found[-1]
    torch.testing.assert_close(
        seen.rotations[:, 0], true.rotations[:, 0] * (seen.rotations * true.rotations).sum(-1)[:, :1].sign(), atol=1e-3, rtol=0
    )
    assert float(rot.angle(true.rotations, seen.rotations).mean()) < 0.25
    assert float((true.root_position - seen.root_position)[:, 2].abs().max()) < 0.08
    assert float((true.velocity - seen.velocity)[:, :3].norm(dim=-1).max()) < 0.8


def test_mistakes_are_one_line():
    with pytest.raises(SettingError, match="of the SMPL body, not of 'humanoid'"):
        Felt(HUMANOID)
    with pytest.raises(UnknownNameError, match="no part named 'poes'; did you mean 'pose'"):
        Felt(SmplCharacter(), ("poes",))
    with pytest.raises(SettingError, match="angle"):
        Noise(angle=-1.0)
    with pytest.raises(SettingError, match="control steps"):
        Late(-1)
    env = PerceivedVectorEnv(perceive=[Late(1)], **SETTINGS)
    played(env, 1)
    with pytest.raises(SettingError, match="all worlds at once"):
        env.reset(options={"reset_mask": [True, False, False]})
