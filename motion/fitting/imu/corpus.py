"""Motions to learn from: the clips we ship on the SMPL body, varied so that a few minutes become very many.

Played slower and faster and mirrored, the upper body of one with the legs of another, every joint turned a little otherwise in a way that
changes slowly, by bodies of all shapes. Headings need no variation: the network is told everything in the pelvis' frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mprl.motion import edit, inertial
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, from_smpl
from mprl.motion.body.smpl import SmplBody
from mprl.motion.clip import MotionClip
from mprl.motion.fitting.imu import pose, sensors, simulation
from mprl.motion.fitting.imu.network import FEET, RATE, SPACING, inputs_of, reference_numbers
from mprl.motion.fitting.imu.simulation import POOR, Faults

_UPPER = tuple(j for j, name in enumerate(JOINTS) if not any(part in name for part in ("pelvis", "hip", "knee", "ankle", "foot")))
# how far a joint is turned otherwise than in the clip, rad
_VARIED = {
    "hip": 0.3, "spine": 0.12, "knee": 0.08, "ankle": 0.15, "neck": 0.2, "head": 0.2, "collar": 0.1, "shoulder": 0.6, "elbow": 0.15,
    "pelvis": 0.15,
}  # fmt: skip
_BENT = {"knee": 0.35, "elbow": 0.6}  # about the axis about which they bend, y of ours for knees and z for elbows
_TWIST = 0.5  # of a forearm about itself
_SOLE_SPEED, _SOLE_HEIGHT = 0.4, 0.14  # m/s and m: of an ankle whose foot bears


def shipped() -> list[MotionClip]:
    """Our clips on the SMPL body."""
    from mprl.motion import SmplCharacter, load, motions
    from mprl.motion.retarget import retarget, target_of

    target = target_of(SmplCharacter())
    return [retarget(load(name), target) for name in motions()]


@dataclass(frozen=True)
class Corpus:
    """Many clips at `RATE`, one behind the other: rotations (N, 24, 4), root positions (N, 3); where each begins, and its frames."""

    rotations: Tensor
    root: Tensor
    start: Tensor
    frames: Tensor

    @classmethod
    def of(cls, clips: Sequence[MotionClip], least: float = 5.0) -> Corpus:
        """Clips of SMPL's joints and their mirror images; cycles go on for `least` seconds, and a T-pose comes before every other one."""
        parts = []
        for number, one in enumerate(both for clip in clips for both in (clip, edit.mirror(clip))):
            longer = simulation.unrolled(edit.resample(one, RATE), least)
            parts.append(simulation.with_t_pose(longer, 0.7, 0.8) if number % 4 < 2 else longer)
        frames = torch.tensor([part.num_frames for part in parts])
        rotations = torch.cat([rot.continuous(torch.as_tensor(part.rotations.copy())).float() for part in parts])
        root = torch.cat([torch.as_tensor(part.root_position.copy()).float() for part in parts])
        return cls(rotations, root, torch.cumsum(frames, 0) - frames, frames)

    def windows(self, count: int, frames: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pieces at .6 to 1.5 times their pace: rotations (count, frames, 24, 4) and root positions (count, frames, 3)."""
        which = torch.randint(len(self.frames), (count,), generator=random)
        pace = 0.6 + 0.9 * torch.rand(count, generator=random)
        last = (self.frames[which] - 1).float()
        pace = torch.minimum(pace, (last - 1e-3) / (frames - 1))
        begin = torch.rand(count, generator=random) * (last - pace * (frames - 1))
        at = begin[:, None] + pace[:, None] * torch.arange(frames)
        low = at.floor().long().clamp(max=(last[:, None] - 1).long())
        share = at - low
        low = low + self.start[which, None]
        a, b = self.rotations[low], self.rotations[low + 1]
        return rot.unit(torch.lerp(a, b, share[..., None, None])), torch.lerp(self.root[low], self.root[low + 1], share[..., None])


def _varied(rotations: Tensor, random: torch.Generator) -> Tensor:
    """Every joint turned otherwise by a constant and two slow waves, in some pieces much and in some not at all."""
    count, frames = rotations.shape[:2]
    size, bent = torch.zeros(len(JOINTS)), torch.zeros(len(JOINTS), 3)
    for joint, name in enumerate(JOINTS):
        size[joint] = next((value for part, value in _VARIED.items() if part in name), 0.0)
        if "knee" in name:
            bent[joint, 1] = _BENT["knee"]
        if "elbow" in name:
            bent[joint, 2], bent[joint, 1] = _BENT["elbow"], _TWIST  # the arm lies along y at rest
    spread = torch.maximum(size[:, None].expand(-1, 3), bent)
    much = torch.rand(count, 1, 1, 1, generator=random) * (torch.rand(count, 1, 1, 1, generator=random) < 0.85)
    time = torch.arange(frames)[None, :, None, None] / RATE

    def normal() -> Tensor:
        return torch.randn(count, 1, len(JOINTS), 3, generator=random)

    total = 0.8 * normal()
    for _ in range(2):
        speed = 2 * math.pi * (0.2 + 1.0 * torch.rand(count, 1, len(JOINTS), 1, generator=random))
        phase = 2 * math.pi * torch.rand(count, 1, len(JOINTS), 3, generator=random)
        total = total + 0.5 * normal() * torch.sin(speed * time + phase)
    return rot.multiply(rotations, rot.from_rotation_vector(much * spread * total))


def motions(corpus: Corpus, count: int, frames: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Varied pieces: rotations (count, frames, 24, 4) and root positions (count, frames, 3)."""
    rotations, root = corpus.windows(count, frames, random)
    others, _ = corpus.windows(count, frames, random)
    swap = torch.rand(count, 1, 1, 1, generator=random) < 0.4
    upper = list(_UPPER)
    rotations[:, :, upper] = torch.where(swap, others[:, :, upper], rotations[:, :, upper])
    rotations = _varied(rotations, random)
    rotations[:, :, list(pose.FOLLOW)] = rotations.new_tensor([1.0, 0.0, 0.0, 0.0])
    return rotations, root


def samples(corpus: Corpus, count: int, frames: int, random: torch.Generator, body: SmplBody, faults: Faults = POOR) -> dict[str, Tensor]:
    """A batch for `ImuNetwork.loss`: "input" (count, frames, `INPUTS`), "joints", "bones", "contact", "velocity".

    Args:
        corpus: what is varied.
        count, frames: how many pieces of how many frames.
        random: of all that is drawn.
        body: whose shapes.
        faults: the worst that the sensors have; each piece has something between none and this.
    """
    longer = frames + 2 * SPACING  # the ends' accelerations lack a neighbour
    rotations, root = motions(corpus, count, longer, random)
    rest = from_smpl(body.rest_joints(torch.randn(count, body.num_betas, generator=random))).to(rotations)
    leg = (rest[:, 1, 2] - rest[:, 7, 2]) / float(from_smpl(body.rest_joints())[0, [1, 7], 2].diff().abs())

    world = pose.worlds(pose.matrices(rotations))
    joints = pose.positions(world, rest[:, None])
    root = root * leg[:, None, None]
    placed = joints + root[:, :, None]

    worst = torch.rand(count, generator=random)
    sensed, at = world[:, :, sensors.bones()], placed[:, :, sensors.bones()]
    place = sensors.places(rest) + worst[:, None, None] * faults.misplacement * torch.randn(count, 6, 3, generator=random)
    worn_at = at + (sensed @ place[:, None, :, :, None]).squeeze(-1)
    acceleration = inertial.second_difference(worn_at.transpose(0, 1), RATE, SPACING).transpose(0, 1)
    # white noise is averaged down to this by the triangle (the sum of its squared weights is 2/3n)
    noise = faults.accelerometer_noise * math.sqrt(2 / (3 * SPACING)) + faults.accelerometer_drift
    acceleration = acceleration + worst[:, None, None, None] * noise * torch.randn(acceleration.shape, generator=random)
    turn = faults.calibration_error * torch.randn(count, 1, 6, 3, generator=random)
    turn = worst[:, None, None, None] * (turn + faults.orientation_noise * torch.randn(count, longer, 6, 3, generator=random))
    measured = sensed @ pose.matrices(rot.from_rotation_vector(turn))
    drift = worst[:, None, None] * 3.0 * faults.heading_drift * torch.randn(count, 1, 6, generator=random)
    measured = pose.matrices(rot.about_vertical(drift)) @ measured

    worn = torch.rand(count, 6, generator=random) > 0.3 * (torch.rand(count, 1, generator=random) < 0.4)
    worn[:, sensors.NAMES.index("pelvis")] |= ~worn.any(dim=1)
    inside = slice(SPACING, longer - SPACING)
    shown = worn[:, None].expand(-1, frames, -1)
    first = reference_numbers(shown)
    frame = world[:, inside, sensors.bones()].gather(2, first[..., None, None, None].expand(-1, -1, 1, 3, 3)).squeeze(2)
    back = frame.transpose(-1, -2)[:, :, None]
    velocity = (root[:, SPACING + 1 : longer - SPACING + 1] - root[:, SPACING - 1 : longer - SPACING - 1]) * (0.5 * RATE)
    feet = placed[:, :, list(FEET)]
    speed = (feet[:, SPACING + 1 : longer - SPACING + 1] - feet[:, SPACING - 1 : longer - SPACING - 1]).norm(dim=-1) * (0.5 * RATE)
    contact = (speed < _SOLE_SPEED) & (feet[:, inside, :, 2] < _SOLE_HEIGHT)
    return {
        "input": inputs_of(measured[:, inside], acceleration[:, inside], shown, first),
        "joints": (back @ joints[:, inside, 1:, :, None]).squeeze(-1),
        "bones": pose.six_d(back @ world[:, inside, list(pose.PREDICTED)]),
        "contact": contact.float(),
        "velocity": (back[:, :, 0] @ velocity[..., None]).squeeze(-1),
    }


def batches(corpus: Corpus, count: int, size: int, frames: int, body: SmplBody) -> Callable[[torch.Generator], Iterator[dict[str, Tensor]]]:
    """As the trainer takes them: `count` batches an epoch of `size` pieces of `frames` frames."""
    return lambda random: (samples(corpus, size, frames, random, body) for _ in range(count))
