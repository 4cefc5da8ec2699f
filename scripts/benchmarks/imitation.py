"""How well motions are imitated: trained from scratch or taken up from run folders, several seeds, beside what others report."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import CheckpointError, SettingError
from mprl.scripts import evaluate, resume, train
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.published import AMP_TRACKING_ERROR_MM, PAPER, contact_bodies
from mprl.scripts.benchmarks.report import Figure, Overview
from mprl.scripts.plots import Curve, learning_curves, read_metrics, smoothed

ENVIRONMENT = "mprl/DeepMimic-v0"
EPISODES = 32
RESULT, VIDEO = "benchmark.json", "video.mp4"
# What walk has to reach in 15 minutes on 2 cores.
TARGETS = {"walk": {"success_rate": 0.99}}

KEPT = (
    "normalized_return", "normalized_return_paper", "normalized_return_without_sync", "success_rate", "lasts_10_s_rate",
    "lasts_20_s_rate", "mpjpe_local_mm", "mpjpe_global_mm", "samples_millions", "minutes",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How runs are made.

    Attributes:
        seeds: runs of each clip, with seeds 0, 1, ...
        samples, minutes: of training in each run, without the evaluation; one of them is None.
        threads: of the simulation and of torch.
        out: where the run folders are; what is finished there is not run again.
        video: film the first episode of each run into its folder.
    """

    seeds: int
    samples: float | None
    minutes: float | None
    threads: int
    out: Path
    video: bool = False


@dataclass(frozen=True)
class Run:
    """A finished run: of which clip, with which seed, where, and the figures `KEPT`."""

    clip: str
    seed: int
    folder: Path
    figures: Mapping[str, float]


def measure(motions: Sequence[str], folders: Sequence[Path], plan: Plan, picture: Path) -> Measured:
    """All figures of `mprl benchmark imitation`.

    Args:
        motions: names or files of clips to train on.
        folders: run folders of `mprl train`, taken up as they are.
        plan: how the clips are trained on.
        picture: where the learning curves of all runs are drawn.

    Raises:
        MprlError: an unknown motion, or a run that was made with other settings, or two runs of one clip and seed.
        KeyboardInterrupt: a run was stopped; those before it are kept.
    """
    runs = [take_up(folder, plan.video) for folder in folders]
    runs += [run(motion, seed, plan, plan.out / f"{clip_name(motion)}-seed{seed}") for motion in motions for seed in range(plan.seeds)]
    by_clip: dict[str, list[Run]] = {}
    for found in runs:
        if found.seed in (other.seed for other in by_clip.setdefault(found.clip, [])):
            raise SettingError(f"{found.folder}: a second run of '{found.clip}' with seed {found.seed}; leave one of them out")
        by_clip[found.clip].append(found)
    picture.parent.mkdir(parents=True, exist_ok=True)
    learning_curves(
        {clip: [curve(one) for one in found] for clip, found in by_clip.items()},
        picture,
        {clip: published[0] for clip, published in PAPER.items()},
    )
    print(f"wrote {picture}")
    figures = [figure for clip, found in by_clip.items() for figure in summarise(clip, [one.figures for one in found])]
    about = {"seeds": " ".join(f"{clip} {len(found)}" for clip, found in by_clip.items()), "episodes": EPISODES}
    if motions:
        about |= {"budget": _budget(plan), "threads": plan.threads}
    return Measured(figures, about, overview(by_clip))


def _budget(plan: Plan) -> str:
    return f"{plan.minutes:g} minutes" if plan.samples is None else f"{plan.samples / 1e6:g} million samples"


def run(motion: str, seed: int, plan: Plan, folder: Path) -> Run:
    """One training run and its evaluation; read back where it was finished before."""
    clip = clip_name(motion)
    asked = {"motion": Path(motion).name, "seed": seed, "samples": plan.samples, "minutes": plan.minutes, "threads": plan.threads}
    kept = _read(folder / RESULT)
    if kept is not None:
        for key, value in asked.items():
            if kept["asked"].get(key) != value:
                told = f"{folder / RESULT}: was run with {key} {kept['asked'].get(key)}, asked for is {value}"
                raise SettingError(f"{told}; choose another folder with --out, or take it up with --from")
        if (folder / VIDEO).exists() or not plan.video:
            return Run(clip, seed, folder, kept["figures"])
    elif _train(motion, seed, plan, folder):
        raise KeyboardInterrupt
    return Run(clip, seed, folder, _evaluate(folder, asked, plan.video))


def _train(motion: str, seed: int, plan: Plan, folder: Path) -> int:
    """Train, or go on where an earlier try was stopped; 0, or the exit code of what stopped it."""
    from mprl.agents import runs
    from mprl.agents.checkpoints import read_config

    words = [ENVIRONMENT, "--agent", "ppo", "--seed", str(seed), "--env.motion", motion, "--env.num-threads", str(plan.threads)]
    words += ["--env.contact-bodies", *contact_bodies(clip_name(motion))]
    words += ["--minutes", str(plan.minutes)] if plan.samples is None else ["--steps", str(plan.samples)]
    options = train.read(words)
    goal = train.plan(options)
    print(f"{clip_name(motion)}, seed {seed}: {_budget(plan)}, in {folder}")
    if not runs.checkpoints_of(folder):
        return train.train(train.make_agent(options), folder, goal)
    before, config = runs.Plan.read(folder), read_config(folder)
    there = (before.steps, before.minutes, config["seed"], config["env_kwargs"].get("motion", "walk"))
    if there != (goal.steps, goal.minutes, seed, motion):
        raise SettingError(f"{folder}: holds a run with other settings; choose another folder with --out, or take it up with --from")
    if before.is_over(before.ended_steps, before.ended_seconds):
        return 0
    return resume.resume(folder)


def take_up(folder: Path, video: bool) -> Run:
    """A run folder that `mprl train` left, or the folder `best` in it, evaluated unless it was before with the same weights."""
    from mprl.agents.checkpoints import read_config

    config = read_config(folder)
    motion = config["env_kwargs"].get("motion", "walk")
    if config["env_id"] != ENVIRONMENT or not isinstance(motion, str):
        raise SettingError(f"{folder}: expected a run of {ENVIRONMENT} with one motion, found {config['env_id']} with {str(motion)[:60]}")
    kept = _read(folder / RESULT)
    if kept is None or kept["num_timesteps"] != config["num_timesteps"] or (video and not (folder / VIDEO).exists()):
        print(f"evaluating {folder}")
        figures = _evaluate(folder, {} if kept is None else kept["asked"], video)
    else:
        figures = kept["figures"]
    return Run(clip_name(motion), config["seed"], folder, figures)


def _evaluate(folder: Path, asked: Mapping[str, Any], video: bool) -> dict[str, float]:
    found = evaluate.evaluate_folder(folder, EPISODES, video=folder / VIDEO if video else None)
    evaluate.write_json(folder / "evaluation.json", found)
    samples, minutes = spent(_metrics(folder))
    more = {"lasts_20_s_rate": 1.0 - found["fall_rate"], "samples_millions": samples / 1e6, "minutes": minutes}
    figures = {key: float((found | more)[key]) for key in KEPT}
    evaluate.write_json(folder / RESULT, {"asked": asked, "num_timesteps": found["num_timesteps"], "figures": figures})
    return figures


def _read(path: Path) -> dict[str, Any] | None:
    """What `_evaluate` wrote; None where it did not."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = {key: float(content["figures"][key]) for key in KEPT}
        return {"asked": dict(content["asked"]), "num_timesteps": content.get("num_timesteps"), "figures": figures}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}; remove it to run this again") from None


def _metrics(folder: Path) -> Path:
    """Of a run; the best agent of a run is in a folder in it."""
    mine = folder / "metrics.csv"
    return mine if mine.exists() else folder.parent / "metrics.csv"


def spent(metrics: Path) -> tuple[float, float]:
    """Samples and minutes of training that a run took, from its `metrics.csv`; the clock begins anew where it was continued."""
    columns = read_metrics(metrics)
    if not len(columns.get("timesteps", ())) or "time_elapsed" not in columns:
        raise CheckpointError(f"{metrics}: expected the columns timesteps and time_elapsed, and at least one iteration")
    elapsed = columns["time_elapsed"]
    ends = np.append(np.flatnonzero(np.diff(elapsed) < 0), len(elapsed) - 1)
    return float(columns["timesteps"][-1]), float(elapsed[ends].sum() / 60)


def curve(run: Run) -> Curve:
    """Return of the episodes while a run learned, as a share of the greatest possible one, and what the finished policy reached."""
    from mprl.agents.checkpoints import read_config
    from mprl.envs.imitation.deepmimic import CONTROL_RATE
    from mprl.motion import load

    settings = read_config(run.folder)["env_kwargs"]
    clip = load(settings.get("motion", "walk"))
    possible = float(settings.get("max_episode_steps") or settings.get("time_limit", 20.0) * CONTROL_RATE)
    if clip.loop == "none":  # episodes begin anywhere in the clip and end with it
        possible = min(possible, 0.5 * clip.duration * CONTROL_RATE)
    columns = read_metrics(_metrics(run.folder))
    share = np.minimum(columns["return"] / possible, 1.0)
    return Curve(columns["timesteps"] / 1e6, smoothed(share, len(share) // 80), run.figures["normalized_return"])


def overview(runs: Mapping[str, Sequence[Run]]) -> Overview:
    """A clip to a line: medians over its runs, beside what others report."""
    rows = []
    for clip, found in runs.items():
        median = {key: statistics.median(one.figures[key] for one in found) for key in KEPT}
        published, samples = PAPER.get(clip, (None, None))
        amp = AMP_TRACKING_ERROR_MM.get(clip)
        theirs = ("" if value is None else f"{value:g}" for value in (published, amp, samples))
        returns, errors, millions = theirs
        rows.append(
            (
                clip, str(len(found)), f"{median['normalized_return']:.3f}", f"{median['normalized_return_paper']:.3f}", returns,
                f"{median['success_rate']:.0%}", f"{median['mpjpe_local_mm']:.1f}", errors,
                f"{median['samples_millions']:.1f}", millions, f"{median['minutes']:.0f}",
            )
        )  # fmt: skip
    columns = (
        "clip",
        "runs",
        "NR",
        "NR, printed reward",
        "NR, paper",
        "success",
        "error, mm",
        "error, AMP paper",
        "M samples",
        "paper",
        "min",
    )
    return Overview(columns, rows)


def summarise(name: str, results: Sequence[Mapping[str, float]]) -> list[Figure]:
    """Median over the seeds, beside what others report."""
    values = {key: [result[key] for result in results] for key in KEPT}
    median = {key: statistics.median(column) for key, column in values.items()}
    published, samples = PAPER.get(name, (None, None))
    amp = AMP_TRACKING_ERROR_MM.get(name)
    to_beat: dict[str, float | None] = {"normalized_return": published, "mpjpe_local_mm": amp, **TARGETS.get(name, {})}

    def figure(key: str, what: str, unit: str = "", **others: Any) -> Figure:
        least = to_beat.get(key)
        target: Any = None if least is None else ("ours", least)
        rounds = {"ours": values[key]}
        return Figure(f"{name}_{key}", f"{name}: {what}", unit, median[key], target=target, rounds=rounds, spread=True, **others)

    less: dict[str, Any] = {"less_is_better": True}
    tracking: dict[str, Any] = {"peer": amp, "against": "peer AMP paper's tracking baseline, quoted from memory"} if amp else {}
    deepmimic: dict[str, Any] = {"peer": published, "against": "peer DeepMimic, table 2"} if published else {}
    return [
        figure("normalized_return", "normalised return", limit=1.0, **deepmimic),
        figure("normalized_return_paper", "with the printed reward", limit=1.0, **deepmimic),
        figure("normalized_return_without_sync", "without re-sync", limit=1.0, **deepmimic),
        figure("success_rate", "to the end, never .5 m off", limit=1.0),
        figure("lasts_20_s_rate", "does not fall", limit=1.0),
        figure("lasts_10_s_rate", "lasts 10 s", limit=1.0),
        figure("mpjpe_local_mm", "error relative to the root", "mm", **tracking, **less),
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
