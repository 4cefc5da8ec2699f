"""What there is to see of motion clips: parts that move rigidly, and triangles that hang on them. Both viewers draw this.

    scene = scene_of([load("walk"), load("mine.bvh")])
    positions, rotations = scene.actors[0].sample([0.0, 0.5])

The humanoid's clips show the humanoid's geoms, SMPL's joints the skinned body of the clip's betas, and any other skeleton bones.
A skinned body is SMPL's without its pose-dependent corrections: joints bend a little less roundly than in `SmplBody`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mprl.errors import MprlError, SettingError
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS
from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.character import Character
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip
from mprl.motion.kinematics import forward_kinematics
from mprl.motion.viewing.meshes import BODY, BONE, PALETTE, SHAPES, SKELETON, Array, Color, Mesh, bones_of
from mprl.motion.viewing.puppet import puppet_of, skinned

_GAP = 1.2  # between the lanes of actors side by side, m
_SMOOTH = 0.5  # s before and after
_LOOKS = 33  # times at which it is looked how far actors reach
_CYCLES = 4.0  # s that cycles are repeated for, at least


@dataclass(frozen=True)
class Actor:
    """One clip to be drawn: P parts over T frames.

    Attributes:
        name: of the clip.
        frame_rate: Hz.
        cyclic: whether it goes on after its last frame.
        displacement: by how much, one cycle, (3,) m.
        positions: of the parts, world, (T, P, 3) m.
        rotations: of the parts, world, (T, P, 4) wxyz, continuous over time.
        meshes: what hangs on them.
        head_room: from the highest part to where its name is written, m.
        role: "character"; "ghost", translucent, what a character should do; "thing", without a name and not looked at.
    """

    name: str
    frame_rate: float
    cyclic: bool
    displacement: Array
    positions: Array
    rotations: Array
    meshes: tuple[Mesh, ...]
    head_room: float = 0.3
    role: str = "character"

    @property
    def duration(self) -> float:
        """Seconds."""
        return (len(self.positions) - 1) / self.frame_rate

    def sample(self, times: ArrayLike) -> tuple[Array, Array]:
        """Positions (N, P, 3) m and rotations (N, P, 4) at N times, s; before its beginning and after its end it stands still."""
        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        cycles = np.floor(times / self.duration + 1e-9) if self.cyclic else np.zeros_like(times)
        frame = np.clip((times - cycles * self.duration) * self.frame_rate, 0.0, len(self.positions) - 1.0)
        before = np.minimum(frame.astype(int), len(self.positions) - 2)
        share = (frame - before)[:, None, None]
        positions = (1 - share) * self.positions[before] + share * self.positions[before + 1]
        rotations = (1 - share) * self.rotations[before] + share * self.rotations[before + 1]
        rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
        return positions + (cycles[:, None] * self.displacement)[:, None], rotations


class Curve(NamedTuple):
    """A number over the time of a scene, from its beginning to its end.

    Attributes:
        name: with its unit.
        values: evenly over the time, (T,); not a number where there is none.
    """

    name: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """Actors, and numbers that change while they move.

    `scene_of` puts them side by side, each beginning at x = 0 in a lane of its own; the first is on the left of who looks into their faces.
    """

    actors: tuple[Actor, ...]
    curves: tuple[Curve, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds until all have ended; cycles alone are repeated for some seconds."""
        ends = [actor.duration for actor in self.actors if not actor.cyclic]
        return max(ends or [math.ceil(_CYCLES / actor.duration) * actor.duration for actor in self.actors])

    def focus(self, time: float) -> Array:
        """Where to look at a time when following: between the roots, smoothed over a second, (2,) m."""
        times = np.clip(time + np.linspace(-_SMOOTH, _SMOOTH, 9), 0.0, self.duration)
        return np.mean([actor.sample(times)[0][:, 0, :2].mean(axis=0) for actor in self.characters], axis=0)

    @property
    def characters(self) -> tuple[Actor, ...]:
        """The actors that are looked at."""
        return tuple(actor for actor in self.actors if actor.role == "character")

    @cached_property
    def reach(self) -> Array:
        """How far it reaches from where one looks: along x, along y, and up from the floor, (3,) m."""
        times = np.linspace(0.0, self.duration, _LOOKS)
        focus = np.stack([self.focus(time) for time in times])
        sampled = [actor.sample(times)[0] for actor in self.characters]
        aside = np.max([np.abs(positions[..., :2] - focus[:, None]).max(axis=(0, 1)) for positions in sampled], axis=0)
        top = max(float(p[..., 2].max()) + actor.head_room for p, actor in zip(sampled, self.characters, strict=True))
        # of clips that drift apart not all can be seen at all times: their beginning, and some metres of way
        first = np.max([np.abs(positions[0, :, :2] - focus[0]).max(axis=0) for positions in sampled], axis=0)
        return np.array([*(np.minimum(aside, first + top) + 0.12 * top), top])

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that there is something in."""
        known = {mesh.layer for actor in self.actors for mesh in actor.meshes}
        return tuple(layer for layer in (BODY, SKELETON, SHAPES) if layer in known)


def scene_of(clips: Sequence[MotionClip], character: Character | None = None, body: SmplBody | None = None) -> Scene:
    """Put clips side by side.

    Args:
        clips: at least one.
        character: draws the clips that move it; by default the humanoid.
        body: of clips with SMPL's joints; by default the free one.

    Raises:
        SettingError: no clips, or the character fits none of them.
    """
    if not clips:
        raise SettingError("expected at least one motion to look at, found none")
    fits = [character is not None and _fits(character, clip) for clip in clips]
    if character is not None and not any(fits):
        character.check(clips[0])
    actors: list[Actor] = []
    right = 0.0
    for number, clip in enumerate(clips):
        color = PALETTE[number % len(PALETTE)]
        if character is not None and fits[number]:
            actor = _character_actor(clip, character, color)
        elif clip.skeleton.names == HUMANOID.body_names:
            actor = _character_actor(clip, HUMANOID, color)
        elif set(clip.skeleton.names) == set(JOINTS):
            actor = _body_actor(clip, body or SmplBody.default(), color)
        else:
            actor = _bones_actor(clip, color)
        across = actor.positions[:, :, 1]
        start, width = actor.positions[0, 0, :2], min(float(np.ptp(across)), 6.0)
        low = max(float(across.min()), float(across.mean()) - width / 2)
        move = np.array([-start[0], right - low if len(clips) > 1 else -start[1], 0.0])
        right += width + _GAP * max(1.0, _height(actor) / 2)
        same = sum(clip.name == other.name for other in clips[:number])
        name = f"{clip.name} ({same + 1})" if same else clip.name
        actors.append(replace(actor, name=name, positions=actor.positions + move))
    return Scene(tuple(actors))


def _fits(character: Character, clip: MotionClip) -> bool:
    try:
        character.check(clip)
    except MprlError:
        return False
    return True


def _height(actor: Actor) -> float:
    return float(actor.positions[0, :, 2].max()) + actor.head_room


def _actor(clip: MotionClip, positions: Array, rotations: torch.Tensor, meshes: Sequence[Mesh]) -> Actor:
    turned = rot.continuous(rotations).numpy()
    room = head_room(meshes[0], positions, turned)
    return Actor(clip.name, clip.frame_rate, clip.loop == "wrap", clip.cycle_displacement, positions, turned, tuple(meshes), room)


def head_room(body: Mesh, positions: Array, rotations: Array) -> float:
    """How far the top of a body is above its highest part at most, and a little more for a name, m."""
    part, rest = body.parts[:, 0], torch.as_tensor(body.triangles.vertices)
    rest = rest - torch.as_tensor(body.bind)[part]
    room = max(
        float((rot.rotate(torch.as_tensor(rotations[f, part]), rest).numpy() + positions[f, part])[:, 2].max() - positions[f, :, 2].max())
        for f in np.linspace(0, len(positions) - 1, 9).astype(int)
    )
    return room + 0.1


def _character_actor(clip: MotionClip, character: Character, color: Color) -> Actor:
    """The parts are the model's bodies."""
    puppet = puppet_of(character, color)
    positions, rotations = puppet.poses(character.to_qpos(clip).numpy())
    return _actor(clip, positions, torch.as_tensor(rotations), puppet.meshes)


def _body_actor(clip: MotionClip, body: SmplBody, color: Color) -> Actor:
    """The parts are SMPL's joints."""
    betas = np.zeros(body.num_betas)
    if clip.betas is not None:
        betas[: len(clip.betas)] = clip.betas[: body.num_betas]
    order = [clip.skeleton.names.index(name) for name in JOINTS]  # a character's clips have MuJoCo's
    own = body.skeleton(torch.as_tensor(betas)[None])
    positions, rotations = _kinematics(replace(clip, skeleton=own, rotations=clip.rotations[:, order]))
    return _actor(clip, positions, rotations, skinned(body, betas, color))


def _bones_actor(clip: MotionClip, color: Color) -> Actor:
    """The parts are the skeleton's joints."""
    positions, rotations = _kinematics(clip)
    return _actor(clip, positions, rotations, [bones_of(clip.skeleton, BODY, color), bones_of(clip.skeleton, SKELETON, BONE)])


def _kinematics(clip: MotionClip) -> tuple[Array, torch.Tensor]:
    root, rotations = (torch.as_tensor(values.copy()) for values in (clip.root_position, clip.rotations))
    positions, rotations = forward_kinematics(clip.skeleton, root, rotations)
    return positions.numpy(), rotations
