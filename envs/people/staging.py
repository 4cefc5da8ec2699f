"""Where people stand, and boxes before them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mprl.envs.people.camera import Camera

Array = NDArray[np.float32]

_CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
BOX = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # outwards counter-clockwise


class Person(NamedTuple):
    """Vertices (V, 3) and keypoints (K, 3) of a body in the world, m."""

    vertices: Array
    keypoints: Array


def grounded(person: Person) -> Person:
    """At the origin, the lowest point on the floor."""
    middle, low = person.vertices[:, :2].mean(axis=0), person.vertices[:, 2].min()
    return Person(*(points - np.array([*middle, low], np.float32) for points in person))


def beside(people: list[Person], rng: np.random.Generator, apart: tuple[float, float]) -> list[Person]:
    """People beside one another on the floor, each turned anyhow."""
    spots, placed = [np.zeros(2)], []
    for _ in people[1:]:
        turn = 2 * np.pi * rng.random()
        spots.append(spots[-1] + rng.uniform(*apart) * np.array([np.cos(turn), np.sin(turn)]))
    for one, spot in zip(people, spots, strict=True):
        turned = _turn(rng)
        offset = np.array([*spot, 0], np.float32)
        placed.append(Person(*(points @ turned.T + offset for points in one)))
    return placed


def box_before(person: Person, camera: Camera, rng: np.random.Generator) -> Array:
    """Corners (8, 3) m of a box between the camera and a part of somebody."""
    target = person.keypoints[rng.integers(len(person.keypoints))]
    at = target + rng.uniform(0.2, 0.5) * (camera.position - target)
    turned = _turn(rng)
    return (_CUBE * rng.uniform(0.08, 0.4, 3).astype(np.float32)) @ turned.T + at.astype(np.float32)


def _turn(rng: np.random.Generator) -> Array:
    """A rotation about the vertical, (3, 3)."""
    angle = 2 * np.pi * rng.random()
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
