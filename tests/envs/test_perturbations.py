"""Late commands and pushes: what they do in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.perturbations import Latency, Pushes, Pushing, pushing_of
from mprl.errors import MprlError

STEP = 1 / 30


def delayed(seconds: float, targets: list[float], first: list[bool] | None = None) -> list[float]:
    latency = Latency((seconds, seconds), STEP, torch.zeros(1, 1))
    first = first or [True] + [False] * (len(targets) - 1)
    return [float(latency.delay(torch.tensor([[target]]), torch.tensor([begins]))) for target, begins in zip(targets, first, strict=True)]


def test_a_target_that_moves_evenly_is_late_by_exactly_the_latency():
    ramp = [float(t) for t in range(8)]  # one unit in each control step
    assert delayed(2.4 * STEP, ramp)[3:] == pytest.approx([t - 2.4 for t in ramp[3:]], abs=1e-5)
    assert delayed(2 * STEP, ramp)[3:] == pytest.approx([t - 2 for t in ramp[3:]], abs=1e-5)


def test_before_the_first_command_nothing_else_was_asked_for():
    assert delayed(2 * STEP, [5.0, 6.0, 7.0, 8.0]) == pytest.approx([5, 5, 5, 6])
    # a new episode does not hear the old one's commands
    assert delayed(2 * STEP, [5.0, 6.0, 7.0, 1.0, 2.0], [True, False, False, True, False]) == pytest.approx([5, 5, 5, 1, 1])


def test_latencies_are_each_worlds_own_and_uniform():
    latency = Latency((0.01, 0.05), STEP, torch.zeros(4000, 1))
    latency.draw(torch.Generator().manual_seed(0))
    seconds = latency.steps * STEP
    assert seconds.min() >= 0.01 and seconds.max() <= 0.05 and seconds.mean() == pytest.approx(0.03, abs=5e-4)


def test_pushes_come_last_and_are_as_strong_as_asked_for():
    pushes = Pushes(Pushing(force=(50.0, 50.0), seconds=(0.1, 0.1), every=(0.5, 0.5)), 64, STEP, torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    pushes.reset(torch.ones(64, dtype=torch.bool), random)
    strength = torch.stack([pushes.advance(random).norm(dim=1) for _ in range(60)])
    pushed = [15, 16, 17, 30, 31, 32, 45, 46, 47]  # 3 of every 15 control steps, the first after half a second
    expected = torch.zeros(60)
    expected[pushed] = 50.0
    assert torch.allclose(strength, expected.unsqueeze(1).expand(-1, 64), atol=1e-3)


def test_pushes_are_horizontal_and_go_everywhere_alike():
    pushes = Pushes(Pushing(force=(0.0, 100.0), seconds=(0.1, 0.1), every=(0.1, 0.1)), 20_000, STEP, torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    pushes.reset(torch.ones(20_000, dtype=torch.bool), random)
    force = [pushes.advance(random) for _ in range(6)][-1]
    assert (force[:, 2] == 0).all() and force[:, :2].mean(dim=0).abs().max() < 1.5
    assert force.norm(dim=1).mean() == pytest.approx(50, abs=1)
    pushes.reset(torch.ones(20_000, dtype=torch.bool), random)
    assert not pushes.advance(random).any()  # an episode begins unpushed


def env(num_envs: int = 2, **settings: Any) -> DeepMimicVectorEnv:
    settings = {"output": "torch", "autoreset_mode": "DISABLED", "num_threads": 1, "contact_termination": False, **settings}
    return DeepMimicVectorEnv(num_envs, "walk", **settings)


def test_a_push_changes_the_momentum_by_force_times_time():
    """In the air the centre of mass gains F t / m beside falling: 300 N for .1 s on 45 kg are 2/3 m/s, and the floor is far below."""
    made = env(pushes={"force": 300, "seconds": 0.1, "every": 0.1}, tracking_termination=None)
    made.reset(seed=0)
    qpos, qvel = made._qpos.clone(), torch.zeros_like(made._qvel)
    qpos[:, 2] += 30.0
    made.simulation.reset(torch.ones(2, dtype=torch.bool), qpos, qvel)
    made._pushes.wait.zero_()
    for _ in range(3):
        made.step(torch.zeros(2, 28))
    mass = float(made.model.body_mass.sum())
    assert made._now.com_velocity[:, :2].norm(dim=1).tolist() == pytest.approx([300 * 0.1 / mass] * 2, rel=5e-3)


def test_a_command_that_is_late_moves_the_body_late():
    """With a latency of one control step each command acts a step later."""
    late, prompt = (env(1, action_mode="absolute", latency=seconds) for seconds in (STEP, 0.0))
    actions = 0.3 * torch.randn(5, 1, 28, generator=torch.Generator().manual_seed(0))
    for made, order in ((late, [0, 1, 2, 3]), (prompt, [0, 0, 1, 2])):
        made.reset(seed=0, options={"phase": 0.0})
        for at in order:
            made.step(actions[at])
    assert torch.equal(late._qpos, prompt._qpos)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"force": -5}, ["pushes: force", "-5"]),
        ({"force": (100, 50)}, ["pushes: force", "rising pair"]),
        ({"fore": 5}, ["fore", "did you mean 'force'"]),
        (7, ["pushes", "True or a dictionary"]),
    ],
)
def test_pushes_that_cannot_be_are_one_line(wanted, words):
    with pytest.raises(MprlError) as caught:
        pushing_of(wanted)
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("latency", "word"), [(-0.1, "-0.1"), ((0.1, 3.0), "0.5 s"), ((0.1, 0.2, 0.3), "pair"), ("x", "number")])
def test_a_latency_that_cannot_be_is_one_line(latency, word):
    with pytest.raises(MprlError, match=f"latency.*{word}"):
        DeepMimicVectorEnv(1, "walk", latency=latency)
