"""States that ask most of a simulation's buffers: bodies thrown onto the floor in random poses, and come to rest."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
from mujoco.batch import Batch

SECONDS = 1.5
MOMENTS = 6
DROP = 0.3  # m above the model's own height
BEND = 0.5  # rad, standard deviation of a joint


def worst_states(model: mujoco.MjModel, worlds: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Poses at several moments of a fall from random poses, (worlds, nq) each; half of the characters keep theirs, half go back to rest.

    Args:
        model: any; joints are bent at random, free ones turned every way and lifted.
        worlds: how many fall.
    """
    random = np.random.default_rng(seed)
    batch = Batch(model, worlds, 1)
    qpos = batch.bind("qpos")
    for joint in range(model.njnt):
        kind, at = model.jnt_type[joint], model.jnt_qposadr[joint]
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            qpos[:, at + 2] += DROP
            qpos[:, at + 3 : at + 7] = _unit(random.normal(size=(worlds, 4)))
        elif kind == mujoco.mjtJoint.mjJNT_BALL:
            qpos[:, at : at + 4] = _unit(np.concatenate((np.ones((worlds, 1)), 0.5 * BEND * random.normal(size=(worlds, 3))), axis=1))
        elif model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
            qpos[:, at] = random.uniform(low, high, size=worlds)
        else:
            qpos[:, at] += BEND * random.normal(size=worlds)
    length = batch.bind("actuator_length")
    batch.forward(stage=int(mujoco.mjtStage.mjSTAGE_VEL))
    if model.nu == length.shape[1]:
        batch.bind("ctrl")[::2] = length[::2]
    for _ in range(MOMENTS):
        batch.step(nstep=max(1, round(SECONDS / MOMENTS / model.opt.timestep)))
        yield qpos.copy()


def _unit(quaternions: np.ndarray) -> np.ndarray:
    return quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
