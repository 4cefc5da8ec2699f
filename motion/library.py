"""Many clips as flat tensors on one device, sampled for thousands of worlds at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import kinematics
from mprl.motion import rotations as rot
from mprl.motion.characters.character import Character
from mprl.motion.clip import MotionClip
from mprl.motion.contacts import label_contacts, lift_out_of_floor
from mprl.motion.dynamics import inverse_dynamics

# Hz; clips are laid out at the multiple of their own rate that reaches this. Each frame is then a row, and between neighbouring
# rows linear interpolation and slerp differ by less than float32 resolves, so sampling is two gathers and one blend.
GRID_RATE = 120.0


@dataclass(frozen=True)
class Reference:
    """What the character should be doing, for W worlds, in the world's frame (velocities in MuJoCo's conventions).

    Attributes:
        root_position: (W, 3) m. rotations: of the root and the ball joints, (W, 1 + balls, 4) wxyz. hinges: (W, hinges) rad.
        qvel: (W, nv); root linear in the world, angular velocities in the moving body.
        control: the pose as actuator targets, (W, nu): rotation vectors and angles, rad.
        feedforward: what PD controllers that damp the joints must aim at to follow the motion, (W, nu) rad:
            control + (kd x joint velocity + the torque that the motion asks for) / kp; see `motion/dynamics.py`.
        body_position: (W, B, 3) m. com: centre of mass, (W, 3) m. com_velocity: (W, 3) m/s.
        contacts: how much each foot bears on the floor, (W, feet) in [0, 1].
        order: where each entry of qpos stands in (root_position, rotations, hinges), (nq,).
    """

    root_position: Tensor
    rotations: Tensor
    hinges: Tensor
    qvel: Tensor
    control: Tensor
    feedforward: Tensor
    body_position: Tensor
    com: Tensor
    com_velocity: Tensor
    contacts: Tensor
    order: Tensor

    @property
    def qpos(self) -> Tensor:
        """As MuJoCo positions, (W, nq)."""
        return torch.cat((self.root_position, self.rotations.flatten(-2), self.hinges), dim=-1)[..., self.order]

    def moved(self, offset: Tensor) -> Reference:
        """The same motion elsewhere: `offset` (W, 3) m."""
        return replace(
            self,
            root_position=self.root_position + offset,
            body_position=self.body_position + offset.unsqueeze(-2),
            com=self.com + offset,
        )

    def steered(self, turn: Tensor, turning: Tensor, tempo: Tensor) -> Reference:
        """The same motion turned about the world's vertical axis, while it turns about its own root, and at another pace.

        Args:
            turn: yaw, (W,) rad.
            turning: how fast the yaw changes, about the root, (W,) rad/s; it shows in the velocities.
            tempo: how fast the motion is played, (W,), 1 for its own pace; all velocities are multiplied by it.
        """
        zero = torch.zeros_like(turn)
        yaw = rot.about_vertical(turn)
        spin = torch.stack((zero, zero, turning), dim=-1)
        pace = tempo.unsqueeze(-1)
        root_rotation = rot.multiply(yaw, self.rotations[:, 0])
        linear, angular, joints = self.qvel.split((3, 3, self.qvel.shape[1] - 6), dim=-1)
        turned = rot.rotate(
            yaw.unsqueeze(1),
            torch.cat((torch.stack((self.root_position, linear, self.com, self.com_velocity), dim=1), self.body_position), 1),
        )
        root, linear, com, com_velocity = turned[:, :4].unbind(1)
        angular = angular * pace + rot.rotate(rot.conjugate(root_rotation), spin)
        return replace(
            self,
            root_position=root,
            rotations=torch.cat((root_rotation.unsqueeze(1), self.rotations[:, 1:]), dim=1),
            qvel=torch.cat((linear * pace, angular, joints * pace), dim=1),
            feedforward=self.control + (self.feedforward - self.control) * pace,
            body_position=turned[:, 4:],
            com=com,
            com_velocity=com_velocity * pace + torch.linalg.cross(spin, com - root),
        )


class MotionLibrary:
    """Clips of one character, laid out for O(1) batched sampling.

    Args:
        clips: at least one, with the character's joints.
        character: whose motion it is.
        device, dtype: of the tensors.
        velocity_cutoff: velocities are finite differences low-passed at this many Hz (second-order Butterworth, forward and
            backward), as in DeepMimic's release, whose default is 6; None leaves them alone.
        correct_floor: raise clips where they sink into the floor (`contacts.lift_out_of_floor`).

    Attributes:
        clips: the clips as they are laid out (raised and labelled).
        durations: (C,) s. cyclic: (C,) bool. displacement: root displacement of a cycle, (C, 3) m.
    """

    def __init__(
        self,
        clips: Sequence[MotionClip],
        character: Character,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        velocity_cutoff: float | None = 6.0,
        correct_floor: bool = True,
    ) -> None:
        if not clips:
            raise SettingError("a motion library needs at least one clip")
        for clip in clips:
            character.check(clip)
        self.character = character
        self.clips: Sequence[MotionClip] = [prepared(clip, character, correct_floor) for clip in clips]
        tables = [lay_out(clip, character, velocity_cutoff) for clip in self.clips]
        as_tensor: dict[str, Any] = {"device": device, "dtype": dtype}
        self._rows = torch.cat(tables).to(**as_tensor)
        counts = torch.tensor([len(t) for t in tables])
        self._first = (counts.cumsum(0) - counts).to(device)
        self._steps = (counts - 1).to(**as_tensor)
        self.durations = torch.tensor([clip.duration for clip in self.clips], **as_tensor)
        self.cyclic = torch.tensor([clip.loop == "wrap" for clip in self.clips], device=device)
        self.displacement = torch.tensor(np.stack([clip.cycle_displacement for clip in self.clips]), **as_tensor)
        self._set_columns(device)
        _, _, _, _, control, feedforward, *_ = self._rows.split(self._sizes, dim=-1)
        self._target_rows = torch.cat((self._rows[:, :7], control, feedforward), dim=1)

    def _set_columns(self, device: torch.device | str) -> None:
        """What stands where in a row."""
        character, model = self.character, self.character.model
        pose = np.concatenate(([0, 1, 2], character.ball_qpos.flatten(), character.hinge_qpos))
        self._order = torch.as_tensor(np.argsort(pose), device=device)
        self._sizes = (3, character.ball_qpos.size, len(character.hinge_qpos), model.nv, model.nu, model.nu, 3 * (model.nbody - 1), 3, 3,
                       len(character.feet))  # fmt: skip

    def __len__(self) -> int:
        return len(self.clips)

    def phase(self, clip_ids: Tensor, times: Tensor) -> Tensor:
        """How far through its clip each world is, (...) in [0, 1); a clip that does not loop stays at its end, 1."""
        progress = times / self.durations[clip_ids]
        return torch.where(self.cyclic[clip_ids], progress - progress.floor(), progress.clamp(0.0, 1.0))

    def cycle(self, clip_ids: Tensor, times: Tensor) -> Tensor:
        """How many cycles are completed, (...) int64; 0 for clips that do not loop."""
        return torch.where(self.cyclic[clip_ids], (times / self.durations[clip_ids]).floor(), 0.0).long()

    def sample(self, clip_ids: Tensor, times: Tensor) -> Reference:
        """The reference of each world: clip ids (W,) int64 and times (W,) s -> W rows."""
        return self._reference(*self._blend(self._rows, clip_ids, times))

    def sample_targets(self, clip_ids: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Only what is aimed at: root position (..., 3), root quaternion (..., 4), control and feedforward (..., nu) each."""
        row, displacement = self._blend(self._target_rows, clip_ids, times)
        root, quaternion, control, feedforward = row.split((3, 4, self.character.model.nu, self.character.model.nu), dim=-1)
        return root + displacement, rot.unit(quaternion), control, feedforward

    def place(self, clip_ids: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The row before each time, how far the time is from it to the next row, and the cycles completed; all are like `times`."""
        progress = times / self.durations[clip_ids]
        cycles = torch.where(self.cyclic[clip_ids], progress.floor(), 0.0)
        steps = self._steps[clip_ids]
        at = (progress - cycles).clamp(0.0, 1.0) * steps
        before = at.floor().clamp(max=steps - 1)
        return self._first[clip_ids] + before.long(), at - before, cycles

    def all_rows(self) -> Reference:
        """Every row of every clip, one after the other: a cycle's first time through."""
        return self._reference(self._rows, torch.zeros(1, 3, device=self._rows.device, dtype=self._rows.dtype))

    def _reference(self, row: Tensor, displacement: Tensor) -> Reference:
        root, rotations, hinges, qvel, control, feedforward, body, com, com_velocity, contacts = row.split(self._sizes, dim=-1)
        rotations = rot.unit(rotations.unflatten(-1, (-1, 4)))
        body = body.unflatten(-1, (-1, 3)) + displacement.unsqueeze(-2)
        root, com = root + displacement, com + displacement
        return Reference(root, rotations, hinges, qvel, control, feedforward, body, com, com_velocity, contacts, self._order)

    def _blend(self, rows: Tensor, clip_ids: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        index, share, cycles = self.place(clip_ids, times)
        return between(rows, index, share), cycles.unsqueeze(-1) * self.displacement[clip_ids]


def between(rows: Tensor, index: Tensor, blend: Tensor) -> Tensor:
    """Rows (N, F) linearly interpolated from each of `index` (...) to the next one, (..., F).

    Neighbouring rows are read as one, by `index_select`: a tenth of the time of indexing twice.
    """
    size = rows.shape[1]
    pairs = rows.as_strided((len(rows) - 1, 2 * size), (size, 1)).index_select(0, index.reshape(-1))
    return torch.lerp(pairs[:, :size], pairs[:, size:], blend.reshape(-1, 1)).unflatten(0, index.shape)


def prepared(clip: MotionClip, character: Character, correct_floor: bool) -> MotionClip:
    """A clip as it is laid out: raised where it sinks into the floor, if wanted, and its contacts labelled."""
    clip = lift_out_of_floor(clip, character) if correct_floor else clip
    labelled = clip.contacts is not None and clip.contacts.shape[1] == len(character.feet)
    return clip if labelled else label_contacts(clip, character)


def grid_steps(num_frames: int, frame_rate: float) -> int:
    """How many steps a clip is laid out in; there is one more row."""
    return (num_frames - 1) * max(1, math.ceil(GRID_RATE / frame_rate - 0.01))


def lay_out(clip: MotionClip, character: Character, velocity_cutoff: float | None) -> Tensor:
    """One clip as evenly spaced rows, (N + 1, F) float64; every frame is a row."""
    steps = grid_steps(clip.num_frames, clip.frame_rate)
    at = torch.linspace(0.0, clip.num_frames - 1, steps + 1, dtype=torch.float64)
    before = at.floor().clamp(max=clip.num_frames - 2).long()
    blend = at - before
    root, rotations = torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy())
    fine_root = torch.lerp(root[before], root[before + 1], blend.unsqueeze(-1))
    fine_rotations = rot.slerp(rotations[before], rotations[before + 1], blend.unsqueeze(-1))
    qpos = character.to_qpos(MotionClip(clip.name, clip.skeleton, GRID_RATE, fine_root.numpy(), fine_rotations.numpy()))
    velocity = frame_velocities(clip, character, velocity_cutoff)
    qvel = torch.lerp(velocity[before], velocity[before + 1], blend.unsqueeze(-1))
    body, com, com_velocity = body_motion(character.model, qpos.numpy(), qvel.numpy())
    contacts = torch.tensor(clip.contacts, dtype=torch.float64)
    contacts = torch.lerp(contacts[before], contacts[before + 1], blend.unsqueeze(-1))
    control = character.to_control(qpos)
    # what the joints' damping takes from the motion, and what its acceleration, gravity and the floor ask of the motors
    frames = character.to_qpos(clip)
    closed = _is_closed(clip, frames, character)
    acceleration = _low_passed(kinematics.linear_velocity(velocity, clip.frame_rate, closed), clip.frame_rate, velocity_cutoff, closed)
    torque = inverse_dynamics(
        character, frames.numpy(), velocity.numpy(), acceleration.numpy(), np.asarray(clip.contacts, dtype=np.float64)
    )
    along = character.along_actuators
    lead = torch.as_tensor(character.damping_lag * along(velocity.numpy()) + along(torque) / character.kp)
    feedforward = control + torch.lerp(lead[before], lead[before + 1], blend.unsqueeze(-1))
    balls, hinges = torch.as_tensor(character.ball_qpos.flatten()), torch.as_tensor(character.hinge_qpos)
    pose = torch.cat((qpos[:, :3], qpos[:, balls], qpos[:, hinges]), dim=1)
    return torch.cat((pose, qvel, control, feedforward, body.flatten(1), com, com_velocity, contacts), dim=1)


def frame_velocities(clip: MotionClip, character: Character, cutoff: float | None = 6.0) -> Tensor:
    """MuJoCo velocities at each frame, (T, nv) float64: central differences, low-passed at `cutoff` Hz."""
    model = character.model
    qpos = character.to_qpos(clip)
    closed = _is_closed(clip, qpos, character)
    velocity = qpos.new_zeros(clip.num_frames, model.nv)
    velocity[:, :3] = kinematics.linear_velocity(qpos[:, :3], clip.frame_rate, closed)
    starts = [3, *(int(model.joint(name).dofadr[0]) for name in character.ball_joints)]
    for where, start in zip(character.ball_qpos, starts, strict=True):
        velocity[:, start : start + 3] = kinematics.angular_velocity(qpos[:, where], clip.frame_rate, closed)
    for name, where in zip(character.hinge_joints, character.hinge_qpos, strict=True):
        dof = int(model.joint(name).dofadr[0])
        velocity[:, dof] = kinematics.linear_velocity(qpos[:, where], clip.frame_rate, closed)
    return _low_passed(velocity, clip.frame_rate, cutoff, closed)


def _low_passed(velocity: Tensor, frame_rate: float, cutoff: float | None, closed: bool) -> Tensor:
    """Second-order Butterworth, forward and backward, along dimension 0; a closed cycle as the endless motion that it is."""
    if cutoff is None or cutoff >= 0.5 * frame_rate:
        return velocity
    from scipy.signal import butter, sosfiltfilt  # a second to import

    low_pass = butter(2, cutoff, fs=frame_rate, output="sos")
    values = velocity.numpy()
    if not closed:
        return torch.as_tensor(sosfiltfilt(low_pass, values, axis=0, padlen=min(9, len(values) - 1)).copy())
    period = len(values) - 1
    smooth = sosfiltfilt(low_pass, np.concatenate([values[:-1]] * 3), axis=0)[period : 2 * period]
    return torch.as_tensor(np.concatenate((smooth, smooth[:1])))


def _is_closed(clip: MotionClip, qpos: Tensor, character: Character, tolerance: float = 0.02) -> bool:
    """Whether a cycle's last pose is its first one, to `tolerance` rad. Recorded cycles often jump at the seam."""
    if clip.loop == "none":
        return False
    where = torch.as_tensor(character.ball_qpos)
    gap = rot.angle(qpos[0, where], qpos[-1, where]).max()
    hinges = torch.as_tensor(character.hinge_qpos)
    if len(hinges):
        gap = torch.maximum(gap, (qpos[0, hinges] - qpos[-1, hinges]).abs().max())
    return bool(gap < tolerance)


def body_motion(model: mujoco.MjModel, qpos: np.ndarray, qvel: np.ndarray, chunk: int = 2048) -> tuple[Tensor, Tensor, Tensor]:
    """Body positions (N, B, 3), centre of mass (N, 3) and its velocity (N, 3), computed by MuJoCo itself."""
    mass = model.body_mass[1:, None] / model.body_mass[1:].sum()
    parts = []
    for start in range(0, len(qpos), chunk):
        rows = slice(start, start + chunk)
        batch = Batch(model, len(qpos[rows]))
        batch.bind("qpos")[:], batch.bind("qvel")[:] = qpos[rows], qvel[rows]
        position, inertial, com, cvel = (batch.bind(name) for name in ("xpos", "xipos", "subtree_com", "cvel"))
        batch.forward(stage=int(mujoco.mjtStage.mjSTAGE_VEL))
        # cvel is (angular, linear) at the tree's centre of mass
        arm = inertial[:, 1:] - com[:, 1:2]
        velocity = ((cvel[:, 1:, 3:] + np.cross(cvel[:, 1:, :3], arm)) * mass).sum(axis=1)
        parts.append((position[:, 1:].copy(), com[:, 1].copy(), velocity))
    return tuple(torch.as_tensor(np.concatenate(column)) for column in zip(*parts, strict=True))  # type: ignore[return-value]
