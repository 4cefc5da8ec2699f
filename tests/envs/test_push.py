"""The push test finds the force that fells, on characters that fall at known forces."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mprl.envs.imitation import push
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.errors import SettingError
from mprl.motion import load
from mprl.motion.edit import trim

# N that each direction stands; nothing fells to the left, and those to the right, the last worlds, fall without any push
STANDS = {"front": 137.4, "back": 24.0, "left": 1e9, "right": 0.0}


class Puppets(DeepMimicVectorEnv):
    """Perfect imitation, until a push is stronger than its direction stands."""

    pushed: list[torch.Tensor] = []  # noqa: RUF012

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        felled = torch.zeros(self.num_envs, dtype=torch.bool)
        everyone = torch.ones(self.num_envs, dtype=torch.bool)

        def step(substeps: int) -> None:
            reference = self.library.sample(self._clip, self.times + self.control_step)
            self.simulation.reset(everyone, reference.qpos.double(), reference.qvel.double())

        def apply_force(body: int, force: torch.Tensor) -> None:
            assert body == 1
            self.pushed.append(force.clone())
            for name, direction in push.DIRECTIONS.items():
                along = force[:, :2] @ torch.tensor(direction)
                felled.logical_or_(along > STANDS[name])
            felled[-(self.num_envs // 4) :] = True

        self.simulation.step = step  # type: ignore[method-assign]
        self.simulation.apply_force = apply_force  # type: ignore[method-assign]
        self.simulation.contacts = lambda bodies: felled.unsqueeze(1)  # type: ignore[method-assign]


def still(observation: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(observation), 28)


@pytest.fixture(scope="module")
def env() -> Puppets:
    return Puppets(1, trim(load("walk"), 0.0, 0.5), num_threads=1, pushes=True)


def test_the_greatest_force_survived_is_found_to_a_newton(env):
    Puppets.pushed.clear()
    found = env.evaluate_pushes(still, most=200)
    assert found["survived_n"] == {"front": 137, "back": 24, "left": 200, "right": None}
    assert found["clip"] == "walk" and found["paper_n"] == {"front": 240, "back": 240, "left": 300, "right": 300}
    # .2 s are six control steps, from half of the clip's half second on
    first = torch.stack(Puppets.pushed[:15]).norm(dim=-1).amax(dim=1)
    assert (first > 0).nonzero().flatten().tolist()[:6] == [8, 9, 10, 11, 12, 13]


def test_only_forces_below_the_first_that_fells_count():
    survives = torch.tensor([[True, True, False, True], [False, True, True, True], [True] * 4])
    forces = torch.tensor([0.0, 10.0, 20.0, 30.0]).expand(3, -1)
    assert push._last(survives, forces).tolist() == [10, -1, 30]


@pytest.mark.parametrize("most", [-5, 0, float("nan"), 1e6])
def test_a_force_that_cannot_be_is_one_line(env, most):
    with pytest.raises(SettingError, match="greatest push must be above 0 N"):
        env.evaluate_pushes(still, most=most)


def test_where_any_body_may_touch_the_ground_nothing_tells_a_fall():
    env = DeepMimicVectorEnv(1, trim(load("roll"), 0.0, 2.0), num_threads=1)
    with pytest.raises(SettingError, match="any body may touch the ground"):
        env.evaluate_pushes(still, most=30)
