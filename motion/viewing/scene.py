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

import mujoco
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mprl.errors import MprlError, SettingError
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, from_smpl
from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.character import Character
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.characters.smpl import SmplCharacter
from mprl.motion.clip import MotionClip, Skeleton
from mprl.motion.kinematics import forward_kinematics
from mprl.motion.viewing import shapes
from mprl.motion.viewing.shapes import Triangles

Array = NDArray[np.float64]
Color = tuple[int, int, int]

BODY, SKELETON, SHAPES = "body", "skeleton", "shapes"  # layers: what it looks like, its bones, and what the simulation collides with
PALETTE: tuple[Color, ...] = ((104, 143, 199), (222, 148, 84), (116, 172, 122), (192, 112, 134), (146, 124, 190), (196, 168, 92))
_BONE: Color = (58, 66, 84)
_SHAPE: Color = (214, 96, 84)
_PLAIN = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's colour where nobody chose one
_INFLUENCES = 4  # parts that a vertex may hang on, as many as SMPL needs
_GAP = 1.2  # between the lanes of actors side by side, m
_SMOOTH = 0.5  # s before and after
_LOOKS = 33  # times at which it is looked how far actors reach
_CYCLES = 4.0  # s that cycles are repeated for, at least


class Mesh(NamedTuple):
    """Triangles of one colour that move with the parts of an actor.

    Attributes:
        layer: "body", "skeleton" or "shapes".
        color: red, green, blue, 0 to 255.
        triangles: V vertices where they are when no part is turned and part p is at bind[p].
        parts: those that each vertex hangs on, (V, K).
        weights: how much, (V, K), rows summing to 1.
        bind: (P, 3) m.
    """

    layer: str
    color: Color
    triangles: Triangles
    parts: NDArray[np.int64]
    weights: Array
    bind: Array

    @property
    def used(self) -> list[int]:
        """The parts that something hangs on."""
        return np.unique(self.parts[self.weights > 0]).tolist()


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
    """

    name: str
    frame_rate: float
    cyclic: bool
    displacement: Array
    positions: Array
    rotations: Array
    meshes: tuple[Mesh, ...]
    head_room: float = 0.3

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


@dataclass(frozen=True)
class Scene:
    """Actors side by side, each beginning at x = 0 in a lane of its own; the first is on the left of who looks into their faces."""

    actors: tuple[Actor, ...]

    @property
    def duration(self) -> float:
        """Seconds until all have ended; cycles alone are repeated for some seconds."""
        ends = [actor.duration for actor in self.actors if not actor.cyclic]
        return max(ends or [math.ceil(_CYCLES / actor.duration) * actor.duration for actor in self.actors])

    def focus(self, time: float) -> Array:
        """Where to look at a time when following: between the roots, smoothed over a second, (2,) m."""
        times = np.clip(time + np.linspace(-_SMOOTH, _SMOOTH, 9), 0.0, self.duration)
        return np.mean([actor.sample(times)[0][:, 0, :2].mean(axis=0) for actor in self.actors], axis=0)

    @cached_property
    def reach(self) -> Array:
        """How far it reaches from where one looks: along x, along y, and up from the floor, (3,) m."""
        times = np.linspace(0.0, self.duration, _LOOKS)
        focus = np.stack([self.focus(time) for time in times])
        sampled = [actor.sample(times)[0] for actor in self.actors]
        aside = np.max([np.abs(positions[..., :2] - focus[:, None]).max(axis=(0, 1)) for positions in sampled], axis=0)
        top = max(float(p[..., 2].max()) + actor.head_room for p, actor in zip(sampled, self.actors, strict=True))
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


def _actor(clip: MotionClip, positions: Array, rotations: torch.Tensor, meshes: list[Mesh]) -> Actor:
    """The actor, and how far the top of its body is above its highest part at most."""
    body = meshes[0]
    part, rest = body.parts[:, 0], torch.as_tensor(body.triangles.vertices)
    rest = rest - torch.as_tensor(body.bind)[part]
    room = max(
        float((rot.rotate(rotations[frame, part], rest).numpy() + positions[frame, part])[:, 2].max() - positions[frame, :, 2].max())
        for frame in np.linspace(0, clip.num_frames - 1, 9).astype(int)
    )
    turned = rot.continuous(rotations).numpy()
    return Actor(clip.name, clip.frame_rate, clip.loop == "wrap", clip.cycle_displacement, positions, turned, tuple(meshes), room + 0.1)


def _character_actor(clip: MotionClip, character: Character, color: Color) -> Actor:
    """The parts are the model's bodies."""
    model, data = character.model, mujoco.MjData(character.model)
    positions, rotations = np.empty((clip.num_frames, model.nbody - 1, 3)), np.empty((clip.num_frames, model.nbody - 1, 4))
    for frame, qpos in enumerate(character.to_qpos(clip).numpy()):
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        positions[frame], rotations[frame] = data.xpos[1:], data.xquat[1:]
    offsets = model.body_pos[1:].copy()
    skeleton = Skeleton(character.body_names, character.skeleton.parents, offsets)
    bones = _bones(skeleton, SKELETON, _BONE)
    geoms = _geoms(model, range(model.nbody - 1), BODY, color)  # joined by the bones: many a model's limbs do not touch
    meshes = [*geoms, bones._replace(layer=BODY)] if geoms else [_bones(skeleton, BODY, color)]
    return _actor(clip, positions, torch.as_tensor(rotations), [*meshes, bones])


def _body_actor(clip: MotionClip, body: SmplBody, color: Color) -> Actor:
    """The parts are SMPL's joints."""
    betas = np.zeros(body.num_betas)
    if clip.betas is not None:
        betas[: len(clip.betas)] = clip.betas[: body.num_betas]
    batch = torch.as_tensor(betas)[None]
    skeleton = body.skeleton(batch)
    order = [clip.skeleton.names.index(name) for name in JOINTS]  # a character's clips have MuJoCo's
    positions, rotations = _kinematics(replace(clip, skeleton=skeleton, rotations=clip.rotations[:, order]))
    rest, joints = (from_smpl(points[0].detach().double().cpu()).numpy() for points in body(batch))
    every = body.weights.detach().double().cpu().numpy()
    strongest = every.argsort(axis=1)[:, ::-1][:, :_INFLUENCES]
    weights = np.take_along_axis(every, strongest, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    skin = Mesh(BODY, color, Triangles(rest, body.faces.cpu().numpy()), strongest, weights, joints)
    model = SmplCharacter(betas, body=body).model
    parts = [JOINTS.index(model.body(index).name) for index in range(1, model.nbody)]
    meshes = [skin, _bones(skeleton, SKELETON, _BONE), *_geoms(model, parts, SHAPES, _SHAPE)]
    return _actor(clip, positions, rotations, meshes)


def _bones_actor(clip: MotionClip, color: Color) -> Actor:
    """The parts are the skeleton's joints."""
    positions, rotations = _kinematics(clip)
    return _actor(clip, positions, rotations, [_bones(clip.skeleton, BODY, color), _bones(clip.skeleton, SKELETON, _BONE)])


def _kinematics(clip: MotionClip) -> tuple[Array, torch.Tensor]:
    root, rotations = (torch.as_tensor(values.copy()) for values in (clip.root_position, clip.rotations))
    positions, rotations = forward_kinematics(clip.skeleton, root, rotations)
    return positions.numpy(), rotations


def _geoms(model: mujoco.MjModel, parts: Sequence[int], layer: str, color: Color) -> list[Mesh]:
    """The geoms of a model whose body b + 1 is part parts[b]; those that MuJoCo hides (groups 3 to 5) only where there are no others."""
    geoms = [index for index in range(model.ngeom) if model.geom_bodyid[index] > 0 and model.geom_rgba[index, 3] > 0]
    geoms = [index for index in geoms if model.geom_group[index] < 3] or geoms
    found: dict[Color, list[tuple[int, Triangles]]] = {}
    for index in geoms:
        shape = shapes.geom(model, index)
        if shape is not None:
            material = int(model.geom_matid[index])
            rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[index]
            own = color if np.allclose(rgba, _PLAIN) else tuple(round(255 * float(c)) for c in rgba[:3])
            found.setdefault(own, []).append((parts[int(model.geom_bodyid[index]) - 1], shape))  # type: ignore[arg-type]
    if len(found) == 1:  # of one colour: the actor's, which tells it from the others
        found = {color: next(iter(found.values()))}
    return [_rigid(layer, own, hung, max(parts) + 1) for own, hung in found.items()]


def _bones(skeleton: Skeleton, layer: str, color: Color) -> Mesh:
    """From each joint a rod to its children: thin with a ball at each joint in the skeleton's layer, as thick as limbs in the body's."""
    reach = forward_kinematics(skeleton, torch.zeros(3).double(), torch.tensor([1.0, 0, 0, 0]).double().repeat(len(skeleton.names), 1))[0]
    size = float((reach.max(dim=0).values - reach.min(dim=0).values).max()) or 1.0
    hung = []
    for joint, (parent, offset) in enumerate(zip(skeleton.parents, skeleton.offsets, strict=True)):
        length = float(np.linalg.norm(offset))
        if joint and length > 1e-3 * size:
            thick = min(0.03 * size, 0.16 * length) if layer == BODY else 0.006 * size
            hung.append((parent, shapes.rod(offset, thick, 12 if layer == BODY else 6)))
        if layer == SKELETON or joint == 0:
            hung.append((joint, shapes.capsule(0.011 * size, 0.0, 10)))
    return _rigid(layer, color, hung, len(skeleton.names))


def _rigid(layer: str, color: Color, hung: list[tuple[int, Triangles]], count: int) -> Mesh:
    """Triangles in the frames of the parts that they hang on."""
    parts = np.concatenate([np.full((len(triangles.vertices), 1), part) for part, triangles in hung])
    return Mesh(layer, color, shapes.joined([triangles for _, triangles in hung]), parts, np.ones(parts.shape), np.zeros((count, 3)))
