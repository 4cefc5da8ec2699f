"""Worlds with other bodies than their neighbours move as if each were simulated by its own model."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from mprl.motion import SmplCharacter
from mprl.simulation.cpu import CpuSimulation, watch_contacts
from mprl.simulation.variants import set_variants

BETAS = np.array([[1.0, *[0.0] * 9], [-1.0, *[0.5] * 9], [0.0, -1.0, *[0.0] * 8]])
WORLDS, CONTROL_STEPS = 6, 15


@pytest.fixture(scope="module")
def models() -> list[mujoco.MjModel]:
    """The mean body, and three others."""
    mean = SmplCharacter()
    return [watch_contacts(character.spec()).compile() for character in (mean, *mean.others(BETAS))]


def rollout(simulation, height: torch.Tensor) -> torch.Tensor:
    """Dropped from 5 cm above where each stands, driven by random targets; (steps, worlds, nq)."""
    worlds, generator = simulation.num_worlds, torch.Generator().manual_seed(0)
    qpos = torch.as_tensor(simulation.model.qpos0).repeat(worlds, 1)
    qpos[:, :2], qpos[:, 2] = 0.0, height + 0.05
    simulation.reset(torch.ones(worlds, dtype=torch.bool), qpos, torch.zeros(worlds, simulation.model.nv, dtype=torch.float64))
    path = []
    for _ in range(CONTROL_STEPS):
        target = 0.2 * torch.randn(WORLDS, simulation.model.nu, generator=generator, dtype=torch.float64)
        simulation.bind("ctrl").copy_(target[:worlds])
        simulation.step(4)
        path.append(simulation.bind("qpos").double().cpu().clone())
    return torch.stack(path)


def test_each_world_moves_as_its_own_model_does(models):
    mean, *others = models
    which = torch.arange(WORLDS) % 3
    together = CpuSimulation(mean, WORLDS, 2)
    changed = set_variants(together, others, which)
    assert {"body_pos", "body_mass", "body_inertia", "geom_size", "geom_pos", "actuator_gainprm", "dof_damping"} <= set(changed)
    height = torch.tensor([others[i].qpos0[2] for i in which])
    path = rollout(together, height)
    for number, model in enumerate(others):
        alone = rollout(CpuSimulation(model, WORLDS, 1), height[number])
        mine = torch.arange(number, WORLDS, 3)
        torch.testing.assert_close(path[:, mine], alone[:, mine], rtol=0, atol=1e-9)


def test_what_mujoco_derives_follows(models):
    """Constants that MuJoCo computes when it compiles are those of each world's own model."""
    mean, *others = models
    simulation = CpuSimulation(mean, 3, 1)
    set_variants(simulation, others, torch.arange(3))
    for field in ("body_subtreemass", "body_invweight0", "dof_invweight0", "geom_rbound"):
        derived = simulation._batch.expanded(field)
        assert derived is not None
        for world, model in enumerate(others):
            np.testing.assert_allclose(derived[world], getattr(model, field), rtol=1e-9, err_msg=field)


def test_equal_models_change_nothing(models):
    simulation = CpuSimulation(models[0], 2, 1)
    assert set_variants(simulation, [models[0]], torch.zeros(2, dtype=torch.long)) == ()


def test_both_back_ends_agree(models, device):
    """As far as float32 lets contacts agree: half a second in the air and on the floor, to a centimetre."""
    pytest.importorskip("mujoco_warp")
    from mprl.simulation.gpu import WarpSimulation

    mean, *others = models
    which = torch.arange(WORLDS) % 3
    height = torch.tensor([others[i].qpos0[2] for i in which])
    cpu, warp = CpuSimulation(mean, WORLDS, 1), WarpSimulation(mean, WORLDS, device)
    for simulation in (cpu, warp):
        set_variants(simulation, others, which)
    expected, found = rollout(cpu, height), rollout(warp, height)
    torch.testing.assert_close(found[:3], expected[:3], rtol=0, atol=1e-4)  # in the air
    torch.testing.assert_close(found[..., :3], expected[..., :3], rtol=0, atol=0.01)
    assert not warp.check()["diverged"]
    masses = warp.expand("body_subtreemass")[:, 1].cpu()
    torch.testing.assert_close(masses.double(), torch.tensor([others[i].body_mass.sum() for i in which]), rtol=1e-5, atol=0)
