"""The humanoid that sees: how well a trained policy does when its own state is noisy, late, felt by sensors, or seen by cameras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mprl.envs.imitation import metrics
from mprl.envs.imitation.felt import PARTS, Felt
from mprl.envs.imitation.layout import CONTROL_RATE
from mprl.envs.imitation.perceived import Ahead, Late, Noise, Noisy, Perceive, PerceivedVectorEnv
from mprl.envs.imitation.rendered_detector import LAYOUT, RenderedDetector
from mprl.envs.imitation.seen import PARTS as SEEN
from mprl.envs.imitation.seen import NoisyDetector, Seen, on_rails
from mprl.errors import CheckpointError
from mprl.motion import SmplCharacter
from mprl.motion.characters.character import Character
from mprl.perception.plug import Perception
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview

ENV_ID = "mprl/DeepMimic-v0"
TRUE = "true state"
# standard deviations in each control step anew: rad, m, rad/s, m/s
LEVELS = {
    "noise of 1°, 1 cm": Noise(0.0175, 0.01, 0.2, 0.05),
    "noise of 3°, 3 cm": Noise(0.0524, 0.03, 0.6, 0.15),
    "noise of 6°, 6 cm": Noise(0.1047, 0.06, 1.2, 0.3),
}
LATENCIES = (1, 2, 3)  # control steps of 33 ms
PIXELS = 2.0  # of noise, of pictures 480 px high; a tenth of the keypoints are missed too
_DETECTOR = 0.02  # deviation of a trained model's keypoints, of the picture's height
SENSORS = "six inertial sensors"


class Found(NamedTuple):
    """Of a way to perceive: normalised return, share of falls, mean length of an episode, s, and position error, mm."""

    normalized_return: float
    falls: float
    seconds: float
    error: float


def ways(character: Character, eyes: Perception | None = None) -> dict[str, Callable[[], list[Perceive]]]:
    """Ways to perceive, by name; sensors tell the pose of the SMPL body only."""
    found: dict[str, Callable[[], list[Perceive]]] = {TRUE: list}
    found |= {name: lambda noise=noise: [Noisy(noise, character)] for name, noise in LEVELS.items()}  # type: ignore[misc]
    found |= {f"{steps * 33} ms late": lambda steps=steps: [Late(steps)] for steps in LATENCIES}  # type: ignore[misc]
    found |= {f"{steps * 33} ms late, carried on": lambda steps=steps: [Late(steps), Ahead(steps, character)] for steps in LATENCIES}  # type: ignore[misc]
    name, noise = next(iter(LEVELS.items()))
    found[f"{name}, 33 ms late"] = lambda: [Noisy(noise, character), Late(1)]
    if isinstance(character, SmplCharacter):
        found |= keypoints(character, eyes)
        found |= {f"{SENSORS}: {part}": lambda part=part: [Felt(character, (part,))] for part in PARTS}  # type: ignore[misc]
        found[f"{SENSORS}: all"] = lambda: [Felt(character)]
    return found


def keypoints(character: SmplCharacter, eyes: Perception | None) -> dict[str, Callable[[], list[Perceive]]]:
    """Keypoints lifted to a pose: with noise, or as a model of 2-D pose, if there is one, detects them in pictures."""
    two = f"keypoints of two cameras, {PIXELS:g} px"
    found: dict[str, Callable[[], list[Perceive]]] = {
        f"{two}: {part}": lambda part=part: [Seen(character, detect=NoisyDetector(PIXELS), tells=(part,))]  # type: ignore[misc]
        for part in SEEN
    }
    found[f"{two}: all"] = lambda: [Seen(character, detect=NoisyDetector(PIXELS))]
    found["keypoints of two cameras, 10 px: all"] = lambda: [Seen(character, detect=NoisyDetector(10.0), deviation=10.0)]
    found[f"keypoints of one camera, {PIXELS:g} px: all"] = lambda: [Seen(character, 1, NoisyDetector(PIXELS))]
    found[f"{two}: all, 33 ms late"] = lambda: [Seen(character, detect=NoisyDetector(PIXELS)), Late(1)]
    if eyes is not None:
        found["detected in pictures of two cameras: all"] = lambda: [detected(character, eyes)]
    return found


def detected(character: SmplCharacter, eyes: Perception) -> Seen:
    """What a model of 2-D pose finds in pictures that are drawn as the character moves."""
    size = 160, 120
    filmed = RenderedDetector(eyes, on_rails(2, size), size, torch.tensor(character.betas, dtype=torch.float32))
    return Seen(character, 2, filmed, _DETECTOR * size[1], LAYOUT, size)


def measure(folder: Path, episodes: int, seconds: float, eyes: Path | None = None) -> Measured:
    """All figures of `mprl benchmark seeing`.

    Args:
        folder: run folder of a policy that imitates a motion.
        episodes: of each way to perceive.
        seconds: of an episode at most.
        eyes: folder of a model of 2-D pose (`mprl pose train`); without it nothing is detected in pictures.

    Raises:
        CheckpointError: no such folder, or an agent of another environment.
    """
    from mprl.agents import load_agent
    from mprl.agents.checkpoints import read_config
    from mprl.scripts.evaluate import environment, settings_of

    config = read_config(folder)
    model = Perception.load(eyes) if eyes is not None else None  # said now, and not after minutes, if there is none
    if config["env_id"] != ENV_ID:
        raise CheckpointError(f"{folder}: an agent of {config['env_id']}; expected one of {ENV_ID}")
    env = environment(config, 1, output="torch")
    agent, character = load_agent(folder, env, training=False), env.unwrapped.character
    env.close()
    changes = {"num_envs": episodes, "output": "torch", "tracking_termination": None, "num_threads": torch.get_num_threads()}
    changes |= {"max_episode_steps": round(seconds * CONTROL_RATE)}
    found = {}
    for name, make in ways(character, model).items():
        found[name] = judge(agent, PerceivedVectorEnv(perceive=make(), **{**settings_of(config), **changes}))
    rows = [(name, f"{of.normalized_return:.3f}", f"{of.falls:.0%}", f"{of.seconds:.1f}", f"{of.error:.0f}") for name, of in found.items()]
    columns = ("the policy acts on", "normalised return", "falls", "lasts, s", "error, mm")
    settings = {"agent": str(folder), "episodes": episodes, "seconds": seconds}
    return Measured(figures(found), settings, Overview(columns, rows))


def figures(found: Mapping[str, Found]) -> list[Figure]:
    """The return of each way to perceive, beside that of the true state."""
    limit = found[TRUE].normalized_return
    return [
        Figure(name.replace(" ", "_"), name, "normalised return", of.normalized_return, limit=limit, against="limit acts on the true state")
        for name, of in found.items()
    ]


def judge(agent: Any, env: PerceivedVectorEnv) -> Found:
    """Deterministic episodes, judged by the true state."""
    from mprl.agents.evaluation import Player

    found = metrics.summarise(metrics.record(env, Player(agent, agent._make_batch(env).observation), seed=0), CONTROL_RATE)
    env.close()
    return Found(found["normalized_return"], found["fall_rate"], found["seconds_mean"], found["mpjpe_local_mm"])
