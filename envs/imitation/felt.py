"""The state as six inertial sensors tell it, step by step: the causal network of `motion/fitting/imu/` in the loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mprl.envs.imitation.layout import CONTROL_RATE, State
from mprl.envs.imitation.perceived import Bodies, PerceivedVectorEnv, check_parts, smpl_balls
from mprl.motion import kinematics
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, from_smpl
from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.character import Character
from mprl.motion.fitting.imu import pose
from mprl.motion.fitting.imu.fitter import shipped_network
from mprl.motion.fitting.imu.network import full_rotations, inputs_of, reference_numbers
from mprl.motion.fitting.imu.sensors import NAMES, bones, places_of

PARTS = ("pose", "rates", "speed", "place")  # joints' rotations, their velocities, the root's velocity, where the root is
_BEFORE = 1.0  # s of the motion that the network has felt when an episode begins
_FRESH = 0.3  # share of the last change in a joint's velocity; the rest is what it was: changes of an estimate are mostly noise
_HALF = 2  # control steps: accelerations are second differences over twice this time, as the network has learned (4/60 s)


class Felt:
    """Perceives the SMPL body by six sensors without faults.

    Orientations are of now, accelerations of two control steps ago, as they are differences over four; the network runs at 60 Hz, on
    readings halfway between. Joint velocities are the pose's change since the last step; the root's angular velocity is its gyroscope's,
    its height such that the lowest of ankles and toes stands, its path the network's velocity summed up. As nothing feels where one is, the
    path begins anew below the character where the reference does (`reference_sync`).

    Args:
        character: the SMPL body.
        tells: what is taken from the sensors, of `PARTS`; the rest is the truth.

    Raises:
        SettingError: another character. UnknownNameError: no such part.
    """

    def __init__(self, character: Character, tells: Sequence[str] = PARTS) -> None:
        check_parts(tells, PARTS)
        self._tells = tuple(tells)
        self._joints = smpl_balls(character, "six sensors")  # of the balls, among SMPL's joints
        self._bodies, self._network = Bodies(character), shipped_network(causal=True)
        self._skeleton = character.skeleton
        self._order = [character.body_names.index(joint) for joint in JOINTS]  # of SMPL's joints among the bodies
        self._at = [character.body_names.index(JOINTS[bone]) for bone in bones()]
        offsets = torch.as_tensor(self._skeleton.offsets.copy())[self._order].float()
        self._place = places_of(offsets, NAMES)
        body = SmplBody.default()
        sole = from_smpl(body().vertices)[0, :, 2].min() - from_smpl(body.rest_joints())[0, 0, 2]
        self._feet = [character.body_names.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("ankle", "foot")]
        upright = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, len(JOINTS), 4)
        self._above = self._bodies(torch.zeros(1, 3), upright, torch.zeros(1, 0))[0, self._feet, 2] - float(sole)  # of each, above the sole
        self._worn = torch.ones(1, len(NAMES), dtype=torch.bool)
        self._memory: Any = None
        self._past: list[Tensor] = []
        self._readings: tuple[Tensor, Tensor] | None = None
        self._turned: Tensor | None = None
        self._rate, self._path, self._cycle = torch.zeros(0), torch.zeros(0), torch.zeros(0)

    @torch.no_grad()
    def __call__(self, state: State, envs: PerceivedVectorEnv) -> State:
        if envs.begins:
            self._begin(state, envs)
        rotations, velocity = self._feel(state.root_position, state.rotations)
        self._rate = torch.lerp(self._rate, self._change(rotations), _FRESH)
        renewed = envs._cycle > self._cycle
        self._cycle = envs._cycle.clone()
        self._path = torch.where(renewed.unsqueeze(-1), state.root_position, self._path + velocity / CONTROL_RATE)
        if envs.begins:
            self._path = state.root_position.clone()
        bodies = self._bodies(torch.zeros_like(self._path), rotations, state.hinges)
        height = (self._above - bodies[:, self._feet, 2]).amax(dim=1)
        place = torch.cat((self._path[:, :2], height.unsqueeze(-1)), dim=-1)
        return self._chosen(state, rotations, velocity, place)

    def _chosen(self, true: State, rotations: Tensor, speed: Tensor, place: Tensor) -> State:
        """A state of the parts that the sensors tell, and of the truth."""
        told = true.velocity.clone()
        if "speed" in self._tells:
            told[:, :3] = speed
        if "rates" in self._tells:
            told[:, 6:] = self._rate[:, 1:].flatten(1)
        rotations = rotations if "pose" in self._tells else true.rotations
        place = place if "place" in self._tells else true.root_position
        bodies = self._bodies(place, rotations, true.hinges)
        return true._replace(root_position=place, rotations=rotations, velocity=told, bodies=bodies)

    def _begin(self, state: State, envs: PerceivedVectorEnv) -> None:
        """Feel the motion as it was before, as far as it has a before: a cycle's, or a clip's first frame."""
        self._memory, self._readings, self._past, self._turned = None, None, [], None
        self._rate = torch.zeros(*state.rotations.shape[:-1], 3)
        self._cycle = envs._cycle.clone()
        durations, cyclic = envs.library.durations[envs._clip], envs.library.cyclic[envs._clip]
        for step in range(round(_BEFORE * CONTROL_RATE), 0, -1):
            before = envs.times - step / CONTROL_RATE
            times = torch.where(cyclic, before + durations * math.ceil(_BEFORE / float(durations.min())), before.clamp(min=0.0))
            reference = envs.library.sample(envs._clip, times)
            # a cycle that went before is where it leads up to the present
            back = envs.library.displacement[envs._clip] * math.ceil(_BEFORE / float(durations.min()))
            place = reference.root_position - torch.where(cyclic.unsqueeze(-1), back, 0.0)
            rotations, _ = self._feel(place, reference.rotations)
            self._rate = torch.lerp(self._rate, self._change(rotations), _FRESH)
        self._path = state.root_position.clone()

    def _change(self, rotations: Tensor) -> Tensor:
        """Angular velocities since the last step, (W, 1 + balls, 3) rad/s."""
        before = rotations if self._turned is None else self._turned
        self._turned = rotations
        return rot.to_rotation_vector(rot.multiply(rot.conjugate(before), rotations)) * CONTROL_RATE

    def _feel(self, root_position: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Readings of a state, and what the network makes of them: root and balls (W, 1 + balls, 4), velocity of the root (W, 3)."""
        local = self._bodies.rotations(rotations, rotations.new_zeros(len(rotations), 0))
        position, world = kinematics.forward_kinematics(self._skeleton, root_position, local)
        turned = world[:, self._at]
        worn = position[:, self._at] + rot.rotate(turned, self._place.expand(len(turned), -1, -1))
        self._past = [*self._past, worn][-2 * _HALF - 1 :]
        felt = torch.zeros_like(worn)
        if len(self._past) == 2 * _HALF + 1:
            felt = (self._past[-1] + self._past[0] - 2.0 * self._past[_HALF]) * (CONTROL_RATE / _HALF) ** 2
        before = self._readings or (turned, felt)
        self._readings = (turned, felt)
        shown = self._worn.expand(len(turned), -1)
        first = reference_numbers(shown)
        self._memory = self._network.initial_state(len(turned)) if self._memory is None else self._memory
        half = torch.tensor(0.5)
        for each, acceleration in ((rot.slerp(before[0], turned, half), torch.lerp(before[1], felt, half)), (turned, felt)):
            matrix = pose.matrices(each)
            found, self._memory = self._network.step(inputs_of(matrix, acceleration, shown, first), self._memory)
        bone = full_rotations(found.bones, matrix, shown, first)
        frame = matrix[torch.arange(len(matrix)), first]
        velocity = (frame @ found.velocity.unsqueeze(-1)).squeeze(-1)
        return pose.quaternions(pose.local(bone))[:, self._joints], velocity
