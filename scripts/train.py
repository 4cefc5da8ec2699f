"""`mprl train ENV_ID --agent NAME`: train an agent in any registered Gymnasium environment; `mprl train --resume DIR`: go on.

`torchrun --nproc-per-node N -m mprl.scripts.train ENV_ID ...` trains in N processes, which do all of this together; the first one writes.

The command line is parsed twice: which options there are depends on the environment and the agent, so their names are found first.
"""

from __future__ import annotations

if __name__ == "__main__":  # torchrun -m mprl.scripts.train
    import sys
    from pathlib import Path

    if not __package__:  # python scripts/train.py: the checkout is on the path, this folder is not
        sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["train", *sys.argv[1:]]))

import contextlib
import dataclasses
import functools
import hashlib
import logging
import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl import __version__, torchrun
from mprl.errors import CheckpointError, DistributedError, SettingError, unknown_name
from mprl.scripts import environments, evaluate, resume
from mprl.scripts.options import json_object, parse, settings_of_a_model
from mprl.scripts.tables import table

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from mprl.agents.agent import Agent, Callback
    from mprl.agents.callbacks import Checkpoint
    from mprl.agents.runs import Plan
    from mprl.envs.wrappers import Source
    from mprl.perception.plug import Perception
    from mprl.ranks import Ranks

log = logging.getLogger(__name__)

DEFAULT_AGENT = "ppo"
NEW_EYES = ("pixels", "stack", "grey", "crop", "camera", "features", "network")  # options of a perception model that is made anew
DEFAULT_STEPS = 1_000_000
DEFAULT_EVALUATE_EVERY = 500_000
EVALUATION_EPISODES = 16


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is told to `mprl train` whatever the environment and the agent."""

    env_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV_ID")]
    """a registered environment, or module:Name-v0 for one of your own; the module may lie in the current folder"""
    agent: Annotated[str, tyro.conf.arg(metavar="NAME")] = DEFAULT_AGENT
    """the learning algorithm"""
    steps: Annotated[float | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """environment steps to train for, over all worlds; by default the preset's, or a million"""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="")] = None
    """time to train for, instead of --steps"""
    num_envs: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """worlds stepped together, over all processes; by default the preset's, or 64 where the environment is batched itself, else 16"""
    device: Annotated[str | None, tyro.conf.arg(metavar="D", help_behavior_hint="")] = None
    """cpu or cuda; by default cpu"""
    seed: int = 0
    """of everything random"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """run folder, new or empty; by default runs/<environment>-<agent>-<time>"""
    checkpoint_every: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """steps between checkpoints; by default the preset's, or 100 000"""
    keep_checkpoints: Annotated[int, tyro.conf.arg(metavar="K")] = 3
    """how many checkpoints are kept"""
    evaluate_every: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """steps between evaluations, the best agent is kept in DIR/best; 0: none; by default the preset's, or 500 000"""
    stop_at: Annotated[float | None, tyro.conf.arg(metavar="SCORE", help_behavior_hint="")] = None
    """end early when an evaluation reaches this return (where the environment gives one, this normalised return)"""
    patience: Annotated[int, tyro.conf.arg(metavar="N", help_behavior_hint="")] = 0
    """end early when so many evaluations in a row are no better than the best before them; 0: never"""
    video_every: Annotated[int, tyro.conf.arg(metavar="N", help_behavior_hint="")] = 0
    """steps between films of an episode, in DIR/videos; 0: none"""
    perception: Annotated[str | None, tyro.conf.arg(metavar="DIR|MODEL", help_behavior_hint="")] = None
    """see pictures, through a model that `mprl perception train` left in a folder, or a new one that learns along: cnn, resnet, ..."""
    pixels: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """for a new model: side of the pictures in place of the observations; by default 64"""
    stack: Annotated[int | None, tyro.conf.arg(metavar="K", help_behavior_hint="")] = None
    """pictures in one observation, so that speeds can be seen: of a new model, by default 3, or of a trained one of single pictures"""
    grey: Annotated[bool | None, tyro.conf.arg(help_behavior_hint="")] = None
    """for a new model: pictures without colours"""
    crop: Annotated[tuple[int, int, int, int] | None, tyro.conf.arg(metavar="L T R B", help_behavior_hint="")] = None
    """for a new model: left, top, right and bottom of the part of the picture that is seen, pixels before it is shrunk"""
    camera: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """for a new model: a camera of a MuJoCo environment, or tracking, or head"""
    features: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """for a new model: numbers that it makes of a picture; by default 128"""
    network: Annotated[str | None, tyro.conf.arg(metavar="JSON", help_behavior_hint="")] = None
    """for a new model: further settings: '{"channels": [8, 16, 32], "kernels": [4, 4, 4], "strides": [2, 2, 2], "output": "norm"}'"""
    begin_from: Annotated[Path | None, tyro.conf.arg(metavar="DIR|NAME", help_behavior_hint="")] = None
    """begin with what the agent in this run folder has learned, or one that ships, in place of random weights, and with its settings
    where no others are given; to go on with the same run: --resume"""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """go on with the run in this folder, or from one of its checkpoints; only its new end can be given too: --steps or --minutes,
    --stop-at, --patience"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl train`."""
    with torchrun.joined() as ranks:
        if resume.is_asked_for(argv):
            return resume.main(argv, ranks)
        with ranks.agreed():
            options = read(argv)
            asked = dataclasses.replace(plan(options), job=job(options, ranks))
            folder = options.out or default_folder(options.env_id, options.agent)
            begun = ranks.rank == 0 and torchrun.restarts() > 0 and resume.is_of(asked.job, folder)
        folder = Path(ranks.tell(os.fspath(folder)))
        if ranks.any(begun and resume.can_go_on(folder)):
            return resume.resume(folder, ranks)
        with ranks.agreed():
            if ranks.rank == 0 and not begun:
                free_folder(folder)
            agent = make_agent(options, ranks)
        ranks.require_same(told(agent, asked))
        ended = train(agent, folder, asked)
        if ranks.rank == 0:
            summarise(agent, folder)
        return ended


# --- the command line --------------------------------------------------------------------------------------------------------


def read(argv: Sequence[str]) -> Any:
    """The options, with `env` and `agent_settings` for the environment and the agent that they name.

    Raises:
        MprlError: an unknown environment, agent or option, or a value that cannot be.
    """
    from mprl.agents import AGENTS, find_agent

    words = list(argv)
    help_wanted = "-h" in words or "--help" in words
    env_at, name = named(words)
    kind = find_agent(name)
    if env_at is None and not help_wanted:
        raise SettingError("which environment? mprl train ENV_ID --agent NAME (mprl list envs)")
    if env_at is None:
        return parse(Options, "mprl train", ["--help"], _overview(AGENTS))
    env_id = words.pop(env_at)
    spec = environments.find(env_id)
    words = ["--help"] if help_wanted else [env_id, *words]
    about = f"Train {name} in {spec.id}. {environments.summary(spec)}"
    options: Any = parse(
        options_for(spec, kind, settings=_begun(words)), "mprl train", words, about, f"mprl train {env_id} --agent {name} --help"
    )
    _check(options)
    return options


def _begun(words: Sequence[str]) -> dict[str, Any]:
    """The settings of the agent that --begin-from names among the words: what is not said otherwise is as it was there."""
    from mprl.agents import find_agent
    from mprl.agents.checkpoints import read_config

    folder = ""
    for word, value in zip(words, [*words[1:], ""], strict=True):
        option, _, same = word.partition("=")
        if option.replace("_", "-") == "--begin-from":
            folder = same or value
    if not folder:
        return {}
    config = read_config(Path(folder))
    try:
        return dict(vars(find_agent(config["agent"])._make_settings(config["settings"])))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: config.json holds no settings of an agent: {' '.join(str(error).split())[:120]}") from None


def options_for(spec: EnvSpec, agent: type[Agent], base: type = Options, settings: Mapping[str, Any] | None = None) -> type:
    """`Options`, with the keyword arguments of an environment as `env` and the settings of an agent as `agent_settings`.

    Args:
        base: a dataclass of another command in place of `Options`.
        settings: of the agent, by default; what they do not name is the preset's. Those of another kind of agent do not count.
    """
    known = {field.name for field in dataclasses.fields(agent.Settings)}
    given = {**agent.presets(spec.id), **{key: value for key, value in (settings or {}).items() if key in known}}
    preset = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    default = dataclasses.field(default_factory=lambda: agent.Settings(**preset))
    fields = [
        ("env", environments.options(spec), dataclasses.field()),
        ("agent_settings", Annotated[agent.Settings, tyro.conf.arg(name="agent")], default),
    ]
    return dataclasses.make_dataclass("TrainOptions", fields, bases=(base,), frozen=True, kw_only=True)


def named(words: Sequence[str]) -> tuple[int | None, str]:
    """Where the environment's id is among the words, and the agent's name.

    Each option before the environment's id is taken to have one value.
    """
    env_at, agent, at = None, DEFAULT_AGENT, 0
    while at < len(words):
        word = words[at]
        if word.startswith("--agent="):
            agent = word.partition("=")[2]
        elif word == "--agent" and at + 1 < len(words):
            agent = words[at + 1]
        if word.startswith("-") and word not in ("-h", "--help") and "=" not in word:
            at += 1  # its value
        elif not word.startswith("-") and env_at is None:
            env_at = at
        at += 1
    return env_at, agent


def _overview(agents: dict[str, Any]) -> str:
    envs = "\n".join(f"  {name}" for name in environments.ours())
    return (
        "Train an agent in a Gymnasium environment.\n\n"
        f"environments (any registered one works):\n{envs}\n\nagents:\n  {', '.join(agents)}\n\n"
        "mprl train ENV_ID --agent NAME --help also shows the settings of the environment and of the agent."
    )


def _check(options: Any) -> None:
    from mprl.agents.environments import check_seed

    check_end(options)
    for name, least in (("checkpoint_every", 1), ("keep_checkpoints", 1), ("evaluate_every", 0), ("patience", 0), ("video_every", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise SettingError(f"--{name.replace('_', '-')} must be at least {least}, found {value}")
    if options.num_envs is not None and options.num_envs < 1:
        raise SettingError(f"expected at least 1 world, found --num-envs {options.num_envs}")
    if options.evaluate_every == 0 and (options.stop_at is not None or options.patience):
        raise SettingError("--stop-at and --patience go by evaluations: give --evaluate-every too")
    if options.video_every:
        evaluate.check_pictures(options.env_id, "--video-every")
    check_seed(options.seed)
    check_device(options.device)


def check_end(options: Any) -> None:
    """Refuse a number of steps or minutes that cannot be."""
    if options.steps is not None and options.minutes is not None:
        raise SettingError("give --steps or --minutes, not both")
    for name in ("steps", "minutes"):
        value = getattr(options, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise SettingError(f"--{name} must be a positive number, found {value:g}")
    if options.stop_at is not None and math.isnan(options.stop_at):
        raise SettingError("--stop-at must be a number, found nan")


def check_device(device: str | None) -> None:
    if device is not None:
        from mprl.devices import available  # with torch, which takes a while

        available(device)


def job(options: Any, ranks: Ranks) -> str:
    """Names what torchrun was told to do, so that processes that it starts anew know their own run; '' of a single process.

    Raises:
        SettingError: torchrun is to start them anew, and the run folder's name would be another one then.
    """
    if ranks.size == 1:
        return ""
    if torchrun.may_restart() and options.out is None:
        raise SettingError("torchrun --max-restarts goes on with the run in its folder: give --out too")
    return hashlib.sha256(f"{torchrun.job()} {options}".encode()).hexdigest()


def told(agent: Agent, plan: Plan) -> dict[str, Any]:
    """What all processes of a run need to have in common, by name."""
    import torch

    nested = {**agent.config, "env_kwargs": evaluate.settings_of(agent.config), "plan": dataclasses.asdict(plan)}
    nested |= {"mprl": __version__, "torch": torch.__version__}
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat


# --- training ----------------------------------------------------------------------------------------------------------------


def make_agent(options: Any, ranks: Ranks | None = None) -> Agent:
    """The agent, in a batch of the environment; of several processes each has its share of the worlds.

    Raises:
        SettingError: there are fewer worlds than processes.
    """
    from mprl.agents import find_agent
    from mprl.ranks import ALONE

    ranks = ranks or ALONE
    kind, device, total = find_agent(options.agent), torchrun.own_device(options.device), worlds(options)
    if total < ranks.size:
        raise SettingError(f"--num-envs {total}: {ranks.size} processes need a world each at least")
    source, loaded = eyes(options)
    env = environments.make(options.env_id, ranks.share(total), device, source, **environments.changed(options.env))
    perception = loaded
    if source is not None and loaded is None:
        perception = new_eyes(options, source, env)
    settings = {field.name: getattr(options.agent_settings, field.name) for field in dataclasses.fields(options.agent_settings)}
    agent = kind(env, seed=options.seed, device=device, perception=perception, **settings)
    agent.env_id = options.env_id  # with its module, so that `mprl evaluate` finds it too
    if getattr(options, "begin_from", None) is not None:
        agent.begin_from(options.begin_from)
    return agent.join(ranks, total)


def eyes(options: Any) -> tuple[Source | None, Perception | None]:
    """Where the pictures come from that the agent is to see, and the trained model that it sees them through; None: there are none."""
    of_new = {name: getattr(options, name) for name in NEW_EYES if getattr(options, name, None) is not None}
    if getattr(options, "perception", None) is None:
        if of_new:
            raise SettingError(f"--{next(iter(of_new))} is for --perception MODEL: pictures need a model to see them (cnn, say)")
        return None, None
    from mprl.envs.wrappers import Source
    from mprl.perception import models
    from mprl.perception.each import each_picture
    from mprl.perception.plug import CONFIG, Perception

    is_trained = (Path(options.perception) / CONFIG).is_file()  # a folder may be called "vae" too
    if options.perception in models.NAMES and not is_trained:
        settings = {("size" if name == "pixels" else name): value for name, value in of_new.items() if name not in ("features", "network")}
        return Source(**{"stack": 3, **settings}), None
    if not Path(options.perception).exists():
        raise unknown_name("perception model or folder", options.perception, models.NAMES, f"models: {', '.join(models.NAMES)}")
    stack = of_new.pop("stack", None)
    if of_new:
        raise SettingError(f"--{next(iter(of_new))} is for a new model; {options.perception} knows its own")
    loaded = Perception.load(options.perception)
    source = None if loaded.source is None else Source.from_json(loaded.source)
    if stack is not None:
        if source is None or source.stack != 1:
            raise SettingError(f"--stack is for a new model, or one of single pictures (--stack 1); {options.perception} knows its own")
        loaded, source = each_picture(loaded, stack), dataclasses.replace(source, stack=stack)
    return source, loaded


def new_eyes(options: Any, source: Source, env: Any) -> Perception:
    """A model with fresh weights that learns along."""
    from mprl.perception.plug import build
    from mprl.perception.spec import Spec

    spec = Spec.of(env.single_observation_space, frozen=False)
    features, text = 128 if options.features is None else options.features, options.network or "{}"
    settings = json_object("--network", text)
    with settings_of_a_model("--network", text):
        return build(options.perception, spec, features, source.to_json(), options.seed, **settings)


def worlds(options: Any) -> int:
    """How many are stepped together: as asked for, the preset's, or as many as suit the environment."""
    from mprl.agents import find_agent

    spec = environments.find(options.env_id)
    preset = find_agent(options.agent).training_preset(spec.id).get("num_envs")
    return int(options.num_envs or preset or (64 if spec.vector_entry_point else 16))


def plan(options: Any) -> Plan:
    """Until when to train, and how often to save and to evaluate."""
    from mprl.agents import find_agent
    from mprl.agents.runs import Plan

    spec = environments.find(options.env_id)
    preset = find_agent(options.agent).training_preset(spec.id)
    steps = options.steps or preset.get("steps", DEFAULT_STEPS)
    evaluate_every = preset.get("evaluate_every", DEFAULT_EVALUATE_EVERY) if options.evaluate_every is None else options.evaluate_every
    return Plan(
        steps=steps if options.minutes is None else None,
        minutes=options.minutes,
        checkpoint_every=options.checkpoint_every or preset.get("checkpoint_every", Plan.checkpoint_every),
        keep_checkpoints=options.keep_checkpoints,
        evaluate_every=evaluate_every,
        stop_at=options.stop_at,
        patience=options.patience,
        video_every=options.video_every,
    )


def default_folder(env_id: str, agent: str) -> Path:
    """`runs/DeepMimic-v0-ppo-2025-11-20-091500`."""
    name = env_id.rpartition(":")[2].rpartition("/")[2]
    return Path("runs") / f"{name}-{agent.rpartition(':')[2]}-{datetime.now():%Y-%m-%d-%H%M%S}"


def free_folder(folder: Path) -> Path:
    """The folder, after a look that a run can go there; it is made when the run begins.

    Raises:
        CheckpointError: it is a file, or holds something.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"{folder}: expected a folder for the run, found a file")
        if folder.is_dir() and any(folder.iterdir()):
            raise CheckpointError(f"{folder}: the folder is not empty; choose another with --out")
    except OSError as error:
        raise CheckpointError(f"{folder}: {error.strerror}") from None
    return folder


def train(agent: Agent, folder: Path, plan: Plan, command: str = "mprl train") -> int:
    """Train into a run folder, with a live display; Ctrl-C and SIGTERM end it early, with everything saved.

    Of several processes all call it, and the first one writes.

    Args:
        agent: learns.
        folder: of the run.
        plan: until when, and what is written meanwhile.
        command: to go on with it.

    Returns:
        Exit code: 0, or 128 + the signal that ended it.

    Raises:
        DistributedError: another process has ended.
    """
    from mprl.agents.runs import alone, checkpoints_of, save_checkpoint, steps_of
    from mprl.scripts.plots import learning_curve

    leads = agent.ranks.rank == 0
    with contextlib.ExitStack() as stack:
        with agent.ranks.agreed():
            if leads:
                plan.write(folder)  # says at once when the folder cannot be written to
                stack.enter_context(alone(folder))
        try:
            if not agent.num_timesteps:
                save_checkpoint(agent, folder, plan.keep_checkpoints)
            number = _learn(agent, folder, plan)
        except OSError as error:  # a write that fails late, on a full disk, does not say of which file
            error.filename = error.filename or os.fspath(folder)
            raise
        except DistributedError as error:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends all when one has ended: this is told first
            raise DistributedError(f"{error}; to go on from the last checkpoint give --resume {folder} and no other options") from None
        if leads:
            learning_curve(folder / "metrics.csv", folder / "learning_curve.png", f"{agent.env_id} · {agent.name}")
    if not leads:
        return 0 if number is None else 128 + number
    if number is None:
        dataclasses.replace(plan, ended_steps=agent.num_timesteps, ended_seconds=agent.seconds).write(folder)
        return 0
    print(f"Stopped by {signal.Signals(number).name} after {agent.num_timesteps:,} steps; what was learned until then is saved.")
    print(f"To go on, from step {steps_of(checkpoints_of(folder)[-1]):,}: {command} --resume {folder}")
    return 128 + number


def _learn(agent: Agent, folder: Path, plan: Plan) -> int | None:
    """Learn and write; the number of the signal that ended it, or None."""
    from mprl.agents.callbacks import Checkpoint, all_of

    seconds = None if plan.minutes is None else 60.0 * plan.minutes
    checkpoint = Checkpoint(folder, plan.checkpoint_every, plan.keep_checkpoints)
    if agent.ranks.size > 1:
        log.info("Learning in %s processes, %s worlds in all.", agent.ranks.size, f"{agent.num_worlds:,}")
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(stopping(agent.ranks.rank == 0))
        go_on = all_of(checkpoint, lambda agent, metrics: stopped() is None)
        if agent.ranks.rank == 0:
            go_on = _writing(agent, folder, plan, checkpoint, stopped, stack)
        agent.learn(
            None if plan.steps is None else plan.steps - agent.num_timesteps,
            max_seconds=None if seconds is None else seconds - agent.seconds,
            callback=go_on,
        )
        checkpoint.finish(agent)
        number = stopped()
    numbers = [each for each in agent.ranks.counts(number or 0) if each]  # a signal may have come to one process only
    return numbers[0] if numbers else None


def _writing(agent: Agent, folder: Path, plan: Plan, checkpoint: Checkpoint, stopped: Callable[[], int | None], stack: Any) -> Callback:
    """What happens after each iteration in the process that writes."""
    from mprl.agents.callbacks import Evaluation, RunWriter, StopTraining, Video, all_of
    from mprl.agents.progress import ProgressDisplay

    seconds = None if plan.minutes is None else 60.0 * plan.minutes
    writer, display = RunWriter(folder, agent.num_timesteps), ProgressDisplay(plan.steps, seconds)
    stack.callback(writer.close)
    stack.callback(display.close)
    make_env = functools.partial(evaluate.environment, agent.config, EVALUATION_EPISODES)
    evaluation = Evaluation(folder, make_env, plan.evaluate_every, EVALUATION_EPISODES)
    early = StopTraining(plan.stop_at, plan.patience, folder, agent.num_timesteps)
    video = Video(folder / "videos", functools.partial(make_env, render_mode="rgb_array"), plan.video_every)
    if plan.video_every and not agent.num_timesteps:
        video.film(agent)  # says now that it cannot be done, and shows where it began
    # what a checkpoint holds is in the metrics before it: the rows up to it stay when the run goes on from there
    return all_of(evaluation, early, video, writer, display, checkpoint, lambda agent, metrics: stopped() is None)


@contextlib.contextmanager
def stopping(tells: bool = True) -> Iterator[Callable[[], int | None]]:
    """Within, the first Ctrl-C or SIGTERM only makes the yielded function return its number; a second one acts as usual.

    Args:
        tells: print that it stops.
    """
    received: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {number: signal.getsignal(number) for number in signals}

        def remember(number: int, frame: Any) -> None:
            received.append(number)
            for each, handler in before.items():
                signal.signal(each, handler)
            with contextlib.suppress(RuntimeError):  # the signal came while something else was being printed
                if tells:
                    print("Stopping after this iteration ...")

        for number in signals:
            signal.signal(number, remember)
    except ValueError:  # not the main thread: signals are somebody else's
        yield lambda: None
        return
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summarise(agent: Agent, folder: Path) -> None:
    """Print where everything is, and what to try next."""
    table(("", ""), contents(folder))
    film = f" --video {folder / 'evaluation.mp4'}" if environments.makes_pictures(environments.find(agent.env_id)) else ""
    print(f"Try next:\n  mprl evaluate {folder}{film}\n  tensorboard --logdir {folder}")


def contents(folder: Path) -> list[tuple[str, str]]:
    """What a run folder holds, and what each file is."""
    about = {
        "weights.safetensors": "weights of the agent",
        "config.json": "settings of the agent and the environment",
        "metrics.csv": "every metric of every iteration",
        "learning_curve.png": "learning curve",
        "checkpoints": "checkpoints, for --resume",
        "best": "the agent that was best in the evaluations",
        "videos": "films of an episode, as learning went on",
        "evaluation.json": "results of the evaluation",
        "phase_error.png": "tracking error over the phase of the clip",
        "video.mp4": "the character and its reference (translucent)",
    }
    rows = [(text, os.fspath(folder / name)) for name, text in about.items() if (folder / name).exists()]
    if any(folder.glob("events.*")):
        rows.append(("the metrics for TensorBoard", os.fspath(folder / "events.*")))
    return rows
