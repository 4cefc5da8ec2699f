"""Walking in a commanded direction at a commanded speed (Peng et al. 2018, section 5: target heading)."""

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
from mprl.envs.imitation.steering import Steering
from mprl.envs.imitation.tasks import GOAL_WEIGHT, Scene, Task
from mprl.errors import SettingError
from mprl.motion import MotionLibrary
from mprl.simulation.rendering import Marker

# Steps later than this after a change of the command count as settled, s.
SETTLED = 2.0
TEMPO_RATE = 0.5  # 1/s


def heading_reward(velocity: Tensor, direction: Tensor, speed: Tensor, scale: float = 2.5) -> Tensor:
    """exp(-2.5 max(0, v* - v·d)²) (DeepMimic, section 5), (W,) in (0, 1].

    Args:
        velocity: of the centre of mass, (W, 2 or 3) m/s; its horizontal part counts.
        direction: unit vector d, (W, 2). speed: v*, (W,) m/s. scale: s²/m².
    """
    short = speed - (velocity[:, :2] * direction).sum(dim=-1)
    return torch.exp(-scale * short.clamp(min=0.0).square())


class Heading:
    """Commands of a direction and a speed that change from time to time; `tasks.Task`."""

    size = 3
    columns = ("heading_error", "speed_error", "command_age")

    def __init__(
        self, library: MotionLibrary, num_worlds: int, speed_range: Sequence[float], turn_range: float,
        hold: Sequence[float], turning_rate: float, goal_weight: float,
    ) -> None:  # fmt: skip
        device = library.durations.device
        path = library.displacement[:, :2]
        self._clip_speed = path.norm(dim=-1) / library.durations
        for clip, cyclic, speed in zip(library.clips, library.cyclic.tolist(), self._clip_speed.tolist(), strict=True):
            if not cyclic or speed < 0.1:
                raise SettingError(f"{clip.name}: a heading needs a clip that loops and goes somewhere, such as walk or run")
        self._clip_direction = torch.atan2(path[:, 1], path[:, 0])
        self.weight, self._speed_range, self._turn_range = goal_weight, speed_range, turn_range
        self._hold = [round(seconds * CONTROL_RATE) for seconds in hold]
        self.steering = Steering(num_worlds, 1.0 / CONTROL_RATE, turning_rate, TEMPO_RATE, device)
        self._heading, self._speed = torch.zeros(num_worlds, device=device), torch.ones(num_worlds, device=device)
        self._left, self._age = (torch.zeros(num_worlds, dtype=torch.long, device=device) for _ in range(2))

    @property
    def direction(self) -> Tensor:
        """d, (W, 2)."""
        return torch.stack((self._heading.cos(), self._heading.sin()), dim=-1)

    def reset(self, mask: Tensor, scene: Scene, random: torch.Generator) -> None:
        self.steering.reset(mask)
        self._heading.copy_(torch.where(mask, self._clip_direction[scene.clip], self._heading))
        self._command(mask, scene, random)

    def _command(self, mask: Tensor, scene: Scene, random: torch.Generator) -> None:
        uniform = torch.rand(3, len(mask), generator=random, device=random.device).to(mask.device)
        heading = self._heading + self._turn_range * (2 * uniform[0] - 1)
        low, high = self._speed_range
        tempo = low + (high - low) * uniform[1]
        shortest, longest = self._hold
        self._heading.copy_(torch.where(mask, heading, self._heading))
        self._speed.copy_(torch.where(mask, tempo * self._clip_speed[scene.clip], self._speed))
        self._left.copy_(torch.where(mask, (shortest + (longest - shortest + 1) * uniform[2]).long().clamp(max=longest), self._left))
        self._age.masked_fill_(mask, 0)
        self.steering.wanted_turn.copy_(self._heading - self._clip_direction[scene.clip])
        self.steering.wanted_tempo.copy_(self._speed / self._clip_speed[scene.clip])

    def reward(self, scene: Scene) -> Tensor:
        return heading_reward(scene.com_velocity, self.direction, self._speed)

    def advance(self, scene: Scene, random: torch.Generator) -> None:
        self._left -= 1
        self._age += 1
        self._command(self._left <= 0, scene, random)

    def observe(self, scene: Scene) -> Tensor:
        forward, sideways = scene.direction, torch.stack((-scene.direction[:, 1], scene.direction[:, 0]), dim=-1)
        d = self.direction
        return torch.stack(((d * forward).sum(-1), (d * sideways).sum(-1), self._speed), dim=-1)

    def info(self, scene: Scene) -> dict[str, Tensor]:
        d, v = self.direction, scene.com_velocity
        along, across = (v[:, :2] * d).sum(-1), v[:, 1] * d[:, 0] - v[:, 0] * d[:, 1]
        return {
            "heading_error": torch.atan2(across, along).abs(),
            "speed_error": along - self._speed,
            "command_age": (self._age + 1) / CONTROL_RATE,
        }

    def state(self) -> dict[str, Tensor]:
        return {"heading": self._heading, "speed": self._speed, "left": self._left, "age": self._age, **self.steering.state()}

    def summarise(self, columns: dict[str, NDArray[Any]], alive: NDArray[np.bool_], clip: NDArray[np.int64]) -> dict[str, float]:
        settled = alive & (columns["command_age"] >= SETTLED)
        return {
            "goal_reward": float(columns["reward_goal"][alive].mean()),
            "heading_error_deg": float(np.degrees(columns["heading_error"][alive].mean())),
            "heading_error_settled_deg": float(np.degrees(columns["heading_error"][settled].mean())) if settled.any() else math.nan,
            "speed_error_settled": float(np.abs(columns["speed_error"][settled]).mean()) if settled.any() else math.nan,
        }

    def markers(self, scene: Scene, world: int) -> list[Marker]:
        """An arrow on the floor, as long as the character should go in a second."""
        start = scene.root_position[world].tolist()[:2]
        d = (self.direction[world] * self._speed[world]).tolist()
        return [Marker("arrow", (start[0], start[1], 0.03), (start[0] + d[0], start[1] + d[1], 0.03), 0.03, (0.1, 0.7, 0.3, 1.0))]


class DeepMimicHeadingVectorEnv(DeepMimicVectorEnv):
    """Many worlds of a humanoid that walks in a commanded direction at a commanded speed, in the style of a clip.

    Character, action, start and end of an episode and all other arguments are those of `mprl/DeepMimic-v0`
    (`DeepMimicVectorEnv`). What is added:

    ## Goal
    A direction d and a speed v*. An episode begins with a command within `turn_range` of the clip's own direction and
    `speed_range` times the clip's own speed. After a time in `hold` a new one follows: a direction within `turn_range` of the last
    one, and a speed in the same range. So directions and speeds are uniform over their ranges, and every turn is one that can be made.

    ## Reference
    It is steered: turned about its own root towards the command at `turning_rate` at most, the shorter way, and played faster
    or slower (by at most .5 a second) so that it covers the ground at the commanded speed. So every imitation term means what it
    means without a command, and exact imitation, once the reference has turned, meets the goal. (The paper instead trains on
    clips of turning walks; a straight walk that is only re-synchronised to wherever the character goes would pay for walking
    anywhere.) The shown target frames turn with it.

    ## Observation
    That of `mprl/DeepMimic-v0` and, at its end:

    | number | what |
    |---|---|
    | 0, 1 | the commanded direction in the heading frame: cosine and sine of the angle from the character's heading to d, to the left positive |
    | 2 | the commanded speed v*, m/s |

    ## Reward
    (1 - w) x the imitation reward + w exp(-2.5 max(0, v* - v·d)²), with w = `goal_weight` and v the horizontal velocity of the centre of
    mass (DeepMimic, section 5). A step that ends in failure earns 0.

    ## Info
    Beside that of `mprl/DeepMimic-v0`, arrays (num_envs,): `reward_goal`; `heading_error`, the angle between v and d, rad;
    `speed_error`, v·d - v*, m/s; `command_age`, since the command last changed, s.

    ## Evaluation
    `goal_reward`, its mean; `heading_error_deg`, the mean over all steps, turns included; `heading_error_settled_deg` and
    `speed_error_settled` (mean of its absolute value, m/s), over steps more than 2 s after a change of the command.

    Args:
        num_envs: number of worlds.
        motion: a looping clip that goes somewhere, or a list of these.
        speed_range: slowest and fastest command, as multiples of the clip's own speed.
        turn_range: how far a new command may turn, to either side, rad.
        hold: shortest and longest time that a command holds, s.
        turning_rate: how fast the reference turns at most, rad/s.
        goal_weight: w, the goal's share of the reward.
        settings: all other arguments of `DeepMimicVectorEnv`.

    ## Versions
    v0: first.
    """  # noqa: E501

    def __init__(
        self,
        num_envs: int = 1,
        motion: MotionSource | Sequence[MotionSource] = "walk",
        speed_range: tuple[float, float] = (0.75, 1.25),
        turn_range: float = 0.5 * math.pi,
        hold: tuple[float, float] = (2.0, 5.0),
        turning_rate: float = 1.0,
        goal_weight: float = GOAL_WEIGHT,
        **settings: Any,
    ) -> None:
        if not (len(speed_range) == 2 and 0 < speed_range[0] <= speed_range[1] < math.inf):
            raise SettingError(f"speed_range must be two rising multiples above 0, found {speed_range}")
        if not (len(hold) == 2 and 1.0 / CONTROL_RATE <= hold[0] <= hold[1] < math.inf):
            raise SettingError(f"hold must be two rising times of at least {1 / CONTROL_RATE:.3f} s, found {hold}")
        if not (0 <= turn_range <= math.pi and 0 < turning_rate < math.inf and 0 <= goal_weight <= 1):
            found = f"turn_range={turn_range}, turning_rate={turning_rate}, goal_weight={goal_weight}"
            raise SettingError(f"turn_range must be in 0 to pi, turning_rate above 0 and goal_weight in 0 to 1, found {found}")
        goal = {"speed_range": speed_range, "turn_range": turn_range, "hold": hold}
        self._goal: dict[str, Any] = {**goal, "turning_rate": turning_rate, "goal_weight": goal_weight}
        super().__init__(num_envs, motion, **settings)
        self._settings |= self._goal

    def _make_task(self) -> Task:
        return Heading(self.library, self.num_envs, **self._goal)


class DeepMimicHeadingEnv(SingleWorld):
    """One humanoid that walks in a commanded direction at a commanded speed: `DeepMimicHeadingVectorEnv` with one world.

    Goal, reference, observation, reward, info and arguments: see there, less `num_envs`, `output` and `autoreset_mode`.
    """

    Batch = DeepMimicHeadingVectorEnv
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_RATE}  # noqa: RUF012
