"""`mprl tune ENV_ID --agent NAME`: search for good settings of an agent; `mprl tune --resume DIR`: go on.

Each trial trains an agent with other settings; what it finds is printed as a preset, and as the command to train with it.
"""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/tune.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["tune", *sys.argv[1:]]))

import contextlib
import dataclasses
import json
import math
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl import extras
from mprl.errors import CheckpointError, MprlError, SettingError
from mprl.scripts import environments, evaluate, train
from mprl.scripts.options import parse
from mprl.scripts.tables import table

if TYPE_CHECKING:
    from mprl.agents.agent import Agent
    from mprl.agents.tuning import Outcome, Study

ASKED, PRESET = "tune.json", "preset.toml"
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is told to `mprl tune` whatever the environment and the agent."""

    env_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV_ID")]
    """a registered environment, or module:Name-v0 for one of your own"""
    agent: Annotated[str, tyro.conf.arg(metavar="NAME")] = train.DEFAULT_AGENT
    """the learning algorithm"""
    trials: Annotated[int, tyro.conf.arg(metavar="N")] = 20
    """how many settings are tried, over all processes' lives"""
    steps: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="")] = None
    """environment steps of each trial, over all worlds; by default the preset's, or a million"""
    evaluations: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """of each trial, at equal intervals; the mean of the later half is its score"""
    episodes: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """of each evaluation"""
    num_envs: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """worlds stepped together; by default as mprl train has it"""
    device: Annotated[str | None, tyro.conf.arg(metavar="D", help_behavior_hint="")] = None
    """cpu or cuda; by default cpu"""
    seed: int = 0
    """of the search, and of every trial: they differ in their settings only"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """folder, new or empty; by default runs/<environment>-<agent>-tune-<time>"""
    space: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """where to look, a file like agents/presets/search.toml, which is the default"""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """go on with the search in this folder; only --trials, its new end, can be given too, and --join: another process, on this machine or
    another one with the same folder, searches there already, and this one helps it"""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """What can be told to a search that goes on: where it is, and its new end."""

    resume: Path
    trials: int | None = None
    join: bool = False


def main(argv: Sequence[str]) -> int:
    """Run `mprl tune`."""
    if not {"-h", "--help"} & set(argv) and any(word.partition("=")[0] == "--resume" for word in argv):
        return resume(argv)
    options = read(argv)
    folder = train.free_folder(options.out or train.default_folder(options.env_id, f"{options.agent}-tune"))
    extras.load("optuna", "tuning needs", "tune")
    return tune(options, begin(options, list(argv), folder), folder)


def resume(argv: Sequence[str]) -> int:
    """Go on with a search as it was begun, or help one that goes on."""
    from mprl.files import read_json

    for word in argv:
        if word.startswith("--") and word.partition("=")[0] not in ("--resume", "--trials", "--join"):
            raise SettingError(
                f"{word.partition('=')[0]} cannot be given with --resume: the search goes on as it was begun; only --trials and --join can"
            )
    given = parse(Resume, "mprl tune", argv)
    if not (given.resume / ASKED).is_file():
        raise CheckpointError(f"{given.resume}: holds no search of mprl tune ({ASKED} is missing)")
    asked = read_json(given.resume / ASKED, "mprl-tune", "a search of mprl")
    words, space = asked.get("command"), asked.get("space")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not isinstance(space, dict):
        raise CheckpointError(f"{given.resume / ASKED}: not a search of mprl; is the file cut off?")
    options = read(words)
    return tune(options if given.trials is None else dataclasses.replace(options, trials=given.trials), space, given.resume, given.join)


def read(argv: Sequence[str]) -> Any:
    """The options, with `env` and `agent_settings` for the environment and the agent that they name."""
    from mprl.agents import find_agent

    words = list(argv)
    help_wanted = "-h" in words or "--help" in words
    env_at, name = train.named(words)
    kind = find_agent(name)
    if env_at is None and not help_wanted:
        raise SettingError("which environment? mprl tune ENV_ID --agent NAME (mprl list envs)")
    if env_at is None:
        return parse(Options, "mprl tune", ["--help"], "Search for good settings of an agent in an environment.")
    env_id = words.pop(env_at)
    spec = environments.find(env_id)
    words = ["--help"] if help_wanted else [env_id, *words]
    about = f"Search for good settings of {name} in {spec.id}. Settings given here are not searched for."
    options: Any = parse(train.options_for(spec, kind, Options), "mprl tune", words, about, f"mprl tune {env_id} --agent {name} --help")
    train.check_end(SimpleNamespace(steps=options.steps, minutes=None, stop_at=None))
    for setting in ("trials", "evaluations", "episodes"):
        if getattr(options, setting) < 1:
            raise SettingError(f"--{setting} must be at least 1, found {getattr(options, setting)}")
    train.check_device(options.device)
    return options


def begin(options: Any, words: list[str], folder: Path) -> dict[str, Any]:
    """Write down what was asked for; the search space, without what was given."""
    from mprl.agents import find_agent
    from mprl.agents.tuning import SEARCH, search_space
    from mprl.files import VERSION, write_atomically

    given = _differing(options.agent_settings, _standard(options))
    space = {name: where for name, where in search_space(find_agent(options.agent), options.space or SEARCH).items() if name not in given}
    if not space:
        raise SettingError("nothing to search for: every setting of the search space is given")
    asked = {"format": "mprl-tune", "version": VERSION, "command": words, "space": space}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / ASKED, json.dumps(asked, indent=2).encode())
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    return space


def _standard(options: Any) -> Any:
    """The agent's settings where none are given."""
    from mprl.agents import find_agent

    kind = find_agent(options.agent)
    return kind.Settings(**_tuples(kind.presets(environments.find(options.env_id).id)))


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def _differing(settings: Any, others: Any) -> dict[str, Any]:
    """Fields of one dataclass that are not the same in another."""
    return {
        field.name: value
        for field in dataclasses.fields(settings)
        if (value := getattr(settings, field.name)) != getattr(others, field.name)
    }


def tune(options: Any, space: dict[str, Any], folder: Path, joins: bool = False) -> int:
    """Search, and say what was found.

    Args:
        joins: beside another process.

    Returns:
        Exit code: 0, or 128 + the signal that ended it.
    """
    from mprl.agents import find_agent, runs
    from mprl.agents.tuning import Study

    steps = options.steps or find_agent(options.agent).training_preset(environments.find(options.env_id).id).get(
        "steps", train.DEFAULT_STEPS
    )
    with contextlib.nullcontext() if joins else runs.alone(folder), train.stopping() as stopped:
        study = Study(folder, space, options.seed, joins)
        while study.begun() < options.trials and stopped() is None:
            outcome = study.run(lambda settings, report: _attempt(options, settings, steps, report, stopped))
            if outcome is not None:
                _tell(outcome, options.trials, study.best())
        number = stopped()
    if number is not None:
        print(f"Stopped by {signal.Signals(number).name}. To go on: mprl tune --resume {folder}")
    _summarise(study, options, steps, folder)
    return 0 if number is None else 128 + number


def _attempt(options: Any, settings: dict[str, Any], steps: float, report: Any, stopped: Any) -> list[float] | None:
    """Train with these settings; the scores of the evaluations, None if it was interrupted."""
    from mprl.agents.evaluation import evaluate as measure
    from mprl.agents.evaluation import quiet, score
    from mprl.agents.tuning import learn_and_score

    tried = dataclasses.replace(options.agent_settings, **_tuples(settings))
    with quiet():
        agent = train.make_agent(dataclasses.replace(options, agent_settings=tried))

    def judge(agent: Agent) -> float:
        with quiet():
            env = evaluate.environment(agent.config, options.episodes)
            try:
                return score(measure(agent, env, options.episodes, options.seed))
            finally:
                env.close()

    try:
        scores = learn_and_score(agent, steps, options.evaluations, judge, lambda scores: report(scores) and stopped() is None)
    finally:
        agent.batch.env.close()
    return None if stopped() is not None else scores


def _tell(outcome: Outcome, trials: int, best: Outcome | None) -> None:
    what = {"failed": f"failed: {outcome.error}", "pruned": f"given up after {len(outcome.evaluations)} evaluations"}
    said = what.get(outcome.state, f"score {outcome.score:.4g}")
    print(f"trial {outcome.number}/{trials}: {said}{'' if best is None else f' (best {best.score:.4g}, trial {best.number})'}", flush=True)


def _summarise(study: Study, options: Any, steps: float, folder: Path) -> None:
    from mprl.agents import find_agent
    from mprl.agents.tuning import as_toml
    from mprl.files import write_atomically

    outcomes = study.outcomes()
    ranked = sorted(outcomes, key=lambda o: (o.state != "complete", -o.score if math.isfinite(o.score) else math.inf))
    rows = [(str(o.number), o.state, _number(o.score), _numbers(o.evaluations), _in_words(o.settings)) for o in ranked[:_SHOWN]]
    table(("trial", "", "score", "evaluations", "settings"), rows)
    best = study.best()
    if best is None:
        failed = next((o.error for o in outcomes if o.error), "")
        if len(outcomes) >= options.trials:
            raise MprlError(f"no trial came to its end{f'; the first failed: {failed}' if failed else ''}")
        return
    training = {"num_envs": train.worlds(options), "steps": int(steps)}
    found = dataclasses.replace(options.agent_settings, **_tuples(best.settings))
    asked_for = shlex.join(["mprl", "tune", options.env_id, "--agent", options.agent])
    lines = (
        f"# {asked_for}: trial {best.number} of {len(outcomes)}, score {best.score:.6g}",
        f'["{environments.find(options.env_id).id}"]',
        *as_toml({**training, **_differing(found, find_agent(options.agent).Settings())}),
    )
    write_atomically(folder / PRESET, "\n".join((*lines, "")).encode())
    print("\n".join((*lines, "")))
    print(f"wrote {folder / PRESET}, as agents/presets/{options.agent}.toml has them. Try next:")
    changed = {**training, **{f"env.{name}": value for name, value in environments.changed(options.env).items()}}
    changed |= {f"agent.{name}": value for name, value in _differing(found, _standard(options)).items()}
    words = ["mprl", "train", options.env_id, "--agent", options.agent]
    for name, value in changed.items():
        words += [f"--{name.replace('_', '-')}", *(map(str, value) if isinstance(value, list | tuple) else [str(value)])]
    print(f"  {shlex.join(words)}")


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
