"""`mprl distill EXPERT_DIR ... --out DIR`: several experts in one policy, by DAgger.

Each expert is a run folder of an agent that imitates motions. The student imitates all of them, in the environment of the first one,
and is taught in each world by the expert of the world's clip. What it leaves is a run folder of PPO: `mprl evaluate DIR` measures it,
and `mprl train --resume DIR --steps N` goes on with PPO. `mprl distill --resume DIR` goes on with a distillation exactly: who teaches is in
its distillation.json, what was seen in its checkpoints.
"""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/distill.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["distill", *sys.argv[1:]]))

import dataclasses
import functools
import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import CheckpointError, SettingError
from mprl.files import VERSION, read_json
from mprl.scripts import environments, evaluate, resume, train
from mprl.scripts.options import parse

if TYPE_CHECKING:
    from mprl.agents.distillation import Distillation, Expert

log = logging.getLogger(__name__)

COMMAND = "mprl distill"
# Arguments of the environment that decide what is seen and what actions mean: experts and student must agree in them.
SHARED = (
    "character", "betas", "gender", "action_mode", "target_frames", "phase_observation", "velocity_observation", "sensors",
    "flat_observation",
)  # fmt: skip
OF_CLIPS = ("motion", "contact_bodies", "clip_weights")  # and those that belong to an expert's own motions
INITIAL_STD = 0.1  # with which PPO would go on: what is learned already needs little noise


@dataclass(frozen=True, kw_only=True)
class Options:
    """Distil several experts into one policy that imitates all their motions (DAgger). `mprl distill --resume DIR` goes on with one."""

    experts: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="EXPERT_DIR ...")]
    """run folders, as `mprl train` leaves them"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """run folder, new or empty; by default runs/<environment>-distilled-<time>"""
    motion: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|FILE|DIR ...", help_behavior_hint="")] = ()
    """what the student imitates, each taught by the expert that has learned a motion of this name; by default all of the experts'"""
    steps: Annotated[float, tyro.conf.arg(metavar="N")] = 500_000
    """environment steps, over all worlds"""
    expert_share: Annotated[str | None, tyro.conf.arg(metavar="SCHEDULE", help_behavior_hint="")] = None
    """share of the actions that the experts take; by default falls from 1 to 0 over the first fifth of the steps"""
    memory: Annotated[int, tyro.conf.arg(metavar="N")] = 100_000
    """samples that are kept and learned from again"""
    num_envs: Annotated[int, tyro.conf.arg(metavar="N")] = 256
    """worlds stepped together"""
    device: Annotated[str | None, tyro.conf.arg(metavar="D", help_behavior_hint="")] = None
    """cpu or cuda; by default cpu"""
    seed: int = 0
    """of everything random"""
    checkpoint_every: Annotated[int, tyro.conf.arg(metavar="N")] = 250_000
    """steps between checkpoints"""
    evaluate_every: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """steps between evaluations, the best student is kept in DIR/best; 0: none"""


@dataclass(frozen=True, kw_only=True)
class GoingOn:
    """Go on with a distillation as if it had never stopped."""

    resume: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """its run folder"""
    steps: Annotated[float | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """its new end, counted from its beginning"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl distill`."""
    if resume.is_asked_for(argv):
        return go_on(parse(GoingOn, "mprl distill", argv, GoingOn.__doc__))
    from mprl.agents.ppo import PPO
    from mprl.agents.runs import Plan

    preset: dict[str, Any] = {**PPO.presets("mprl/DeepMimic-v0"), "initial_std": INITIAL_STD}
    preset = {key: tuple(value) if isinstance(value, list) else value for key, value in preset.items()}
    settings = dataclasses.field(default_factory=lambda: PPO.Settings(**preset))
    own = [("agent_settings", Annotated[PPO.Settings, tyro.conf.arg(name="agent")], settings)]
    kind = dataclasses.make_dataclass("DistillOptions", own, bases=(Options,), frozen=True, kw_only=True)
    options: Any = parse(kind, "mprl distill", argv, Options.__doc__)
    if not (options.steps > 0 and math.isfinite(options.steps)):
        raise SettingError(f"--steps must be a positive number, found {options.steps:g}")
    if not options.experts:
        raise SettingError("which experts? mprl distill EXPERT_DIR ... (mprl distill --help)")
    plan = Plan(steps=options.steps, checkpoint_every=options.checkpoint_every, evaluate_every=options.evaluate_every)
    train.check_device(options.device)
    student, lesson = make_student(options)
    folder = train.free_folder(options.out or train.default_folder(student.env_id, "distilled"))
    plan.write(folder)  # makes it, or says that it cannot be
    evaluate.write_json(folder / resume.LESSON, {"format": "mprl-distillation", "version": VERSION, **lesson})
    ended = train.train(student, folder, plan, COMMAND)
    train.summarise(student, folder)
    print(f"To go on with PPO:\n  mprl train --resume {folder} --steps {student.num_timesteps + 1_000_000:.0f}")
    return ended


def go_on(options: GoingOn) -> int:
    """Run `mprl distill --resume`."""
    from mprl.agents import runs

    run, _ = runs.newest(options.resume)
    if not (run / resume.LESSON).is_file():
        raise CheckpointError(f"{run}: holds no distillation ({resume.LESSON} is missing); try mprl train --resume")
    lesson = read_json(run / resume.LESSON, "mprl-distillation", "a distillation")
    return resume.resume(options.resume, steps=options.steps, load=functools.partial(_load, run / resume.LESSON, lesson), command=COMMAND)


def _load(path: Path, lesson: Mapping[str, Any], checkpoint: Path, env: Any, device: str, ranks: Any) -> Distillation:
    """The student of a checkpoint, and who teaches it."""
    import torch

    from mprl.agents.distillation import Distillation

    student = Distillation.load(checkpoint, env, device, ranks=ranks)
    if student.num_timesteps and student._kept is None:
        log.info("PPO has gone on from it meanwhile: what was seen before is not kept any more.")
    try:
        experts = [expert(Path(folder), env) for folder in lesson["experts"]]
        for folder, digest in zip(lesson["experts"], lesson["sha256"], strict=True):
            if _digest(Path(folder)) != digest:
                log.warning("%s: this expert is another one than before, or has learned on", folder)
    except CheckpointError as error:  # no other checkpoint helps
        raise SettingError(f"{path}: an expert is not there any more: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: names no experts: {' '.join(str(error).split())[:120]}") from None
    try:
        expert_of, count = torch.tensor(lesson["expert_of"], device=env.device), len(lesson["experts"])
        whole = expert_of.dtype == torch.int64 and expert_of.shape == (len(env.library),)
        if not whole or not ((expert_of >= 0) & (expert_of < count)).all():
            raise ValueError(f"expert_of does not say which of {count} experts knows each of {len(env.library)} clips")
        return student.taught_by(experts, lambda: expert_of[env.clip], lesson["expert_share"], lesson["memory"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not what a distillation can do: {' '.join(str(error).split())[:120]}") from None


def expert(folder: Path, env: Any) -> Expert:
    """The policy of a run folder, or of a shipped agent.

    Raises:
        CheckpointError: it does not see and act as the student in `env`.
    """
    from mprl.agents import load_agent

    agent = load_agent(folder, device=env.device)
    try:
        agent.check_spaces(env.single_observation_space, env.single_action_space)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from None
    return agent.policy_module()


def make_student(options: Any) -> tuple[Distillation, dict[str, Any]]:
    """The student, in an environment with the motions of all its experts, and what `_load` has to know of it.

    Raises:
        MprlError: folders that hold no agents, experts that do not go together, or motions and experts without each other.
    """
    import torch

    from mprl.agents import shipped
    from mprl.agents.checkpoints import read_config
    from mprl.agents.distillation import Distillation

    configs = {folder: read_config(folder) for folder in options.experts}
    settings = common_settings(configs)
    motions, teachers = assign({folder: clips_of(config) for folder, config in configs.items()}, options.motion)
    env_id = next(iter(configs.values()))["env_id"]
    env: Any = environments.make(env_id, options.num_envs, options.device, **{**settings, "motion": motions})
    experts, expert_of = [expert(folder, env) for folder in configs], torch.tensor(teachers, device=env.device)
    share = _number(f"linear 1 0 {max(1, options.steps // 5):.0f}" if options.expert_share is None else options.expert_share)
    agent = {field.name: getattr(options.agent_settings, field.name) for field in dataclasses.fields(options.agent_settings)}
    student = Distillation(
        env, experts, lambda: expert_of[env.clip], expert_share=share, memory=options.memory, seed=options.seed, device=options.device,
        **agent,
    )  # fmt: skip
    where = [str(folder.absolute() if shipped.located(folder) == folder else folder) for folder in configs]
    lesson = {"experts": where, "sha256": [_digest(folder) for folder in configs], "expert_of": teachers}
    return student, {**lesson, "expert_share": share, "memory": options.memory}


def _digest(folder: Path) -> str:
    """Of an expert's weights."""
    from mprl.agents import checkpoints, shipped

    return hashlib.sha256((shipped.located(folder) / checkpoints.WEIGHTS).read_bytes()).hexdigest()


def _number(schedule: str) -> float | str:
    """A schedule may be a number that does not change."""
    try:
        return float(schedule)
    except ValueError:
        return schedule


def common_settings(configs: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    """The environment's arguments that a student takes over: those of the first expert.

    Raises:
        SettingError: an expert imitates no motion, or sees or acts otherwise than the first.
    """
    (first, config), *others = configs.items()
    for folder, each in configs.items():
        if not each["env_id"].startswith("mprl/DeepMimic"):
            raise SettingError(f"{folder}: expected an agent that imitates motions, found one of {each['env_id']}")
        if each.get("perception"):
            raise SettingError(f"{folder}: an expert that sees through a perception model cannot teach here")
        if each["env_kwargs"].get("action_mode") == "absolute":
            raise SettingError(f"{folder}: acts around the mean pose of its own clips (action_mode absolute): it cannot teach others")
    for folder, other in others:
        for name in ("env_id", *SHARED):
            theirs, ours = ((each if name == "env_id" else each["env_kwargs"]).get(name) for each in (other, config))
            if theirs != ours:
                told = [f"{name} {'by default' if value is None else str(value)[:60]}" for value in (theirs, ours)]
                raise SettingError(f"{folder}: learned with {told[0]}, {first} with {told[1]}; one student cannot learn from both")
    return {key: value for key, value in evaluate.settings_of(config).items() if key not in OF_CLIPS}


def clips_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The motions that an agent has learned: what names them, by the clip's name."""
    return names_of(config["env_kwargs"].get("motion", "walk"))


def names_of(motion: Any) -> dict[str, str]:
    """What names each clip of a library, by the clip's name.

    Raises:
        MprlError: no such motion, or two of one name.
    """
    from mprl.envs.imitation.checks import expanded
    from mprl.motion import load

    found: dict[str, str] = {}
    for source in [one for each in (motion if isinstance(motion, list | tuple) else [motion]) for one in expanded(each)]:
        name = load(source).name
        if name in found:
            raise SettingError(f"two motions are named '{name}': {found[name]} and {source}; which expert knows which cannot be told")
        found[name] = str(source)
    return found


def assign(known: Mapping[Path, Mapping[str, str]], wanted: Sequence[str]) -> tuple[list[str], list[int]]:
    """What the student imitates, and which expert knows each motion.

    Args:
        known: by an expert's folder, what names its motions, by the clips' names.
        wanted: motions of the student; without any all of the experts'.

    Raises:
        SettingError: a motion that two experts know, or none; an expert that knows none of the motions.
    """
    teacher: dict[str, int] = {}
    folders = list(known)
    for at, clips in enumerate(known.values()):
        for name in clips:
            if name in teacher:
                raise SettingError(f"{folders[at]}: has learned '{name}', as {folders[teacher[name]]} has; leave one of them out")
            teacher[name] = at
    library = names_of(list(wanted)) if wanted else {name: source for clips in known.values() for name, source in clips.items()}
    for name in library:
        if name not in teacher:
            raise SettingError(f"--motion: no expert has learned '{name}'; they know {', '.join(teacher)}")
    for at, folder in enumerate(folders):
        if at not in [teacher[name] for name in library]:
            raise SettingError(f"{folder}: an expert for no clip: it has learned {', '.join(known[folder])}, which is not among --motion")
    return list(library.values()), [teacher[name] for name in library]
