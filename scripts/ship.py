"""`python -m mprl.scripts.ship RUN NAME`: a run's agent among those that ship with the package, with its card. For developers."""

from __future__ import annotations

import csv
import dataclasses
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from mprl.errors import MprlError, SettingError, unknown_name
from mprl.scripts.evaluate import OF_TRAINING, environment, write_json
from mprl.scripts.options import parse

LEAST = 0.7  # normalised return of an agent that ships
MOST_BYTES = 1_000_000
LEFT_OUT = ("model.critic",)  # only learning needs it
_SMALL = "model.actor."  # half precision is enough for it


@dataclass(frozen=True)
class Options:
    """Put a run's agent among those that ship: its policy in half precision, its settings, and a card with what it reaches."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """run folder of a PPO agent, or its best/"""
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """what it will be called"""
    motion: Annotated[str | None, tyro.conf.arg(metavar="CLIP", help_behavior_hint="")] = None
    """the shipped clip that it follows, where the run names a file"""
    without: tuple[str, ...] = ()
    """arguments of the environment that only training had: pushes, say"""
    machine: str = ""
    """where it was trained; by default this machine"""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="")] = None
    """how long it was trained; by default as metrics.csv says"""
    episodes: int = 32
    """per seed"""
    seeds: int = 3
    """of the starts that it is measured from"""


def main(argv: Sequence[str]) -> int:
    """Run it."""
    options = parse(Options, "python -m mprl.scripts.ship", argv)
    from mprl.agents import shipped

    folder = shipped.TRAINED / options.name
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / options.name
        content = ship(options, made)
        shutil.copytree(made, folder, dirs_exist_ok=True)  # only now, with all that can be wrong behind us
    size = (folder / "weights.safetensors").stat().st_size
    print(f"wrote {folder}: normalised return {content['normalized_return']:.3f}, {size / 1000:.0f} kB")
    return 0


def ship(options: Options, folder: Path) -> dict[str, Any]:
    """Write the folder and measure what is in it; returns the card.

    Raises:
        SettingError: it is too large, or reaches too little.
    """
    from mprl.agents import checkpoints, evaluate, load_agent
    from mprl.agents.shipped import CARD
    from mprl.scripts.benchmarks import report

    config, weights = checkpoints.read(options.run)
    learned = {key: value for key, value in config["env_kwargs"].items() if key not in (*OF_TRAINING, "num_threads")}
    learned |= {} if options.motion is None else {"motion": options.motion}
    for name in options.without:
        if name not in learned:
            raise unknown_name("argument", name, learned, "of this run's environment")
    kwargs = {key: value for key, value in learned.items() if key not in options.without}
    config |= {"env_kwargs": kwargs, "left_out": list(LEFT_OUT)}
    checkpoints.write(folder, config, policy(weights))
    size = (folder / checkpoints.WEIGHTS).stat().st_size
    if size > MOST_BYTES:
        raise SettingError(f"{options.run}: expected weights of at most {MOST_BYTES:,} bytes, found {size:,}")
    env = environment(config, options.episodes)
    agent = load_agent(folder, env, training=False)
    found = [evaluate(agent, env, options.episodes, seed) for seed in range(options.seeds)]
    mean = {key: sum(one[key] for one in found) / len(found) for key in ("normalized_return", "success_rate", "mpjpe_local_mm")}
    if mean["normalized_return"] < LEAST:
        raise SettingError(f"{options.run}: expected a normalised return of at least {LEAST}, found {mean['normalized_return']:.3f}")
    content = {
        "format": "mprl-card",
        "version": 1,
        "name": options.name,
        "clip": kwargs.get("motion", "walk"),
        **{key: round(value, 3) for key, value in mean.items()},
        "normalized_return_of_each_seed": [round(one["normalized_return"], 3) for one in found],
        "episodes": options.episodes * options.seeds,
        "samples": config["num_timesteps"],
        "minutes": options.minutes if options.minutes is not None else minutes(options.run, config["num_timesteps"]),
        "machine": options.machine or ", ".join(report.machine().values()),
        "commit": commit(),
        "versions": report.versions(),
        "command": command({**config, "env_kwargs": learned}),
        "licence": "Apache-2.0, like the clip and the code",
    }
    write_json(folder / CARD, content)
    return content


def policy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What acts, of the weights of a policy-gradient agent."""
    kept = {key: value for key, value in weights.items() if not key.startswith(tuple(f"{part}." for part in LEFT_OUT))}
    return {key: value.to(torch.float16) if key.startswith(_SMALL) else value for key, value in kept.items()}


def minutes(run: Path, samples: int) -> float | None:
    """Of training, until so many samples; None where the run does not tell."""
    path = next((place / "metrics.csv" for place in (run, run.parent) if (place / "metrics.csv").is_file()), None)
    if path is None:
        return None
    with path.open(newline="", encoding="utf-8") as file:
        spent = [float(row["time_elapsed"]) for row in csv.DictReader(file) if float(row["timesteps"]) <= samples]
    return round(max(spent, default=0.0) / 60, 1)


def commit() -> str:
    """Of the code that it was measured with."""
    here = Path(__file__).parent
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


def command(config: Mapping[str, Any]) -> str:
    """The command line that trains such an agent anew."""
    from mprl.agents import find_agent

    kind = find_agent(config["agent"])
    usual = dataclasses.asdict(kind.Settings(**kind.presets(config["env_id"])))
    words = ["mprl", "train", config["env_id"], "--agent", config["agent"], "--steps", str(config["num_timesteps"])]
    words += ["--seed", str(config["seed"]), "--num-envs", str(config["num_envs"])]
    words += ["--begin-from", config["begun_from"]] if "begun_from" in config else []
    words += _flags("env", config["env_kwargs"])
    words += _flags("agent", {key: value for key, value in config["settings"].items() if value != _plain(usual.get(key))})
    return " ".join(words)


def _flags(prefix: str, values: Mapping[str, Any]) -> list[str]:
    found = []
    for key, value in values.items():
        many = value if isinstance(value, list) else [value]
        found += [f"--{prefix}.{key.replace('_', '-')}", *(shlex.quote(str(each)) for each in many)] if many else []
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MprlError as error:
        sys.exit(f"mprl: {error}")
