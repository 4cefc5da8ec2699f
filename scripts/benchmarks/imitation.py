"""How well motions are imitated after some minutes from scratch: several seeds, one run folder each, finished ones read back."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mprl.errors import CheckpointError, SettingError
from mprl.scripts import evaluate, train
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure

EPISODES = 32
RESULT = "benchmark.json"

# Peng et al. 2018, table 2 (arXiv 1804.02717): normalised return, and the samples it took, in millions.
PAPER = {
    "walk": (0.985, 61), "run": (0.951, 53), "jog": (0.951, 51), "jump": (0.947, 86), "backflip": (0.729, 72), "sideflip": (0.805, 64),
    "cartwheel": (0.804, 51), "spinkick": (0.748, 67), "roll": (0.735, 81), "spin": (0.664, 191), "kick": (0.854, 50),
    "punch": (0.812, 60), "crawl": (0.932, 68), "dance_a": (0.863, 67), "dance_b": (0.822, 79), "getup_facedown": (0.885, 49),
    "getup_faceup": (0.838, 66),
}  # fmt: skip
# Our prototype before this package: walk, 15 minutes on one core, 5.2 M samples; position error relative to the root, mm.
PROTOTYPE_ERROR_MM = {"walk": 29.0}
# What walk has to reach in 15 minutes on 2 cores.
TARGETS = {"walk": {"normalized_return": 0.97, "success_rate": 0.99, "mpjpe_local_mm": 25.0}}

KEPT = (
    "normalized_return", "normalized_return_paper", "normalized_return_without_sync", "success_rate", "lasts_10_s_rate",
    "lasts_20_s_rate", "mpjpe_local_mm", "mpjpe_global_mm", "samples_millions", "minutes",
)  # fmt: skip


def measure(motions: Sequence[str], seeds: int, minutes: float, threads: int, out: Path) -> Measured:
    """All figures of `mprl benchmark imitation`.

    Args:
        motions: names or files of clips.
        seeds: runs of each, with seeds 0, 1, ...
        minutes: of training in each run, without the evaluation.
        threads: of the simulation and of torch.
        out: where the run folders are; what is finished there is not run again.

    Raises:
        MprlError: an unknown motion, or a run in `out` that was made with other settings.
        KeyboardInterrupt: a run was stopped; those before it are kept.
    """
    figures: list[Figure] = []
    for motion in motions:
        results = [run(motion, seed, minutes, threads, out / f"{clip_name(motion)}-seed{seed}") for seed in range(seeds)]
        figures += summarise(clip_name(motion), results)
    about = {"seeds": seeds, "minutes": minutes, "threads": threads, "episodes": EPISODES}
    return Measured(figures, {"motions": " ".join(Path(motion).name for motion in motions), **about})


def run(motion: str, seed: int, minutes: float, threads: int, folder: Path) -> dict[str, float]:
    """One training run and its evaluation; read back where it was finished before."""
    asked = {"motion": Path(motion).name, "seed": seed, "minutes": minutes, "threads": threads}
    path = folder / RESULT
    if path.exists():
        return _read(path, asked)
    for name in ("metrics.csv", *(found.name for found in folder.glob("events.*"))):  # of a run that was stopped
        (folder / name).unlink(missing_ok=True)
    words = ["mprl/DeepMimic-v0", "--agent", "ppo", "--env.motion", motion, "--env.num-threads", str(threads)]
    options = train.read([*words, "--minutes", str(minutes), "--seed", str(seed)])
    print(f"{clip_name(motion)}, seed {seed}: {minutes:g} minutes, in {folder}")
    agent = train.make_agent(options)
    began = time.perf_counter()
    if train.train(agent, folder, *train.budget(options)):
        raise KeyboardInterrupt
    elapsed = time.perf_counter() - began
    found = evaluate.evaluate_folder(folder, EPISODES)
    evaluate.write_json(folder / "evaluation.json", found)
    more = {"lasts_20_s_rate": 1.0 - found["fall_rate"], "samples_millions": agent.num_timesteps / 1e6, "minutes": elapsed / 60}
    figures = {key: float((found | more)[key]) for key in KEPT}
    evaluate.write_json(path, {"asked": asked, "figures": figures})
    return figures


def _read(path: Path, asked: Mapping[str, Any]) -> dict[str, float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found, figures = content["asked"], {key: float(content["figures"][key]) for key in KEPT}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}; remove it to run this again") from None
    for key, value in asked.items():
        if found.get(key) != value:
            raise SettingError(f"{path}: was run with {key} {found.get(key)}, asked for is {value}; choose another folder with --out")
    return figures


def summarise(name: str, results: Sequence[Mapping[str, float]]) -> list[Figure]:
    """Median over the seeds, beside the paper's table."""
    values = {key: [result[key] for result in results] for key in KEPT}
    median = {key: statistics.median(column) for key, column in values.items()}
    published, samples = PAPER.get(name, (None, None))

    def figure(key: str, what: str, unit: str = "", **others: Any) -> Figure:
        least = TARGETS.get(name, {}).get(key)
        target: Any = None if least is None else ("ours", least)
        rounds = {"ours": values[key]}
        return Figure(f"{name}_{key}", f"{name}: {what}", unit, median[key], target=target, rounds=rounds, spread=True, **others)

    prototype = PROTOTYPE_ERROR_MM.get(name)
    less: dict[str, Any] = {"less_is_better": True}
    earlier: dict[str, Any] = {"peer": prototype, "against": "peer our prototype"} if prototype else {}
    deepmimic: dict[str, Any] = {"peer": published, "against": "peer DeepMimic, table 2"} if published else {}
    return [
        figure("normalized_return", "normalised return", limit=1.0, **deepmimic),
        figure("normalized_return_paper", "with the printed reward", limit=1.0, **deepmimic),
        figure("normalized_return_without_sync", "without re-sync", limit=1.0, **deepmimic),
        figure("success_rate", "20 s, never .5 m off", limit=1.0),
        figure("lasts_20_s_rate", "lasts 20 s", limit=1.0),
        figure("lasts_10_s_rate", "lasts 10 s", limit=1.0),
        figure("mpjpe_local_mm", "error relative to the root", "mm", **earlier, **less),
        figure("mpjpe_global_mm", "error in the world", "mm", **less),
        figure("samples_millions", "samples", "millions", **less, **(deepmimic | {"peer": samples} if published else {})),
        figure("minutes", "training", "minutes", **less),
    ]


def clip_name(motion: str) -> str:
    """`walk` of `walk` or `humanoid3d_walk.txt`."""
    return Path(motion).stem.removeprefix("humanoid3d_")


def expand(motions: Sequence[Path]) -> list[str]:
    """Folders replaced by the motion files in them.

    Raises:
        SettingError: a folder without motion files, or two motions of one name.
    """
    found: list[str] = []
    for motion in motions:
        if motion.is_dir():
            inside = sorted(file for file in motion.iterdir() if file.suffix in (".txt", ".npz"))
            if not inside:
                raise SettingError(f"{motion}: expected motion files (.txt, .npz) in this folder, found none")
            found += map(str, inside)
        else:
            found.append(str(motion))
    names = [clip_name(motion) for motion in found]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"--motions: more than one motion is named '{name}'")
    return found
