"""The environment on the GPU's back end: the same episodes, and nothing in a step that would wait for a GPU.

On Warp's CPU device with `-m slow`, on a GPU with `-m gpu`.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mprl  # noqa: F401
from mprl.agents import PPO
from mprl.envs import to_sb3
from mprl.errors import ActionError
from mprl.scripts.benchmarks import parity

pytestmark = pytest.mark.usefixtures("warp_installed", "heard")
WORLDS = 8


def make(device: str, worlds: int = WORLDS, task: str = "", **settings):
    return gym.make_vec(
        f"mprl/DeepMimic{task}-v0", num_envs=worlds, device=device, **{"output": "torch", "backend": "warp"} | settings
    ).unwrapped


@pytest.fixture(scope="module")
def envs(device):
    return make(device)


def begin(*envs, phase):
    """The same states in all, 2 mm into the floor: our walk's feet are on it to a rounding error, which would decide what touches."""
    state = {}
    for env in reversed(envs):  # the last one's state, in all
        env.reset(seed=0, options={"phase": phase})
        state = state or env.get_state()
        state["simulation"][:, 3] -= 0.002 * (env is envs[-1])
        env.set_state({**state, "random": env.get_state()["random"]})


def test_steps_are_those_of_the_cpu(envs):
    """To 1e-4 rad/s in a control step (tests/simulation/test_gpu.py), which grows by each contact on the way; until episodes end."""
    cpu, generator = make("cpu", backend="mujoco"), torch.Generator().manual_seed(3)
    begin(envs, cpu, phase=torch.arange(WORLDS) / WORLDS)
    running = torch.ones(WORLDS, dtype=torch.bool)
    for _ in range(6):
        action = 0.3 * torch.randn(WORLDS, 28, generator=generator)
        observation, reward, terminated, truncated, info = (
            {k: v.cpu() for k, v in value.items()} if isinstance(value, dict) else value.cpu() for value in envs.step(action)
        )
        expected = cpu.step(action)
        assert torch.equal(terminated, expected[2]) and torch.equal(truncated, expected[3])
        running &= ~(terminated | truncated)
        torch.testing.assert_close(observation[running], expected[0][running], rtol=0, atol=0.01)
        torch.testing.assert_close(reward[running], expected[1][running], rtol=0, atol=1e-3)
        for key in set(expected[4]) - {"final_obs", "_final_obs"}:
            torch.testing.assert_close(info[key][running], expected[4][key][running], rtol=0, atol=0.04, msg=key)
    assert running.sum() > WORLDS / 2


class Waits(TorchDispatchMode):
    """Fails at what would make the host wait for a GPU: to read a number, to look for the true ones, to send numbers along."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "lift_fresh", "equal", "unique")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in self.FORBIDDEN, f"{name} waits for the device"
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), "a boolean index waits for the device"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("task", "mode"), [("", "SAME_STEP"), ("", "NEXT_STEP"), ("", "DISABLED"), ("Heading", "SAME_STEP"), ("Strike", "SAME_STEP")]
)
def test_a_step_never_waits(device, task, mode):
    env = make(device, 3, task, autoreset_mode=mode, time_limit=0.1)
    env.reset(seed=0)
    actions = torch.zeros(3, 28, device=env.device)
    env.step(actions)  # what is made once
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        with Waits():
            steps = [env.step(actions) for _ in range(7)]
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    assert sum(int(step[3].sum()) for step in steps) == (6 if mode != "DISABLED" else 18)  # of three steps; DISABLED goes on


SENSORS = {
    "imu": {"gyroscope_noise": 0.1, "gyroscope_drift": 0.1, "misplacement": 0.01, "misalignment": 0.1, "orientation_noise": 0.1},
    "keypoints_2d": {"noise": 1.0, "dropout": 0.1},
    "keypoints_3d": {"noise": 0.01, "dropout": 0.1},
    "height_scan": {"noise": 0.01},
}


def test_sensors_never_wait(device):
    env = make(device, 3, sensors=SENSORS, time_limit=0.1)
    env.reset(seed=0)
    actions = torch.zeros(3, 28, device=env.device)
    env.step(actions)
    with Waits():
        steps = [env.step(actions) for _ in range(4)]
    assert all(torch.isfinite(value).all() for step in steps for value in step[0].values())


def test_sensors_read_as_on_the_cpu(device):
    pair = [make(where, 3, backend=backend, sensors=tuple(SENSORS)) for where, backend in ((device, "warp"), ("cpu", "mujoco"))]
    begin(*pair, phase=0.25)
    found, expected = (env.step(torch.zeros(3, 28, device=env.device))[0] for env in pair)
    for name, tolerance in (("imu", 0.3), ("keypoints_2d", 0.1), ("keypoints_3d", 1e-3), ("height_scan", 1e-3)):
        torch.testing.assert_close(found[name].cpu(), expected[name], rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP"])
def test_episodes_end_and_begin_as_on_the_cpu(device, mode):
    """Two episodes of three steps: when, what is earned, and what was seen last."""
    settings = {"autoreset_mode": mode, "time_limit": 0.1}
    pair = make(device, 3, **settings), make("cpu", 3, backend="mujoco", **settings)
    begin(*pair, phase=0.25)
    found = []
    for env in pair:
        steps = [env.step(torch.zeros(3, 28)) for _ in range(7)]
        final = steps[2][4]["final_obs"] if mode == "SAME_STEP" else steps[2][0]
        found.append(([step[3].tolist() for step in steps], env._steps.tolist(), [step[1].cpu() for step in steps[:3]], final.cpu()))
    (ends, lasted, rewards, final), expected = found
    assert (ends, lasted) == expected[:2]
    torch.testing.assert_close(rewards, expected[2], rtol=0, atol=1e-3)
    torch.testing.assert_close(final, expected[3], rtol=0, atol=0.01)


@pytest.mark.parametrize("backend", ["mujoco", "warp"])
def test_a_world_that_breaks_down_ends_its_episode_and_lets_nothing_out(device, backend, caplog):
    if backend == "mujoco" and device == "cuda":
        pytest.skip("the CPU's back end runs on a CPU")
    env = make(device, 4, backend=backend)
    env.reset(seed=0)
    env.step(torch.zeros(4, 28))
    env._qpos[1, 9] = torch.nan
    observation, reward, terminated, _, info = env.step(torch.zeros(4, 28))
    assert terminated.tolist() == info["terminated_diverged"].tolist() == [False, True, False, False]
    assert reward[1] == 0
    for value in (observation, reward, *info.values()):
        assert value.isfinite().all()
    assert not env.step(torch.zeros(4, 28))[2].any()  # a new episode
    assert env.check()["diverged"] == 1 and "the physics of 1 worlds diverged" in caplog.text


def test_actions_that_are_not_finite_are_told_at_the_next_check(envs):
    envs.reset(seed=0)
    actions = torch.zeros(WORLDS, 28)
    actions[3, 4] = torch.nan
    assert envs.step(actions)[2].tolist() == [world == 3 for world in range(WORLDS)]  # that world broke down
    with pytest.raises(ActionError, match="actions must be finite"):
        envs.check()
    envs.check()


def test_a_saved_state_is_continued_bit_for_bit(envs):
    envs.reset(seed=0)
    envs.step(torch.full((WORLDS, 28), -0.2))
    saved = envs.get_state()
    ends = []
    for _ in range(2):
        observation = envs.set_state(saved)
        for _ in range(5):
            observation, *_ = envs.step(torch.full((WORLDS, 28), 0.2))
        ends.append(observation)
    if envs.device.type == "cpu":
        assert torch.equal(*ends)
    else:  # its sums are not always made in the same order
        torch.testing.assert_close(*ends, rtol=0, atol=0.01)


def test_it_is_shown_judged_and_handed_to_stable_baselines(device, tmp_path):
    env = make(device, 2, output="numpy", render_mode="rgb_array", width=64, height=48, time_limit=0.2)
    observation, _ = env.reset(seed=0)
    assert isinstance(observation, np.ndarray) and observation.dtype == np.float32
    assert env.render()[0].shape == (48, 64, 3)
    results = env.evaluate(lambda o: torch.zeros(len(o), 28, device=o.device), episodes=2, video=tmp_path / "film.mp4")
    assert results["normalized_return"] > 0.9 and (tmp_path / "film.mp4").stat().st_size > 1000
    vec = to_sb3(env)
    vec.reset()
    for _ in range(6):
        observation, _, ended, infos = vec.step(np.zeros((2, 28), np.float32))
    assert ended.all() and infos[0]["TimeLimit.truncated"] and infos[0]["terminal_observation"].shape == observation[0].shape


def test_episodes_are_of_one_distribution(device):
    """Return, length and tracking error of 64 noisy episodes on each back end. (Of a trained policy: scripts/gpu_report.py.)"""
    found = []
    for seed, (on, backend) in enumerate(((device, "warp"), ("cpu", "mujoco"))):
        env = make(on, 64, backend=backend, autoreset_mode="DISABLED", time_limit=1.5)
        generator = torch.Generator().manual_seed(seed)
        found.append(parity.episodes(env, lambda o, g=generator: 0.5 * torch.randn(64, 28, generator=g), seed))
    assert all(figure.met for figure in parity.compare(*found).figures)
    assert np.std(found[0]["length"]) > 1  # some fell, at different times


def test_an_agent_learns_in_it(device):
    env = make(device, 16, time_limit=0.2)
    agent = PPO(env, n_steps=8, batch_size=64, n_epochs=1)
    agent.learn(16 * 16)
    assert agent.num_timesteps >= 256 and agent.device.type == device


@pytest.mark.gpu
def test_an_agent_acts_without_waiting():
    agent = PPO(make("cuda", 64, time_limit=0.2), n_steps=16, batch_size=512, n_epochs=1)
    agent.learn(64 * 16)
    model, observation = agent.model, agent.observation
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad():
            for _ in range(8):
                action = model.policy(model.features(observation)).sample(agent.generator)
                step = agent.batch.step(agent._to_environment(action))
                agent.statistics.add_info(step)
                observation = step.observation
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_the_environment_is_made_on_a_gpu_by_its_device_alone():
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=8192, device="cuda", output="torch")
    observation, _ = envs.reset(seed=0)
    assert observation.is_cuda and observation.shape[0] == 8192
    for _ in range(40):
        observation, *_ = envs.step(torch.zeros(8192, 28, device="cuda"))
    assert observation.isfinite().all()
