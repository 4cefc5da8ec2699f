"""A recurrent network from the readings of six sensors to the pose, in the three stages of TransPose (Yi et al. 2021).

Sensors -> positions of the ends (wrists, ankles, head) -> positions of all joints -> rotations of the bones; and beside the last stage,
which feet bear and how fast the root moves. Everything is told in the frame of the pelvis' bone (where it has no sensor, of another bone
that has one), so that the network knows nothing of where the person heads. Sensors that are missing are zeros, and a flag says so.

Bidirectional by default, for recordings; a causal one knows only the past, and goes step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting.imu import pose
from mprl.motion.fitting.imu.sensors import NAMES, REFERENCE, bones
from mprl.perception.histories.recurrent import RecurrentHistory
from mprl.perception.network import Network

RATE, SPACING = 60.0, 4  # Hz and frames: as in DIP and TransPose
INPUTS = len(NAMES) * (6 + 3 + 1) + 3
ENDS = tuple(JOINTS.index(name) for name in ("left_wrist", "right_wrist", "left_ankle", "right_ankle", "head"))
FEET = (JOINTS.index("left_ankle"), JOINTS.index("right_ankle"))
_ACCELERATION = 10.0  # m/s², about the spread of accelerations


class Estimate(NamedTuple):
    """What the network makes of readings, (B, T, ...), in the frame of the reference's bone.

    Attributes:
        ends: relative to the root, (..., 5, 3) m. joints: (..., 23, 3) m.
        bones: of `pose.PREDICTED`, the first two columns of their rotation, (..., 18, 6); not yet orthonormal.
        contact: logits of the left and the right foot bearing, (..., 2). velocity: of the root, (..., 3) m/s.
    """

    ends: Tensor
    joints: Tensor
    bones: Tensor
    contact: Tensor
    velocity: Tensor


class _Stage(nn.Module):
    """A layer, recurrent layers in one direction or both, and a layer."""

    def __init__(self, inputs: int, outputs: int, hidden: int, causal: bool) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.past = RecurrentHistory((1, hidden), hidden)
        self.future = None if causal else RecurrentHistory((1, hidden), hidden)
        self.last = nn.Linear(hidden * (1 if causal else 2), outputs)

    def forward(self, values: Tensor) -> Tensor:
        values = self.first(values).relu()
        known = self.past.sequence(values)
        if self.future is not None:
            known = torch.cat((known, self.future.sequence(values.flip(1)).flip(1)), dim=-1)
        return self.last(known)

    def step(self, values: Tensor, state: Any) -> tuple[Tensor, Any]:
        known, state = self.past.step(self.first(values).relu(), state)
        return self.last(known), state


class ImuNetwork(Network):
    """See the module.

    Args:
        shape: (steps, `INPUTS`); fewer or more steps do as well.
        features: numbers of an estimate, `ImuNetwork.NUMBERS`.
        hidden: numbers of each layer's state.
        causal: knows the past only.
    """

    SIZES = (3 * len(ENDS), 3 * (len(JOINTS) - 1), 6 * len(pose.PREDICTED), 2, 3)
    NUMBERS = sum(SIZES)

    def __init__(self, shape: Sequence[int] = (60, INPUTS), features: int = NUMBERS, hidden: int = 64, causal: bool = False) -> None:
        super().__init__(shape, features)
        ends, joints, *others = self.SIZES
        self.causal = causal
        self.stages = nn.ModuleList(
            _Stage(INPUTS + before, outputs, hidden, causal) for before, outputs in ((0, ends), (ends, joints), (joints, sum(others)))
        )

    def sequence(self, inputs: Tensor) -> Estimate:
        """Of readings (B, T, `INPUTS`)."""
        return self._estimate([], lambda stage, values, _: stage(values), inputs)

    def forward(self, history: Tensor) -> Tensor:
        """At the last step, (B, `NUMBERS`)."""
        return torch.cat([part[:, -1].flatten(1) for part in self.sequence(history)], dim=-1)

    def initial_state(self, count: int) -> list[Any]:
        """Before the first step of so many causal histories."""
        return [stage.past.initial_state(count) for stage in self.stages]  # type: ignore[union-attr, operator]

    def step(self, inputs: Tensor, state: list[Any]) -> tuple[Estimate, list[Any]]:
        """After one more reading (B, `INPUTS`), of a causal network: the estimate, (B, ...), and the state to go on with."""
        after: list[Any] = []

        def one(stage: Any, values: Tensor, number: int) -> Tensor:
            output, now = stage.step(values, state[number])
            after.append(now)
            return output

        return self._estimate([], one, inputs), after

    def _estimate(self, outputs: list[Tensor], run: Any, inputs: Tensor) -> Estimate:
        for number, stage in enumerate(self.stages):
            outputs.append(run(stage, torch.cat((inputs, *outputs[-1:]), dim=-1), number))
        bones, contact, velocity = outputs[2].split(self.SIZES[2:], dim=-1)
        return Estimate(
            outputs[0].unflatten(-1, (-1, 3)), outputs[1].unflatten(-1, (-1, 3)), bones.unflatten(-1, (-1, 6)), contact, velocity
        )

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared errors of positions (dm²), of rotations, of the velocity, and the contacts' cross entropy."""
        found = self.sequence(batch["input"])
        ends = (found.ends - batch["joints"][..., [joint - 1 for joint in ENDS], :]).square().sum(-1).mean()
        joints = (found.joints - batch["joints"]).square().sum(-1).mean()
        bones = (found.bones - batch["bones"]).square().sum(-1).mean()
        contact = nn.functional.binary_cross_entropy_with_logits(found.contact, batch["contact"])
        velocity = (found.velocity - batch["velocity"]).square().sum(-1).mean()
        with torch.no_grad():
            turned = pose.from_six_d(found.bones) - pose.from_six_d(batch["bones"])
            angle = 2.0 * (turned.square().sum((-1, -2)).sqrt() / 8**0.5).clamp(max=1.0).asin()
        metrics = {"degrees": angle.mean().rad2deg(), "millimetres": 1e3 * (found.joints - batch["joints"]).norm(dim=-1).mean()}
        metrics |= {"contact": contact, "velocity": velocity.sqrt()}
        return 10.0 * (ends + joints) + bones + 0.2 * contact + 0.3 * velocity, metrics


def inputs_of(rotation: Tensor, acceleration: Tensor, worn: Tensor, first: Tensor) -> Tensor:
    """What the network reads.

    Args:
        rotation: of the six sensors' bones in the world, (..., 6, 3, 3); anything where none is worn.
        acceleration: (..., 6, 3) m/s², world.
        worn: (..., 6) bool. first: number of the reference, (...) long.

    Returns:
        (..., `INPUTS`).
    """
    at = first[..., None, None, None].expand(*rotation.shape[:-3], 1, 3, 3)
    frame = rotation.gather(-3, at).squeeze(-3)
    back = frame.transpose(-1, -2).unsqueeze(-3)
    keep = worn.unsqueeze(-1).to(rotation.dtype)
    turned = pose.six_d(back @ rotation) * keep
    felt = (back @ (acceleration / _ACCELERATION).unsqueeze(-1)).squeeze(-1) * keep
    return torch.cat((turned.flatten(-2), felt.flatten(-2), keep.squeeze(-1), frame[..., 2, :]), dim=-1)


def reference_numbers(worn: Tensor) -> Tensor:
    """Number of the reference among `NAMES`, of flags (..., 6)."""
    order = torch.tensor([NAMES.index(name) for name in REFERENCE], device=worn.device)
    return order[worn[..., order].to(torch.uint8).argmax(dim=-1)]


def full_rotations(found: Tensor, rotation: Tensor, worn: Tensor, first: Tensor) -> Tensor:
    """All bones in the world (..., 24, 3, 3): those with a sensor as it says, the others as the network does, hands and feet along.

    Args:
        found: `Estimate.bones`, (..., 18, 6).
        rotation, worn, first: see `inputs_of`.
    """
    at = first[..., None, None, None].expand(*rotation.shape[:-3], 1, 3, 3)
    frame = rotation.gather(-3, at)
    world = torch.empty(*found.shape[:-2], len(JOINTS), 3, 3, dtype=found.dtype, device=found.device)
    world[..., list(pose.PREDICTED), :, :] = frame @ pose.from_six_d(found)
    sensed = bones()
    world[..., sensed, :, :] = torch.where(worn[..., None, None], rotation, world[..., sensed, :, :])
    for joint in pose.FOLLOW:  # parents come before their children
        world[..., joint, :, :] = world[..., pose.PARENTS[joint], :, :]
    return world
