"""Worlds whose models differ in numbers: bodies of other sizes and masses, other strengths."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
import torch
from torch import Tensor

from mprl.simulation.interface import Simulation

# what a simulation reads of a model and may read anew in each world; all else follows from these (`Simulation.set_constants`)
_FIELDS = (
    "qpos0", "qpos_spring", "body_pos", "body_quat", "body_ipos", "body_iquat", "body_mass", "body_inertia", "jnt_pos", "jnt_axis",
    "jnt_range", "jnt_stiffness", "dof_armature", "dof_damping", "dof_frictionloss", "geom_size", "geom_pos", "geom_quat",
    "geom_friction", "actuator_gear", "actuator_gainprm", "actuator_biasprm", "actuator_forcerange", "actuator_ctrlrange",
)  # fmt: skip


def set_variants(simulation: Simulation, models: Sequence[mujoco.MjModel], which: Tensor) -> tuple[str, ...]:
    """Give each world the numbers of one of several models.

    Args:
        simulation: of a model with the same bodies, joints, shapes and actuators as all of `models`.
        models: compiled.
        which: the model of each world, (worlds,) int64.

    Returns:
        The fields that now differ between worlds.
    """
    changed = []
    for field in _FIELDS:
        mine = getattr(simulation.model, field)
        theirs = np.stack([getattr(model, field) for model in models])
        if (theirs != mine).any():
            values = simulation.expand(field)
            values.copy_(torch.as_tensor(theirs).to(values.device, values.dtype)[which.to(values.device)].view(values.shape))
            changed.append(field)
    if changed:
        simulation.set_constants()
    return tuple(changed)
