"""Hitting a target with a hand or a foot (Peng et al. 2018, section 5: strike)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.envs.imitation.deepmimic import CONTROL_RATE, DeepMimicVectorEnv, MotionSource
from mprl.envs.imitation.single import SingleWorld
from mprl.envs.imitation.tasks import GOAL_WEIGHT, Scene, Task
from mprl.errors import SettingError, unknown_name
from mprl.motion import MotionLibrary
from mprl.simulation.rendering import Marker

_LOOKS = 240  # moments of a clip at which its furthest reach is looked for
_OPEN, _HIT = (0.85, 0.15, 0.12, 0.6), (0.15, 0.7, 0.25, 0.6)  # colours


def strike_reward(distance: Tensor, hit: Tensor, scale: float = 4.0) -> Tensor:
    """1 once the target was hit, else exp(-4 ‖p_tar - p_e‖²) (DeepMimic, section 5), (W,) in (0, 1].

    Args:
        distance: from the target to the end effector, (W,) m. hit: (W,) bool. scale: 1/m².
    """
    return torch.where(hit, 1.0, torch.exp(-scale * distance.square()))


class Strike:
    """A target in front of the character, another one in each cycle; `tasks.Task`."""

    size = 4
    columns = ("hit", "target", "phase")
    steering = None

    def __init__(
        self, library: MotionLibrary, num_worlds: int, body: str | None, spread: Sequence[float], hit_radius: float, goal_weight: float
    ) -> None:
        device = library.durations.device
        self.weight, self._hit_radius = goal_weight, hit_radius
        self._spread = torch.tensor(spread, dtype=torch.float32, device=device)
        self._displacement = library.displacement
        character = library.character
        limbs = (body,) if body is not None else (*character.hands, *character.feet)
        self._body, self._phase, self._centre, self._reach = _furthest(library, [character.body_names.index(name) for name in limbs])
        self._place = torch.zeros(num_worlds, 3, device=device)
        self._hit = torch.zeros(num_worlds, dtype=torch.bool, device=device)
        self._cycle, self._number = (torch.zeros(num_worlds, dtype=torch.long, device=device) for _ in range(2))

    def reset(self, mask: Tensor, scene: Scene, random: torch.Generator) -> None:
        # a target met only after its strike is past is nobody's miss: it is number 0
        self._new(mask, scene, random, (scene.phase <= self._phase[scene.clip]).long())

    def _new(self, mask: Tensor, scene: Scene, random: torch.Generator, number: Tensor) -> None:
        uniform = torch.rand(3, len(mask), generator=random, device=random.device).to(mask.device)
        distance, height, angle = ((2 * uniform - 1) * self._spread.unsqueeze(-1)).unbind()
        reach = self._reach[scene.clip]  # from the root to the blow: distance, height, direction
        distance, height, angle = reach[:, 0] + distance, reach[:, 1] + height, reach[:, 2] + angle
        start = self._centre[scene.clip] + scene.cycle.unsqueeze(-1) * self._displacement[scene.clip] + scene.offset
        blow = torch.stack((distance * angle.cos(), distance * angle.sin(), height), dim=-1)
        self._place.copy_(torch.where(mask.unsqueeze(-1), start + blow, self._place))
        self._number.copy_(torch.where(mask, number, self._number))
        self._cycle.copy_(torch.where(mask, scene.cycle, self._cycle))
        self._hit.masked_fill_(mask, False)

    def _met(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Distance to the target, (W,) m, and whether it has been hit, (W,)."""
        limb = self._body[scene.clip][:, None, None].expand(-1, 1, 3)
        distance = torch.linalg.vector_norm(scene.bodies.gather(1, limb)[:, 0] - self._place, dim=-1)
        return distance, self._hit | (distance < self._hit_radius)

    def reward(self, scene: Scene) -> Tensor:
        return strike_reward(*self._met(scene))

    def advance(self, scene: Scene, random: torch.Generator) -> None:
        self._hit.copy_(self._met(scene)[1])
        self._new(scene.cycle > self._cycle, scene, random, self._number + 1)

    def observe(self, scene: Scene) -> Tensor:
        return torch.cat((scene.seen(self._place), self._hit.unsqueeze(-1).to(self._place.dtype)), dim=-1)

    def info(self, scene: Scene) -> dict[str, Tensor]:
        distance, hit = self._met(scene)
        return {"target_distance": distance, "hit": hit, "target": self._number.clone()}

    def state(self) -> dict[str, Tensor]:
        return {"place": self._place, "hit": self._hit, "cycle": self._cycle, "number": self._number}

    def summarise(self, columns: dict[str, NDArray[Any]], alive: NDArray[np.bool_], clip: NDArray[np.int64]) -> dict[str, float]:
        outcomes = []
        for episode, steps in enumerate(alive):
            fell_or_ended = not steps.all()
            for number in np.unique(columns["target"][episode][steps]):
                shown = steps & (columns["target"][episode] == number)
                hit = bool(columns["hit"][episode][shown].any())
                past = columns["phase"][episode][shown].max() > float(self._phase[clip[episode]])  # the last one may begin a cycle
                if number and (hit or past or fell_or_ended):
                    outcomes.append(hit)
        return {
            "goal_reward": float(columns["reward_goal"][alive].mean()),
            "targets": len(outcomes),
            "hit_rate": float(np.mean(outcomes)) if outcomes else math.nan,
        }

    def markers(self, scene: Scene, world: int) -> list[Marker]:
        """A ball as large as what counts as a hit, green once it is."""
        x, y, z = self._place[world].tolist()
        return [Marker("ball", (x, y, z), size=self._hit_radius, color=_HIT if bool(self._hit[world]) else _OPEN)]


def _furthest(library: MotionLibrary, limbs: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where each clip's blow lands: at the furthest reach of any limb from the root, along the floor.

    Returns:
        The limb (C,), its phase (C,), where the root then is along the floor (C, 3), and distance, height and direction from there (C, 3).
    """
    found = []
    for clip, duration in enumerate(library.durations.tolist()):
        phase = torch.arange(_LOOKS, device=library.durations.device) / _LOOKS
        reference = library.sample(torch.full((_LOOKS,), clip, device=phase.device), phase * duration)
        root = reference.root_position * reference.root_position.new_tensor([1.0, 1.0, 0.0])
        arms = reference.body_position[:, limbs] - root.unsqueeze(1)  # (looks, limbs, 3)
        reach = arms[..., :2].norm(dim=-1)
        when, which = divmod(int(reach.argmax()), len(limbs))
        x, y, z = arms[when, which].tolist()
        found.append((limbs[which], float(phase[when]), root[when].tolist(), [math.hypot(x, y), z, math.atan2(y, x)]))
    body, phases, centre, blow = zip(*found, strict=True)
    tensors = (torch.tensor(column, device=library.durations.device) for column in (body, phases, centre, blow))
    return tuple(tensors)  # type: ignore[return-value]


class DeepMimicStrikeVectorEnv(DeepMimicVectorEnv):
    """Many worlds of a humanoid that hits a target with a hand or a foot, in the style of a clip.

    Character, action, start and end of an episode and all other arguments are those of `mprl/DeepMimic-v0`
    (`DeepMimicVectorEnv`). What is added:

    ## Goal
    A target in the world, to be hit: to come within `hit_radius` of it with the limb that reaches furthest in the clip (or `body`). It
    lies where the clip's own blow lands, at the limb's furthest reach from the root, but moved at random, uniformly: nearer or
    further by `spread[0]` m, higher or lower by `spread[1]` m, and to either side by `spread[2]` rad about the root. In a clip
    that loops each cycle has a target of its own, placed from where the reference then is; one that ends has one target.

    ## Observation
    That of `mprl/DeepMimic-v0` and, at its end:

    | number | what |
    |---|---|
    | 0, 1, 2 | the target relative to the root, in the heading frame, m: ahead, to the left, up |
    | 3 | 1 if it has been hit, else 0 |

    ## Reward
    (1 - w) x the imitation reward + w r^G, with w = `goal_weight`; r^G is 1 once this cycle's target has been hit, until then
    exp(-4 ‖p_tar - p_e‖²) with the target's and the limb's position (DeepMimic, section 5). A step that ends in failure earns 0.

    ## Info
    Beside that of `mprl/DeepMimic-v0`, arrays (num_envs,): `reward_goal`; `target_distance` from the limb, m; `hit`; `target`, the
    number of the target in this episode, 0 for one whose strike was past when the episode began, which no evaluation counts.

    ## Evaluation
    `goal_reward`, its mean; `hit_rate`, the share of `targets` that were hit; one that a fall prevented counts as missed.

    Args:
        num_envs: number of worlds.
        motion: a clip with a blow, or a list of these.
        body: the body that must hit; by default the hand or foot that reaches furthest in each clip.
        spread: how far targets lie from the clip's own blow, at most: distance m, height m, direction rad.
        hit_radius: how near is a hit, m.
        goal_weight: w, the goal's share of the reward.
        settings: all other arguments of `DeepMimicVectorEnv`.

    ## Versions
    v0: first.
    """

    def __init__(
        self,
        num_envs: int = 1,
        motion: MotionSource | Sequence[MotionSource] = "punch",
        body: str | None = None,
        spread: tuple[float, float, float] = (0.1, 0.2, 0.4),
        hit_radius: float = 0.1,
        goal_weight: float = GOAL_WEIGHT,
        **settings: Any,
    ) -> None:
        if not (len(spread) == 3 and all(0 <= value < math.inf for value in spread) and spread[2] <= math.pi):
            raise SettingError(f"spread must be a distance, a height and an angle of at least 0, found {spread}")
        if not (0 < hit_radius < math.inf and 0 <= goal_weight <= 1):
            raise SettingError(f"hit_radius must be above 0 m and goal_weight in 0 to 1, found {hit_radius} and {goal_weight}")
        self._goal: dict[str, Any] = {"body": body, "spread": spread, "hit_radius": hit_radius, "goal_weight": goal_weight}
        super().__init__(num_envs, motion, **settings)
        self._settings |= self._goal

    def _make_task(self) -> Task:
        body, known = self._goal["body"], self.character.body_names
        if body is not None and body not in known:
            raise unknown_name("body", str(body), known, f"bodies of the {self.character.name}")
        return Strike(self.library, self.num_envs, **self._goal)


class DeepMimicStrikeEnv(SingleWorld):
    """One humanoid that hits a target with a hand or a foot: `DeepMimicStrikeVectorEnv` with one world.

    Goal, observation, reward, info and arguments: see there, less `num_envs`, `output` and `autoreset_mode`.
    """

    Batch = DeepMimicStrikeVectorEnv
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_RATE}  # noqa: RUF012
