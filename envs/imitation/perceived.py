"""Worlds whose policy acts on a state that is perceived: noisy, late, or estimated from sensors. The truth judges.

What is perceived is the character's own state; where its motion goes, the policy knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.layout import CONTROL_RATE, State
from mprl.errors import SettingError, number, unknown_name
from mprl.motion import kinematics
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS
from mprl.motion.characters.character import Character

Perceive = Callable[[State, "PerceivedVectorEnv"], State]


class PerceivedVectorEnv(DeepMimicVectorEnv):
    """`DeepMimicVectorEnv` whose observations are made of what perception makes of the state.

    By default without autoreset, for judging: what remembers (`Late`, sensors) begins in all worlds at once. `Noisy` can be learned with.

    Args:
        perceive: from the state (W, ...) of all worlds to a state of the same shape, one after the other; called once a control step, and
            at an episode's beginning, where `begins` is true.
        settings: see `DeepMimicVectorEnv`.
    """

    def __init__(self, *, perceive: Sequence[Perceive], **settings: Any) -> None:
        super().__init__(**{"autoreset_mode": AutoresetMode.DISABLED, **settings})
        self._perceive = tuple(perceive)

    @property
    def begins(self) -> bool:
        """Whether the episodes begin now.

        Raises:
            SettingError: only some of them do.
        """
        begun = self._steps == 0
        if bool(begun.any()) and not bool(begun.all()):
            raise SettingError("what is perceived begins in all worlds at once: reset without a reset_mask, and without autoreset")
        return bool(begun.all())

    def _observe(self, worlds: slice | Tensor) -> Any:
        true = self._now
        for perceive in self._perceive:
            self._now = perceive(self._now, self)
        try:
            return super()._observe(worlds)
        finally:
            self._now = true


@dataclass(frozen=True)
class Noise:
    """Standard deviations of noise.

    Attributes:
        angle: root mean square turn of the root and every joint, rad. place: of the root along each axis, m.
        rate: of angular velocities about each axis, rad/s. speed: of the root along each axis, m/s.
    """

    angle: float = 0.0
    place: float = 0.0
    rate: float = 0.0
    speed: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            number(field.name, getattr(self, field.name), 0.0)


class Noisy:
    """A state with noise; the bodies are where the noisy joints put them.

    Args:
        noise: how much.
        character: whose.
        seed: of the noise.
        lasts: time after which its correlation has fallen to 1/e, s (an Ornstein-Uhlenbeck process); 0: white. Errors of estimates last.
    """

    def __init__(self, noise: Noise, character: Character, seed: int = 0, lasts: float = 0.0) -> None:
        self._noise, self._bodies, self._random = noise, Bodies(character), torch.Generator().manual_seed(seed)
        self._keeps = math.exp(-1.0 / (CONTROL_RATE * lasts)) if number("time that noise lasts", lasts, 0.0) else 0.0
        self._now: dict[str, Tensor] = {}
        self._steps, self._kept = torch.zeros(0, dtype=torch.long), torch.zeros(0)

    def __call__(self, state: State, envs: PerceivedVectorEnv) -> State:
        self._advance(envs._steps)
        noise, balls = self._noise, state.rotations.shape[:-1]
        turn = noise.angle / math.sqrt(3) * self._drawn("turn", *balls, 3)
        rotations = rot.multiply(state.rotations, rot.from_rotation_vector(turn))
        hinges = state.hinges + noise.angle * self._drawn("hinges", *state.hinges.shape)
        place = state.root_position + noise.place * self._drawn("place", *state.root_position.shape)
        scale = torch.full((state.velocity.shape[1],), noise.rate)
        scale[:3] = noise.speed
        velocity = state.velocity + scale * self._drawn("velocity", *state.velocity.shape)
        return state._replace(
            root_position=place, rotations=rotations, hinges=hinges, velocity=velocity, bodies=self._bodies(place, rotations, hinges)
        )

    def _advance(self, steps: Tensor) -> None:
        """How much each world keeps of its noise, (W,): nothing where an episode begins, all where the same step is observed again.

        The latter comes about where the episodes of other worlds end: with autoreset in the same step, what begins there is observed too.
        """
        if steps.shape != self._steps.shape:
            self._now, self._steps = {}, torch.full_like(steps, -1)
        self._kept = torch.where(steps == self._steps, 1.0, self._keeps).masked_fill(steps == 0, 0.0)
        self._steps = steps.clone()

    def _drawn(self, name: str, *shape: int) -> Tensor:
        """Unit noise, which remembers the step before."""
        new = torch.randn(*shape, generator=self._random)
        if self._keeps and name in self._now:
            kept = self._kept.view(-1, *[1] * (len(shape) - 1))
            new = kept * self._now[name] + (1.0 - kept.square()).sqrt() * new
        self._now[name] = new
        return new


class Late:
    """The state of some control steps ago; where an episode begins, its first one.

    Args:
        steps: how many, of 1/30 s.

    Raises:
        SettingError: fewer than none.
    """

    def __init__(self, steps: int) -> None:
        self._steps, self._past = int(number("control steps to be late by", steps, 0, whole=True)), list[State]()

    def __call__(self, state: State, envs: PerceivedVectorEnv) -> State:
        if envs.begins:
            self._past = [state] * self._steps
        self._past.append(state)
        return self._past.pop(0)


class Ahead:
    """A late state carried on to now, each joint and the root as fast as they were: what a latency that is known takes, in part given back.

    Args:
        steps: how many control steps ahead.
        character: whose.

    Raises:
        SettingError: fewer than none.
    """

    def __init__(self, steps: int, character: Character) -> None:
        self._time, self._bodies = number("control steps to look ahead", steps, 0, whole=True) / CONTROL_RATE, Bodies(character)
        starts = [3, *(int(character.model.joint(name).dofadr[0]) for name in character.ball_joints)]
        self._balls = torch.tensor(starts)[:, None] + torch.arange(3)
        self._hinges = torch.tensor([int(character.model.joint(name).dofadr[0]) for name in character.hinge_joints], dtype=torch.long)

    def __call__(self, state: State, envs: PerceivedVectorEnv) -> State:
        place = state.root_position + self._time * state.velocity[:, :3]
        turn = rot.from_rotation_vector(self._time * state.velocity[:, self._balls])  # MuJoCo's are in the turning body
        rotations = rot.multiply(state.rotations, turn)
        hinges = state.hinges + self._time * state.velocity[:, self._hinges]
        return state._replace(root_position=place, rotations=rotations, hinges=hinges, bodies=self._bodies(place, rotations, hinges))


def check_parts(tells: Sequence[str], parts: Sequence[str]) -> None:
    """Raise an `UnknownNameError` where one of `tells` is none of `parts`."""
    for part in tells:
        if part not in parts:
            raise unknown_name("part", part, parts, f"known: {', '.join(parts)}")


def smpl_balls(character: Character, who: str) -> list[int]:
    """Which of SMPL's joints the root and each ball joint of the SMPL body are.

    Raises:
        SettingError: another character, whose pose `who` cannot tell.
    """
    if tuple(sorted(character.body_names)) != tuple(sorted(JOINTS)):
        raise SettingError(f"{who} tell the pose of the SMPL body, not of '{character.name}'")
    model = character.model
    return [0, *(JOINTS.index(model.body(int(model.jnt_bodyid[model.joint(name).id])).name) for name in character.ball_joints)]


class Bodies:
    """Where a character's bodies are, of its joints: root positions (W, 3), root and ball joints (W, 1 + balls, 4), hinges (W, hinges)."""

    def __init__(self, character: Character) -> None:
        model = character.model
        self._skeleton = character.skeleton

        def body_of(joint: str) -> int:
            return int(model.jnt_bodyid[model.joint(joint).id]) - 1

        self._balls = [0, *(body_of(joint) for joint in character.ball_joints)]
        self._hinges = [body_of(joint) for joint in character.hinge_joints]
        self._axes = torch.tensor(
            [model.jnt_axis[model.joint(joint).id].tolist() for joint in character.hinge_joints], dtype=torch.float32
        ).view(-1, 3)

    def rotations(self, rotations: Tensor, hinges: Tensor) -> Tensor:
        """Of every body relative to its parent, (W, B, 4)."""
        local = torch.zeros(len(rotations), len(self._skeleton.names), 4)
        local[..., 0] = 1.0
        local[:, self._balls] = rotations
        for at, body in enumerate(self._hinges):  # several hinges of one body, the first outermost
            turn = rot.from_axis_angle(self._axes[at].expand(len(hinges), 3), hinges[:, at])
            local[:, body] = rot.multiply(local[:, body], turn)
        return local

    def __call__(self, root_position: Tensor, rotations: Tensor, hinges: Tensor) -> Tensor:
        return kinematics.forward_kinematics(self._skeleton, root_position, self.rotations(rotations, hinges))[0]
