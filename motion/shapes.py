"""One library's motions on bodies of other shapes, without a library for each.

Bodies of different shape that move alike have the same rotations; where their joints and centres of mass then are is linear in the
lengths of their bones. So the library keeps what every body's frames do, and each world adds its own lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.characters.character import Character
from mprl.motion.contacts import body_clearance
from mprl.motion.library import MotionLibrary, Reference, between

_AT_ONCE = 2048  # rows in MuJoCo's memory


class Shapes:
    """The reference of worlds whose characters have different shapes.

    The root's path is scaled with the length of the legs and moved up or down so that the body is as far above the floor as the
    library's own character is at that moment: feet that stand there stand here.

    Args:
        library: motions of one character.
        characters: S of the same bodies in the same tree, with only ball joints.
        which: the character of each world, (W,).
    """

    def __init__(self, library: MotionLibrary, characters: Sequence[Character], which: Tensor) -> None:
        self._library = library
        device, dtype = library.durations.device, library.durations.dtype
        as_tensor: dict[str, Any] = {"device": device, "dtype": dtype}
        model = library.character.model
        parents = torch.as_tensor(model.body_parentid[2:] - 1, dtype=torch.long)
        bodies = model.nbody - 1
        above = torch.zeros(bodies, bodies, dtype=torch.float64)  # whether a bone leads to a body
        for body in range(1, bodies):
            above[body] = above[parents[body - 1]]
            above[body, body] = 1.0
        bones = torch.as_tensor(np.stack([c.model.body_pos[2:] for c in characters]))  # (S, B - 1, 3)
        masses = torch.as_tensor(np.stack([c.model.body_mass[1:] for c in characters]))
        share = masses / masses.sum(dim=1, keepdim=True)
        # the centre of mass is the root plus, of each body, its turned arm: its own centre's and those of the bones that begin there
        arms = share.unsqueeze(-1) * torch.as_tensor(np.stack([c.model.body_ipos[1:] for c in characters]))
        arms.index_add_(1, parents, (share @ above)[:, 1:, None] * bones)
        scale = torch.tensor([leg_length(c) / leg_length(library.character) for c in characters])
        self._parents, self._above = parents.to(device), above[:, 1:].to(**as_tensor)
        self._bones, self._arms, self._scale = (value.to(**as_tensor)[which] for value in (bones, arms, scale))
        rows = library.all_rows()
        qpos = rows.qpos.double().cpu().numpy()
        self._frames = _frames(model, qpos, rows.qvel.double().cpu().numpy()).to(**as_tensor)
        own = body_clearance(library.character, qpos).min(axis=1)
        lifts = []
        for character, factor in zip(characters, scale.tolist(), strict=True):
            qpos_there = qpos.copy()
            qpos_there[:, :3] *= factor
            lifts.append(own - body_clearance(character, qpos_there).min(axis=1))
        self._lift = torch.as_tensor(np.stack(lifts)).to(**as_tensor)  # (S, rows)
        self._which = which

    def fit(self, reference: Reference, clip_ids: Tensor, times: Tensor, worlds: slice | Tensor) -> Reference:
        """The library's reference of some worlds, on their own bodies."""
        row, share, _ = self._library.place(clip_ids, times)
        frames = between(self._frames, row, share)
        turned, spin = frames.split((4 * len(self._above), 3 * len(self._above)), dim=-1)
        turned, spin = rot.unit(turned.unflatten(-1, (-1, 4))), spin.unflatten(-1, (-1, 3))
        root = self.place(reference.root_position, clip_ids, times, worlds)
        bones = rot.rotate(turned[:, self._parents], self._bones[worlds])
        arms = rot.rotate(turned, self._arms[worlds])
        linear, rest = reference.qvel.split((3, reference.qvel.shape[1] - 3), dim=-1)
        linear = linear * self._scale[worlds].unsqueeze(-1)
        return replace(
            reference,
            root_position=root,
            qvel=torch.cat((linear, rest), dim=-1),
            body_position=root.unsqueeze(1) + self._above @ bones,
            com=root + arms.sum(dim=1),
            com_velocity=linear + torch.linalg.cross(spin, arms).sum(dim=1),
        )

    def place(self, root: Tensor, clip_ids: Tensor, times: Tensor, worlds: slice | Tensor) -> Tensor:
        """The library's root positions (W, ..., 3) of some worlds as those of their own bodies; ids and times are (W, ...)."""
        which, scale = (value[worlds].view(-1, *[1] * (clip_ids.ndim - 1)) for value in (self._which, self._scale))
        row, share, _ = self._library.place(clip_ids, times)
        lift = torch.lerp(self._lift[which, row], self._lift[which, row + 1], share)
        scaled = root * scale.unsqueeze(-1)
        return torch.cat((scaled[..., :2], scaled[..., 2:] + lift.unsqueeze(-1)), dim=-1)


def leg_length(character: Character) -> float:
    """From the root to the furthest foot along the bones, m."""
    model = character.model
    lengths = []
    for foot in character.feet:
        body, length = int(model.body(foot).id), 0.0
        while body > 1:
            length += float(np.linalg.norm(model.body_pos[body]))
            body = int(model.body_parentid[body])
        lengths.append(length)
    return max(lengths)


def _frames(model: mujoco.MjModel, qpos: np.ndarray, qvel: np.ndarray) -> Tensor:
    """How each body is turned and turns in the world, (N, B x 4 + B x 3); quaternions do not jump from row to row."""
    quaternions, spins = [], []
    for start in range(0, len(qpos), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        batch = Batch(model, len(qpos[rows]))
        batch.bind("qpos")[:], batch.bind("qvel")[:] = qpos[rows], qvel[rows]
        turned, velocity = batch.bind("xquat"), batch.bind("cvel")
        batch.forward(stage=int(mujoco.mjtStage.mjSTAGE_VEL))
        quaternions.append(torch.as_tensor(turned[:, 1:].copy()))
        spins.append(torch.as_tensor(velocity[:, 1:, :3].copy()))
    return torch.cat((rot.continuous(torch.cat(quaternions)).flatten(1), torch.cat(spins).flatten(1)), dim=1)
