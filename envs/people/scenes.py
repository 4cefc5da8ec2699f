"""Pictures of people with all that is known about them.

    studio = Studio(Poses.of(["walk", "kick"]), SINGLE)
    picture = studio.draw(4, seed=0)[0]     # picture.image (96, 96, 3), picture.keypoints (2, 17, 2), picture.visible (2, 17), ...

A picture follows from the seed and its number alone. Nothing is drawn with OpenGL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mprl.envs.people.backgrounds import BACKGROUNDS, background
from mprl.envs.people.camera import Camera, looking_at
from mprl.envs.people.clothes import PATTERNS, Wardrobe
from mprl.envs.people.light import lit, photographed
from mprl.envs.people.poses import Poses
from mprl.envs.people.rasteriser import rasterise
from mprl.envs.people.staging import BOX, Person, beside, box_before, grounded
from mprl.errors import SettingError, number
from mprl.motion.body.joints import JOINTS, from_smpl
from mprl.motion.body.landmarks import SMPL_INDEX
from mprl.motion.body.smpl import SmplBody
from mprl.perception.pose2d import layouts

Array = NDArray[np.float32]

LAYOUT = "coco_17"
OUTSIDE, HIDDEN, SEEN = 0, 1, 2  # of a keypoint: not in the picture; behind a box or somebody else; neither
_FINE = 2  # samples along a pixel's side, as `photographed` has it
_NOBODY = -1
_NEAREST = 0.2  # m: of anybody to the camera


@dataclass(frozen=True)
class Scenery:
    """What pictures show. Lengths in metres, angles in degrees; pairs are bounds between which is drawn evenly.

    Attributes:
        height, width: of a picture, px.
        people: how many at most, the first of whom is what the picture is about; `others`: how likely each further one is.
        focus: "first": the first person is framed, as by a detector's box; "all": everybody is.
        apart: between neighbours, from the middle of one to that of the other.
        fill: share of the picture that what is framed takes along the longer side; above 1 some of it is cut off.
        shift: of it from the middle, as a share of the picture, at most.
        elevation: of the camera above the horizon. distance: to the people. roll: of the picture, at most.
        boxes: how likely a box stands in front of somebody.
        shape: standard deviation of the betas.
        patterns, backgrounds: of `PATTERNS` and `BACKGROUNDS`.
        noise: greatest standard deviation of a pixel's noise, of 1.
        blur: how likely a picture is taken at half its resolution.
    """

    height: int = 96
    width: int = 96
    people: int = 2
    others: float = 0.25
    focus: str = "first"
    apart: tuple[float, float] = (0.6, 1.2)
    fill: tuple[float, float] = (0.65, 0.95)
    shift: float = 0.06
    elevation: tuple[float, float] = (-10.0, 40.0)
    distance: tuple[float, float] = (2.5, 7.0)
    roll: float = 8.0
    boxes: float = 0.3
    shape: float = 1.2
    patterns: tuple[str, ...] = PATTERNS
    backgrounds: tuple[str, ...] = BACKGROUNDS
    noise: float = 0.04
    blur: float = 0.2

    def __post_init__(self) -> None:
        for name in ("height", "width", "people"):
            number(name, getattr(self, name), 1, whole=True)
        if self.focus not in ("first", "all"):
            raise SettingError(f"focus must be first or all, found '{self.focus}'")
        for name, known in (("patterns", PATTERNS), ("backgrounds", BACKGROUNDS)):
            chosen = getattr(self, name)
            if not chosen or not set(chosen) <= set(known):
                raise SettingError(f"{name} must be some of {', '.join(known)}, found {', '.join(chosen) or 'none'}")


SINGLE = Scenery()
SEVERAL = Scenery(128, 128, people=3, others=0.75, focus="all", fill=(0.75, 0.98), elevation=(-5.0, 30.0), roll=5.0, boxes=0.25)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is in it; P is `Scenery.people`, of whom the first `count` are there, K the keypoints of `LAYOUT`.

    Attributes:
        image: (H, W, 3) uint8.
        keypoints: (P, K, 2) px, also outside the picture and behind others; a pixel's centre is at +.5.
        visible: (P, K) uint8: 0 outside the picture, 1 hidden by a box or by somebody else, 2 neither; a person's own limbs hide nothing.
        box: of all of a person that could be in the picture, hidden or not: left, top, width and height, (P, 4) px.
        count: of people.
        part: which of `clothes.PARTS` each pixel shows, (H, W) uint8.
        person: whom each pixel shows, (H, W) uint8, counted from 1; 0: nobody.
        clip: what the first person does, as a number of `Poses.names`.
    """

    image: NDArray[np.uint8]
    keypoints: Array
    visible: NDArray[np.uint8]
    box: Array
    count: int
    part: NDArray[np.uint8]
    person: NDArray[np.uint8]
    clip: int


class Studio:
    """Draws people.

    Args:
        poses: what they do; None: nothing of their own, they are drawn as `posed` has them.
        scenery: what pictures are like.
        body: whose skin and shapes.
    """

    def __init__(self, poses: Poses | None, scenery: Scenery = SINGLE, body: SmplBody | None = None) -> None:
        self.poses, self.scenery = poses, scenery
        self.body = SmplBody.default() if body is None else body
        self._faces = self.body.faces.cpu().numpy()
        self._wardrobe = Wardrobe(self.body)
        self._joints, self._landmarks = _places()

    def draw(self, count: int, seed: int = 0, first: int = 0) -> list[Picture]:
        """Pictures number `first` and following of a seed."""
        return [self._draw(np.random.default_rng([seed, first + number])) for number in range(count)]

    def posed(self, pose: Array, betas: NDArray[np.float64], translation: Array | None = None) -> list[Person]:
        """Bodies in the world.

        Args:
            pose: axis-angle of SMPL's joints in SMPL's frame, (N, 24, 3) rad.
            betas: shapes, (N, S).
            translation: of the pelvis from where it is at rest, in SMPL's frame, (N, 3) m.
        """
        moved = None if translation is None else torch.as_tensor(translation).float()
        found = self.body(torch.as_tensor(betas).float(), torch.as_tensor(pose), moved)
        vertices = from_smpl(found.vertices).numpy()
        keypoints = np.empty((len(pose), len(layouts.points(LAYOUT)), 3), np.float32)
        keypoints[:, list(self._joints)] = from_smpl(found.joints).numpy()[:, list(self._joints.values())]
        keypoints[:, list(self._landmarks)] = vertices[:, list(self._landmarks.values())]
        return [Person(*both) for both in zip(vertices, keypoints, strict=True)]

    def _draw(self, rng: np.random.Generator) -> Picture:
        if self.poses is None:
            raise SettingError("a studio without poses draws nobody but those that are posed")
        size = self.scenery
        count = 1 + int((rng.random(size.people - 1) < size.others).sum())
        pose, clip = self.poses.draw(count, rng)
        # posed with nobody of another picture: the last bits of a matrix product depend on how many rows it has
        people = self.posed(pose, rng.normal(0.0, size.shape, (count, self.body.num_betas)))
        return self._picture([grounded(one) for one in people], int(clip[0]), rng)

    def _picture(self, people: list[Person], clip: int, rng: np.random.Generator) -> Picture:
        people = beside(people, rng, self.scenery.apart)
        framed = people[:1] if self.scenery.focus == "first" else people
        camera = view(np.concatenate([one.vertices for one in framed]), rng, self.scenery)
        if min(float(camera.project(one.vertices)[1].min()) for one in people) < _NEAREST:  # somebody stands where the camera is: rare
            return self._picture(people, clip, rng)
        return self.shot(people, camera, clip, rng)

    def shot(self, people: list[Person], camera: Camera, clip: int, rng: np.random.Generator) -> Picture:
        """People through a camera; clothes, light, background, boxes and noise are drawn."""
        size = self.scenery
        fine = camera.scaled(_FINE)
        height, width = _FINE * size.height, _FINE * size.width

        colours = [self._wardrobe.dress(rng, size.patterns) for _ in people]
        vertices, faces = [one.vertices for one in people], [self._faces] * len(people)
        if rng.random() < size.boxes:
            corners = box_before(people[rng.integers(len(people))], camera, rng)
            vertices, faces = [*vertices, corners], [*faces, BOX]
            colours.append(np.repeat(rng.random((6, 3)), 2, axis=0).astype(np.float32))
        owner = np.repeat(np.arange(len(faces)), [len(each) for each in faces])
        owner[owner >= len(people)] = _NOBODY
        part = np.concatenate([self._wardrobe.part] * len(people) + [np.zeros(len(owner), np.uint8)])[: len(owner)]
        start = np.cumsum([0, *(len(each) for each in vertices)])
        triangles = np.concatenate([each + begin for each, begin in zip(faces, start[:-1], strict=True)])
        points = np.concatenate(vertices)
        projected, depth = fine.project(points)
        buffers = rasterise(projected, depth, triangles, height, width)
        shows = buffers.face >= 0
        seen, which = np.unique(buffers.face[shows], return_inverse=True)
        canvas = background(rng, camera, size.height, size.width, size.backgrounds).repeat(_FINE, axis=0).repeat(_FINE, axis=1)
        canvas[shows] = lit(np.concatenate(colours)[seen], points, triangles[seen], rng)[which]
        image = photographed(canvas, rng, size.noise, size.blur)

        person = np.where(shows, owner[buffers.face], _NOBODY)
        keypoints, visible = np.zeros((size.people, self._count, 2), np.float32), np.zeros((size.people, self._count), np.uint8)
        box = np.zeros((size.people, 4), np.float32)
        for who, one in enumerate(people):
            keypoints[who], away = camera.project(one.keypoints)
            visible[who] = visibility(_FINE * keypoints[who], away, who, person, buffers.depth)
            own = slice(start[who], start[who + 1])
            box[who] = _bounds(projected[own] / _FINE, size.height, size.width)
        step = slice(_FINE // 2, None, _FINE)
        parts = np.where(person >= 0, part[buffers.face], 0).astype(np.uint8)
        return Picture(image, keypoints, visible, box, len(people), parts[step, step], (person + 1).astype(np.uint8)[step, step], clip)

    @property
    def _count(self) -> int:
        return len(layouts.points(LAYOUT))


def visibility(keypoints: Array, depth: Array, person: int, owner: NDArray[np.int64], surface: Array) -> NDArray[np.uint8]:
    """Which keypoints of a person a picture shows: `OUTSIDE`, `HIDDEN` or `SEEN`, (K,).

    Args:
        keypoints: (K, 2) px of the buffers.
        depth: how far away they are, (K,) m.
        person: who it is.
        owner: whom each pixel shows, (H, W); negative: nobody.
        surface: how far away what it shows is, (H, W) m, infinite where there is nothing.
    """
    height, width = owner.shape
    column, row = (np.floor(keypoints[:, axis]).astype(np.int64) for axis in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (depth > 0)
    column, row = column.clip(0, width - 1), row.clip(0, height - 1)
    hidden = (owner[row, column] != person) & (surface[row, column] < depth)
    return np.where(inside, np.where(hidden, HIDDEN, SEEN), OUTSIDE).astype(np.uint8)


def _places() -> tuple[dict[int, int], dict[int, int]]:
    """For keypoints that are joints the joint, for others the vertex."""
    joints, landmarks = {}, {}
    for place, name in enumerate(layouts.points(LAYOUT)):
        if name in JOINTS:
            joints[place] = JOINTS.index(name)
        else:
            landmarks[place] = SMPL_INDEX[name]
    return joints, landmarks


def view(points: Array, rng: np.random.Generator, size: Scenery) -> Camera:
    """A camera that frames points (N, 3) m as a scenery says."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = float(np.linalg.norm(points - middle, axis=1).max())
    elevation, roll = np.radians(rng.uniform(*size.elevation)), np.radians(rng.uniform(-size.roll, size.roll))
    camera = looking_at(middle, 2 * np.pi * rng.random(), float(elevation), reach + rng.uniform(*size.distance), float(roll))
    shift = rng.uniform(-size.shift, size.shift, 2)
    return camera.framed(points, size.height, size.width, float(rng.uniform(*size.fill)), (float(shift[0]), float(shift[1])))


def _bounds(points: NDArray[Any], height: int, width: int) -> Array:
    """The box around points, as far as it is in the picture: left, top, width, height."""
    size = np.array([width, height])
    low, high = points.min(axis=0).clip(0, size), points.max(axis=0).clip(0, size)
    return np.concatenate([low, high - low]).astype(np.float32)
