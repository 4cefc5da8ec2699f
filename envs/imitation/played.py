"""A policy at play: one world a control step at a time, to be watched and pushed, and a rollout of it as a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from mprl.envs.imitation.metrics import Policy
from mprl.envs.imitation.terrain import Terrain
from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.viewing.meshes import BODY, Mesh, rigid
from mprl.motion.viewing.puppet import Puppet, puppet_of
from mprl.motion.viewing.scene import Actor, Curve, Scene, head_room
from mprl.motion.viewing.shapes import Triangles, capsule, joined, revolved
from mprl.simulation.rendering import Marker

Array = NDArray[np.float64]

COLOR, GHOST, GROUND = (104, 143, 199), (232, 150, 70), (176, 178, 160)
LINGER = 1.0  # s that a fall is watched for
_ENDS = {
    "terminated_diverged": "the physics broke down",
    "terminated_contact": "fell",
    "terminated_tracking": "lost the reference",
    "truncated_clip_end": "end of the clip",
    "truncated_edge": "end of the terrain",
    "truncated_time": "time is up",
}


@dataclass(frozen=True)
class Moment:
    """What there is to see after a control step.

    Attributes:
        qpos: of the character, (nq,). ghost: of its reference.
        markers: of the task.
        terms: numbers by name: the reward and its terms, in [0, 1], and the tracking error, m. Empty at the start of an episode.
        ended: how the episode ended in this step, or "".
    """

    qpos: Array
    ghost: Array
    markers: Sequence[Marker]
    terms: dict[str, float]
    ended: str = ""


class Played:
    """One world of an imitation environment and who acts in it.

    Args:
        like: a `DeepMimicVectorEnv`, whose settings the world has; the reference may be lost, as in evaluations.
        policy: observations (1, n) -> actions (1, nu), torch.
        seed: of the episodes.
    """

    def __init__(self, like: Any, policy: Policy, seed: int = 0) -> None:
        changes = {"num_envs": 1, "output": "torch", "autoreset_mode": AutoresetMode.DISABLED, "render_mode": None}
        changes |= {"tracking_termination": None, "motion": like.library.clips, "device": "cpu", "backend": "auto"}
        self.envs = type(like)(**{**like._settings, **changes})
        self.policy, self._seed, self._episode = policy, seed, 0
        self.puppet = puppet_of(self._body(), COLOR)

    def _body(self) -> Any:
        bodies = self.envs.bodies
        return bodies.character if not bodies.others else bodies.others[int(bodies.which[0])]

    @property
    def name(self) -> str:
        """Of the clip that is followed."""
        return str(self.envs.library.clips[int(self.envs._clip[0])].name)

    @property
    def control_step(self) -> float:
        """Seconds."""
        return float(self.envs.control_step)

    def reset(self) -> Moment:
        """Begin the next episode, at the beginning of the next clip."""
        clip = self._episode % len(self.envs.library)
        seed = self._seed if self._episode == 0 else None
        self._observation, _ = self.envs.reset(seed=seed, options={"phase": 0.0, "clip": clip})
        getattr(self.policy, "reset", lambda: None)()  # where it has a memory
        self._episode += 1
        return self._moment({}, "")

    def step(self) -> Moment:
        """Act once. After the end of an episode it goes on as if there had been none: a fall can be watched."""
        self._observation, reward, _, _, info = self.envs.step(self.policy(self._observation))
        terms = {"reward": float(reward[0])}
        terms |= {_called(key): float(info[key][0]) for key in info if key.startswith("reward_")}
        terms["tracking error, m"] = float(info["tracking_error"][0])
        ended = next((text for key, text in _ENDS.items() if key in info and bool(info[key][0])), "")
        return self._moment(terms, ended)

    def push(self, part: int, force: Sequence[float]) -> None:
        """Push a part of the puppet with a force, (3,) N in the world, until it is told otherwise or a new episode begins."""
        body = int(self.puppet.bodies[part])
        self.envs.simulation.apply_force(body, torch.tensor([force], dtype=torch.float64))

    def _moment(self, terms: dict[str, float], ended: str) -> Moment:
        qpos, ghost = (values[0].double().numpy(force=True).copy() for values in (self.envs._qpos, self.envs.reference_qpos()))
        return Moment(qpos, ghost, self.envs.markers(0), terms, ended)

    def close(self) -> None:
        """Free the world."""
        self.envs.close()


def _called(key: str) -> str:
    name = key.removeprefix("reward_").replace("_", " ")
    return "centre of mass" if name == "com" else name


def record(played: Played, seconds: float) -> list[Moment]:
    """An episode from its beginning, for so long at most; a fall with what follows."""
    moments, rest = [played.reset()], round(seconds / played.control_step)
    while rest > 0:
        moments.append(played.step())
        rest -= 1
        if moments[-1].ended and not any(moment.ended for moment in moments[:-1]):
            rest = min(rest, round(LINGER / played.control_step))
    if len(moments) < 2:
        raise SettingError(f"expected at least one control step of {played.control_step:.3f} s, found {seconds:g} s")
    return moments


def scene_of(played: Played, moments: Sequence[Moment], name: str) -> Scene:
    """A rollout as a scene: the character, its reference as a ghost, what belongs to the task, and the reward over time."""
    rate = 1.0 / played.control_step
    character = _actor(name, rate, played.puppet, [moment.qpos for moment in moments], "character")
    ghost = _actor("reference", rate, played.puppet.coloured(GHOST), [moment.ghost for moment in moments], "ghost")
    things = marker_actors(rate, [moment.markers for moment in moments]) + ground_actors(played, character.positions[:, 0])
    names = list(dict.fromkeys(key for moment in moments for key in moment.terms))
    curves = [Curve(key, np.array([moment.terms.get(key, np.nan) for moment in moments])) for key in names]
    return Scene((character, ghost, *things), tuple(curves))


def _actor(name: str, rate: float, puppet: Puppet, qpos: Sequence[Array], role: str) -> Actor:
    positions, rotations = puppet.poses(np.stack(qpos))
    turned = rot.continuous(torch.as_tensor(rotations)).numpy()
    room = head_room(puppet.meshes[0], positions, turned)
    return Actor(name, rate, False, np.zeros(3), positions, turned, puppet.meshes, room, role)


def marker_actors(rate: float, moments: Sequence[Sequence[Marker]]) -> list[Actor]:
    """What belongs to the task, each one actor; an arrow keeps the length that it has at first."""
    found = []
    for number, first in enumerate(moments[0]):
        placed = [marker_pose(moment[number]) for moment in moments]
        positions, rotations = (np.stack(values)[:, None] for values in zip(*placed, strict=True))
        found.append(Actor("", rate, False, np.zeros(3), positions, rotations, (marker_mesh(first),), role="thing"))
    return found


def marker_mesh(marker: Marker) -> Mesh:
    """A ball, or an arrow along z, about its position."""
    color = tuple(round(255 * channel) for channel in marker.color[:3])
    if marker.kind == "ball":
        shape = capsule(marker.size, 0.0)
    else:
        length = float(np.linalg.norm(np.subtract(marker.end, marker.position)))
        half, head = marker.size, min(4 * marker.size, length / 2)
        profile = [(0, 0), (half, 0), (half, 0), (half, length - head), (half, length - head), (2.5 * half, length - head)]
        shape = revolved([*profile, (2.5 * half, length - head), (0, length)])
    return rigid(BODY, color, [(0, shape)], 1)  # type: ignore[arg-type]


def marker_pose(marker: Marker) -> tuple[Array, Array]:
    """Where it is, (3,) m, and how it is turned, (4,) wxyz."""
    turn = np.array([1.0, 0.0, 0.0, 0.0])
    if marker.kind != "ball":
        along = np.subtract(marker.end, marker.position)
        length = float(np.linalg.norm(along))
        mujoco.mju_quatZ2Vec(turn, along / length if length > 0 else np.array([1.0, 0.0, 0.0]))
    return np.asarray(marker.position, dtype=np.float64), turn


def ground_actors(played: Played, path: Array | None = None) -> list[Actor]:
    """The terrain, around a path (T, 3) m or all of it; none where the floor is level."""
    terrain: Terrain | None = played.envs.terrain
    if terrain is None:
        return []
    low, high = (None, None) if path is None else (path[:, :2].min(axis=0) - 6.0, path[:, :2].max(axis=0) + 6.0)
    mesh = rigid(BODY, GROUND, [(0, surface(terrain, low, high))], 1)
    still = np.tile(np.array([1.0, 0.0, 0.0, 0.0]), (2, 1, 1))
    return [Actor("", 1.0, False, np.zeros(3), np.zeros((2, 1, 3)), still, (mesh,), role="thing")]


def surface(terrain: Terrain, low: Array | None, high: Array | None) -> Triangles:
    """A terrain's surface between two corners, (2,) m each; edges are sharp, so that each triangle has vertices of its own."""
    rows, columns = terrain.heights.shape
    x, y = terrain.cell[0] * np.arange(columns), terrain.cell[1] * np.arange(rows)
    along = slice(None) if low is None or high is None else slice(*np.searchsorted(x, (low[0], high[0])))
    across = slice(None) if low is None or high is None else slice(*np.searchsorted(y, (low[1], high[1])))
    heights, (xs, ys) = np.asarray(terrain.heights, float)[across, along], np.meshgrid(x[along], y[across])
    points = np.stack((xs, ys, heights), axis=-1)
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    corners = np.stack((a, b, c, a, c, d), axis=-2).reshape(-1, 3)
    return joined([Triangles(corners, np.arange(len(corners)).reshape(-1, 3))])
