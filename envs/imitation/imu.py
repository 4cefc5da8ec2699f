"""Inertial sensors on a character's limbs: orientation, angular rate and specific force, with the faults that real ones have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from mprl.envs.imitation import observations
from mprl.envs.imitation.sensor import Worlds, body_ids, choice, non_negative
from mprl.motion import inertial
from mprl.motion import rotations as rot
from mprl.motion.characters.character import Character

_FRAMES = ("heading", "root", "world")
_REPRESENTATIONS = {"6d": 6, "quaternion": 4}


@dataclass(frozen=True)
class ImuSettings:
    """What is worn, and how well it measures. Without faults it measures exactly.

    Attributes:
        bodies: where; by default six, as in the literature: both forearms and shanks, the head and the root.
        frame: of the orientations: "heading" (the world turned by the character's yaw), "root" or "world".
        representation: of the orientations, "6d" or "quaternion".
        gyroscope_noise: standard deviation of white noise, rad/s. accelerometer_noise: m/s². orientation_noise: about a random axis, rad.
        gyroscope_drift: random walk of the bias, rad/s after 1 s and growing with the square root of time. accelerometer_drift: m/s².
        misplacement: standard deviation of where a sensor is along each axis, m, drawn for each episode. misalignment: of how it is
            turned about each axis, rad.
    """

    bodies: Sequence[str] | None = None
    frame: str = "heading"
    representation: str = "6d"
    gyroscope_noise: float = 0.0
    accelerometer_noise: float = 0.0
    orientation_noise: float = 0.0
    gyroscope_drift: float = 0.0
    accelerometer_drift: float = 0.0
    misplacement: float = 0.0
    misalignment: float = 0.0

    def __post_init__(self) -> None:
        choice("frame of imu", self.frame, _FRAMES)
        choice("representation of imu", self.representation, tuple(_REPRESENTATIONS))
        non_negative("imu", self, [field.name for field in fields(self) if field.type == "float"])


def point_velocity(spatial: Tensor, centre: Tensor, point: Tensor) -> Tensor:
    """Velocity of a point fixed in a body, v + ω x (p - c), (..., 3) m/s.

    Args:
        spatial: the body's angular and linear velocity (..., 6), the linear one at the centre c (MuJoCo's `cvel`).
        centre, point: c and p, (..., 3) m.
    """
    angular, linear = spatial.split(3, dim=-1)
    return linear + torch.linalg.cross(angular, point - centre)


class Imu:
    """Readings (sensors, 12): orientation (6), angular rate (3) and specific force (3); 10 with quaternions.

    A sensor sits at the middle of its body (the centre of its mass) with its axes along the body's, unless misplaced. The angular
    rate is the present one, in the sensor's axes. The specific force is what an accelerometer feels, a - g: 9.81 m/s² upwards at rest,
    0 in free fall. It is the mean over the control step, as of an accelerometer that sums up its readings: the change of the sensor's
    velocity, seen along its axes halfway (MuJoCo's own acceleration belongs to an explicit step, and stiffly damped joints are
    stepped implicitly). An episode's first reading has no step behind it and feels gravity alone.

    Args:
        settings: see there.
        worlds: whose bodies.

    Raises:
        UnknownNameError: no such body.
    """

    Settings: ClassVar[type[Any]] = ImuSettings

    def __init__(self, settings: ImuSettings, worlds: Worlds) -> None:
        self._settings, self._worlds = settings, worlds
        simulation = worlds.simulation
        names = settings.bodies if settings.bodies is not None else worn_on(worlds.character)
        ids = body_ids(names, worlds.character)
        model, device, count = simulation.model, simulation.device, simulation.num_worlds
        self._bodies = torch.tensor(ids, device=device)
        self._trees = torch.tensor(model.body_rootid[ids].tolist(), device=device)  # MuJoCo tells velocities at a tree's centre of mass
        self._step = worlds.control_step
        self._gravity = torch.tensor(model.opt.gravity.copy(), dtype=torch.float32, device=device).expand(count, len(ids), 3)
        bind = simulation.bind
        self._xpos, self._xquat, self._cvel, self._com = bind("xpos"), bind("xquat"), bind("cvel"), bind("subtree_com")
        self._middle = torch.tensor(model.body_ipos[ids], dtype=torch.float32, device=device)
        orientation = _REPRESENTATIONS[settings.representation]
        self.shape = (len(ids), orientation + 6)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(count, len(ids), *shape, device=device)

        self._state = {
            "velocity": zeros(3),  # of the sensors, at the end of the last control step
            "rotation": zeros(4),  # the same
            "force": zeros(3),
            "bias": zeros(6),
            "noise": zeros(6),
            "turn": zeros(3),  # noise of the orientation
            "place": zeros(3),  # where the sensor is on its body
            "mount": zeros(4),  # and how it is turned
        }
        self._state["mount"][..., 0] = 1.0
        self._state["place"].copy_(self._middle)

    def state(self) -> dict[str, Tensor]:
        return self._state

    def reset(self, mask: Tensor, random: torch.Generator) -> None:
        state, settings = self._state, self._settings
        masked = mask.view(-1, 1, 1)
        if settings.misplacement:
            place = self._middle + settings.misplacement * self._normal(3, random)
            state["place"].copy_(torch.where(masked, place, state["place"]))
        if settings.misalignment:
            mount = rot.from_rotation_vector(settings.misalignment * self._normal(3, random))
            state["mount"].copy_(torch.where(masked, mount, state["mount"]))
        velocity, rotation = self._motion()
        fresh = {
            "velocity": velocity,
            "rotation": rotation,
            "force": inertial.specific_force(rotation, torch.zeros_like(self._gravity), self._gravity),
            "bias": torch.zeros_like(state["bias"]),
            **self._drawn(random),
        }
        for name, value in fresh.items():
            state[name].copy_(torch.where(masked, value, state[name]))

    def advance(self, random: torch.Generator) -> None:
        state, settings = self._state, self._settings
        velocity, rotation = self._motion()
        acceleration = (velocity - state["velocity"]) / self._step
        before = state["rotation"] * torch.where((rotation * state["rotation"]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
        halfway = rot.unit(rotation + before)
        state["force"].copy_(inertial.specific_force(halfway, acceleration, self._gravity))
        state["velocity"].copy_(velocity)
        state["rotation"].copy_(rotation)
        if settings.gyroscope_drift or settings.accelerometer_drift:
            walk = self._step**0.5 * self._normal(6, random)
            state["bias"] += self._scaled(walk, settings.gyroscope_drift, settings.accelerometer_drift)
        for name, value in self._drawn(random).items():
            state[name].copy_(value)

    def read(self, worlds: slice | Tensor) -> Tensor:
        state = {name: value[worlds] for name, value in self._state.items()}
        rotation = state["rotation"]
        spin = self._cvel[worlds].index_select(1, self._bodies)[..., :3].float()
        measured = torch.cat((rot.rotate(rot.conjugate(rotation), spin), state["force"]), dim=-1) + state["bias"] + state["noise"]
        seen = self._seen(rotation, worlds)
        if self._settings.orientation_noise:
            seen = rot.multiply(seen, rot.from_rotation_vector(state["turn"]))
        quaternions = self._settings.representation == "quaternion"
        # of the two quaternions of a rotation the one with w >= 0
        seen = seen * torch.where(seen[..., :1] < 0, -1.0, 1.0) if quaternions else rot.to_six_d(seen)
        return torch.cat((seen, measured), dim=-1)

    def _motion(self) -> tuple[Tensor, Tensor]:
        """Velocity (W, S, 3) and rotation (W, S, 4) of the sensors in the world."""
        body = rot.unit(self._xquat.index_select(1, self._bodies).float())
        point = self._xpos.index_select(1, self._bodies) + rot.rotate(body, self._state["place"])
        spatial, centre = self._cvel.index_select(1, self._bodies), self._com.index_select(1, self._trees)
        velocity = point_velocity(spatial, centre, point).float()
        return velocity, rot.multiply(body, self._state["mount"])

    def _seen(self, rotation: Tensor, worlds: slice | Tensor) -> Tensor:
        """Rotations in the frame that they are told in."""
        if self._settings.frame == "world":
            return rotation
        root = self._xquat[worlds, 1].float()
        if self._settings.frame == "heading":
            cos, sin = observations.heading_of(root).unbind(-1)
            root = rot.about_vertical(torch.atan2(sin, cos))
        return rot.multiply(rot.conjugate(root).unsqueeze(1), rotation)

    def _drawn(self, random: torch.Generator) -> dict[str, Tensor]:
        """The white noise of one reading."""
        settings, found = self._settings, {}
        if settings.gyroscope_noise or settings.accelerometer_noise:
            found["noise"] = self._scaled(self._normal(6, random), settings.gyroscope_noise, settings.accelerometer_noise)
        if settings.orientation_noise:
            found["turn"] = inertial.random_turn(self._normal(3, random), self._normal(1, random), settings.orientation_noise)
        return found

    def _normal(self, size: int, random: torch.Generator) -> Tensor:
        count = self._state["bias"].shape[:2]
        return torch.randn(*count, size, generator=random, device=random.device)

    @staticmethod
    def _scaled(normal: Tensor, gyroscope: float, accelerometer: float) -> Tensor:
        return torch.cat((gyroscope * normal[..., :3], accelerometer * normal[..., 3:]), dim=-1)


def worn_on(character: Character) -> tuple[str, ...]:
    """Both forearms and shanks, the head and the root of a character."""
    limbs = [_segment(character, hand, "elbow") for hand in character.hands]
    limbs += [_segment(character, foot, "knee") for foot in character.feet]
    return tuple(dict.fromkeys((*limbs, character.head, character.body_names[0])))


def _segment(character: Character, end: str, word: str) -> str:
    """The body above a hand or a foot that is named for the joint that moves it; where none is, the one next to it."""
    parents, names = character.skeleton.parents, character.body_names
    at = parents[names.index(end)]
    above = at
    while above >= 0:
        if word in names[above].lower():
            return names[above]
        above = parents[above]
    return names[max(at, 0)]
