"""`mprl plot RUN_DIR...` and `mprl plot ENV_ID`: learning curves of runs; values and policies, learned or planned."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/plot.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["plot", *sys.argv[1:]]))

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from mprl.errors import CheckpointError, SettingError, UnknownNameError, nearest
from mprl.scripts import environments
from mprl.scripts.options import check_folder, parse

TOLERANCE = 1e-9  # of values: equal actions are to look equal

Planner = Literal["value-iteration", "policy-iteration", "modified-policy-iteration", "policy-evaluation"]


@dataclass(frozen=True)
class Options:
    """Draw the learning curves of one or several runs, and what a tabular agent has learned; or plan in a known environment and draw that.

    mprl plot runs/cliff                       learning curves; of a tabular agent its values and policy too
    mprl plot runs/sarsa runs/q-learning       learning curves beside each other
    mprl plot mprl/Cliff-v0                    the best values and policy of an environment whose transitions are known
    """

    targets: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR|ENV_ID", help_behavior_hint="")]
    """run folders, or one environment"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """.png, .svg or .pdf; by default plot.png in the run folder, or <environment>.png"""
    planner: Planner = "value-iteration"
    """of an environment: how values are found; policy-evaluation is of acting at random"""
    discount: Annotated[float | None, tyro.conf.arg(metavar="D", help_behavior_hint="")] = None
    """of an environment; by default the book's, or 1 where episodes end and .99 where they do not"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl plot`."""
    options = read(argv)
    if options.out is not None:
        from mprl.scripts.figures import check_suffix

        check_suffix(options.out)
        check_folder(options.out)
    folders = [Path(target) for target in options.targets]
    if hasattr(options, "env"):
        out = plan(options)
    elif len(folders) > 1:
        out = compare(folders, options.out or Path("plot.png"))
    else:
        out = show(folders[0], options.out or folders[0] / "plot.png")
    print(f"wrote {out}")
    return 0


def read(argv: Sequence[str]) -> Any:
    """The options; with `env`, the environment's keyword arguments, where one is named.

    Raises:
        MprlError: neither run folders nor an environment, or an option that is none.
    """
    words = list(argv)
    env_id = None if "-h" in words or "--help" in words else _environment(words)
    if env_id is None:
        options = parse(Options, "mprl plot", words, Options.__doc__)
        if not options.targets:
            raise SettingError("what is to be drawn? mprl plot RUN_DIR... or mprl plot ENV_ID")
        for target in options.targets:
            if not Path(target).is_dir():
                hint = nearest(target, environments.ours())
                raise UnknownNameError(f"no run folder or environment named '{target}'{hint} (mprl list envs)")
        return options
    fields = [("env", environments.options(environments.find(env_id)), dataclasses.field())]
    kind = dataclasses.make_dataclass("PlotOptions", fields, bases=(Options,), frozen=True, kw_only=True)
    options = parse(kind, "mprl plot", words, Options.__doc__)
    if len(options.targets) != 1:
        raise SettingError(f"expected run folders or one environment, found {', '.join(options.targets)}")
    return options


def _environment(words: Sequence[str]) -> str | None:
    """The first of the words that is an environment's id and no folder."""
    for at, word in enumerate(words):
        value = at > 0 and words[at - 1].startswith("-") and "=" not in words[at - 1]
        if word.startswith("-") or value or Path(word).exists():
            continue
        try:
            environments.find(word)
        except UnknownNameError:
            continue
        return word
    return None


# --- runs ---------------------------------------------------------------------------------------------------------------------


def compare(folders: Sequence[Path], out: Path) -> Path:
    """Draw the learning curves of several runs into the same panels."""
    from mprl.scripts.figures import new_figure, save
    from mprl.scripts.plots import draw_learning, panels_of

    common = os.path.commonpath([folder.resolve().parent for folder in folders])
    runs = {os.path.relpath(folder.resolve(), common): metrics(folder) for folder in folders}
    figure = new_figure(3.8 * max(1, len(panels_of(runs.values()))), 3.2)
    draw_learning(figure, runs)
    return save(figure, out, "")


def show(folder: Path, out: Path) -> Path:
    """Draw the learning curve of a run and, of a tabular agent, what it has learned."""
    from mprl.agents.checkpoints import CONFIG, read_config
    from mprl.scripts.figures import new_figure, save
    from mprl.scripts.plots import draw_learning, panels_of
    from mprl.scripts.tabular_plots import draw, size

    learned = _learned(folder) if (folder / CONFIG).is_file() else None
    has_metrics = (folder / "metrics.csv").is_file()
    if learned is None or has_metrics:
        columns = metrics(folder)
    title = folder.resolve().name
    if (folder / CONFIG).is_file():
        config = read_config(folder)
        title = f"{config['env_id']} · {config['agent']} · {config['num_timesteps']:,} steps"
    curves = (3.6 * max(1, len(panels_of([columns]))), 3.0) if learned is None or has_metrics else (0.0, 0.0)
    tables = (0.0, 0.0) if learned is None else size(*learned)
    figure = new_figure(max(curves[0], tables[0]), curves[1] + tables[1])
    parts = [height for height in (curves[1], tables[1]) if height]
    # the parts begin at the left, as wide as they need to be
    rows = list(figure.subfigures(len(parts), 1, height_ratios=parts, squeeze=False).flatten())
    if curves[1]:
        draw_learning(rows.pop(0), {"": columns})
    if learned is not None:
        draw(rows.pop(0), *learned)
    return save(figure, out, title)


def metrics(folder: Path) -> Any:
    """The metrics of a run.

    Raises:
        CheckpointError: there are none in the folder.
    """
    from mprl.scripts.plots import read_metrics

    path = folder / "metrics.csv"
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no metrics.csv; is it a run folder of mprl train?")
    return read_metrics(path)


def _learned(folder: Path) -> Any:
    """How to draw the environment of a run, and the values and policy of its tabular agent; None of another agent."""
    from mprl.agents import load_agent
    from mprl.agents.checkpoints import read_config
    from mprl.scripts.evaluate import settings_of
    from mprl.scripts.layouts import drawing
    from mprl.scripts.tabular_plots import best_actions

    agent: Any = load_agent(folder, training=False)
    values, policy = (_mean(getattr(agent, name, None)) for name in ("values", "policy"))
    action_values = _mean(getattr(agent, "action_values", None))
    if action_values is not None:
        values, policy = np.max(action_values, axis=1), best_actions(action_values)
    if values is None:
        return None
    config = read_config(folder)
    env = environments.make(config["env_id"], 1, **settings_of(config))
    how = drawing(env)
    env.close()
    if how.layouts and max(layout.states.max() for layout in how.layouts) >= len(values):
        how = type(how)()  # observations are not the states
    return how, values, policy


def _mean(array: Any) -> Any:
    """Of a table of each world, the mean."""
    if not isinstance(array, np.ndarray):
        return None
    return array.mean(axis=0) if array.ndim == 3 else array


# --- planning -----------------------------------------------------------------------------------------------------------------


def plan(options: Any) -> Path:
    """Find the values and the policy of an environment, and draw them."""
    from mprl.scripts.tabular_plots import best_actions, plot_solution

    (env_id,) = options.targets
    env = environments.make(env_id, 1, **environments.changed(options.env)).unwrapped
    if not hasattr(env, "P") and hasattr(env, "envs"):  # one of your own, stepped in turn
        env = env.envs[0].unwrapped
    if not hasattr(env, "P"):
        raise SettingError(f"{env_id} has no P, the table of its transitions: there is nothing to plan with (mprl list envs)")
    model = getattr(env, "model", env)
    discount = options.discount if options.discount is not None else getattr(model, "discount", None)
    if discount is None:
        ends = any(outcome[3] for actions in env.P.values() for outcomes in actions.values() for outcome in outcomes)
        discount = 1.0 if ends else 0.99
    solution = solve(model, options.planner, discount)
    out = options.out or Path(f"{env_id.rpartition(':')[2].rpartition('/')[2]}.png")
    title = f"{env_id} · {options.planner.replace('-', ' ')}, discount {discount:g}"
    what = "Greedy policy" if options.planner == "policy-evaluation" else "Policy"
    return plot_solution(env, solution.values, best_actions(solution.action_values), out, title, what)


def solve(env: Any, planner: str, discount: float) -> Any:
    """The solution of an environment that has `P`."""
    from mprl import agents

    mdp = agents.TabularMDP.from_gymnasium(env, discount=discount)
    if planner == "policy-evaluation":
        return agents.PolicyEvaluation(mdp, mdp.random_policy()).solve(tolerance=TOLERANCE)
    name = "".join(word.capitalize() for word in planner.split("-"))
    return getattr(agents, name)(mdp).solve(tolerance=TOLERANCE)
