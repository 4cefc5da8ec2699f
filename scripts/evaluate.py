"""`mprl evaluate DIR`: measure a trained agent without exploration, and film it."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/evaluate.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["evaluate", *sys.argv[1:]]))

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import CheckpointError, SettingError
from mprl.scripts import environments
from mprl.scripts.options import check_folder, check_video, parse
from mprl.scripts.tables import table

if TYPE_CHECKING:
    from mprl.envs.wrappers import Source

# Pictures that an evaluation leaves in the run folder, by the results that they show.
PICTURES = {"error_over_phase": "phase_error.png", "failures": "failures.png"}

# Arguments of a batch that belong to how it was trained, not to what was trained.
OF_TRAINING = ("num_envs", "vectorization_mode", "output", "device", "backend", "autoreset_mode", "render_mode")

# Results in the order of the table: key, what it is, unit, how it is written.
ROWS = (
    ("episodes", "episodes", "", "{:.0f}"),
    ("return_mean", "return", "", "{:.2f}"),
    ("return_std", "standard deviation of the return", "", "{:.2f}"),
    ("length_mean", "length of an episode", "steps", "{:.1f}"),
    ("episodes_cut_off", "episodes that did not end and were cut off", "", "{:.0f}"),
    ("normalized_return", "normalised return", "", "{:.3f}"),
    ("normalized_return_paper", "normalised return, reward of the paper", "", "{:.3f}"),
    ("success_rate", "success: no fall, never .5 m off", "", "{:.1%}"),
    ("fall_rate", "falls", "", "{:.1%}"),
    ("lasts_10_s_rate", "lasts 10 s, or to the end of the clip", "", "{:.1%}"),
    ("mpjpe_global_mm", "position error", "mm", "{:.1f}"),
    ("mpjpe_local_mm", "position error, relative to the root", "mm", "{:.1f}"),
    ("velocity_error_mm_per_frame", "velocity error", "mm/frame", "{:.2f}"),
    ("acceleration_error_mm_per_frame2", "acceleration error", "mm/frame²", "{:.2f}"),
    ("frame_rate_hz", "frame rate", "Hz", "{:g}"),
    ("goal_reward", "reward of the goal", "", "{:.3f}"),
    ("heading_error_deg", "direction error", "°", "{:.1f}"),
    ("heading_error_settled_deg", "direction error, 2 s after a command", "°", "{:.1f}"),
    ("speed_error_settled", "speed error, 2 s after a command", "m/s", "{:.3f}"),
    ("targets", "targets", "", "{:.0f}"),
    ("hit_rate", "targets hit", "", "{:.1%}"),
)


@dataclass(frozen=True)
class Options:
    """Measure a trained agent: deterministic policy, a table, and where asked for a video and a JSON file."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """run folder, as `mprl train` leaves it"""
    episodes: int = 32
    """how many episodes"""
    seed: int = 0
    """of the environment"""
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """film one episode; .mp4 or .gif"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """write the results"""
    max_episode_steps: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """cut longer episodes off; by default at 10 000 steps, or as many as the environment is registered with, if those are more"""
    motion: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|FILE|DIR ...", help_behavior_hint="")] = ()
    """imitate other motions than those it has learned: shipped ones, files, folders, all"""
    push: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="")] = 0
    """instead: how strong a push on the root for .2 s does it survive, in four directions?"""
    push_most: Annotated[float, tyro.conf.arg(metavar="N")] = 1000.0
    """greatest push that is tried, newtons"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl evaluate`."""
    options = parse(Options, "mprl evaluate", argv)
    if options.json is not None:
        check_folder(options.json)
    results: dict[str, Any]
    if options.push:
        from mprl.scripts import pushes

        results = pushes.measure(options.folder, options.push_most, options.motion)
        pushes.show(results)
    else:
        results = evaluate_folder(options.folder, options.episodes, options.seed, options.video, options.max_episode_steps, options.motion)
        show(results)
    if options.json is not None:
        write_json(options.json, results)
    drawn = [picture(options.folder, key) for key in PICTURES if key in results]
    for path in (options.video, options.json, *drawn):
        if path is not None and path.exists():
            print(f"wrote {path}")
    return 0


def picture(folder: Path, shows: str) -> Path:
    """Where a picture of an evaluation is left: in the run folder; of an agent that ships in the present one, under its name."""
    from mprl.agents import shipped

    return folder / PICTURES[shows] if shipped.located(folder) == folder else Path(f"{folder}_{PICTURES[shows]}")


def evaluate_folder(
    folder: Path,
    episodes: int = 32,
    seed: int = 0,
    video: Path | None = None,
    max_episode_steps: int | None = None,
    motion: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate the agent in a run folder, in the environment that it was trained in.

    Args:
        folder: with `config.json` and the weights; for imitation a plot of the tracking error over the phase is left there, and for
            a library one of where in which clip it fails (`picture`).
        episodes: how many.
        seed: of the environment.
        video: where to film one episode.
        max_episode_steps: longer episodes are cut off there; see `mprl.agents.evaluate`.
        motion: what is imitated instead of what was learned.

    Raises:
        MprlError: a folder that holds no agent, a broken one, or one of another environment.
        RenderingError: a video is asked for where no picture can be made.
    """
    from mprl.agents import evaluate, load_agent
    from mprl.agents.checkpoints import read_config
    from mprl.scripts import clips
    from mprl.scripts.plots import phase_error

    if episodes < 1:
        raise SettingError(f"expected at least 1 episode, found --episodes {episodes}")
    if max_episode_steps is not None and max_episode_steps < 1:
        raise SettingError(f"--max-episode-steps must be at least 1, found {max_episode_steps}")
    config = read_config(folder)
    if video is not None:
        check_video(video)
        check_pictures(config["env_id"], "--video")
    changes = clips.instead(config, motion)
    env = environment(config, episodes, **changes, **({} if video is None else {"render_mode": "rgb_array"}))
    try:
        agent = load_agent(folder, env, training=False)
        results = evaluate(agent, env, episodes, seed, video, max_episode_steps)
        results |= clips.evaluate_clips(agent, env, episodes, seed)
    finally:
        env.close()
    results["env_id"] = config["env_id"]
    if "error_over_phase" in results:
        phase_error(results["error_over_phase"], picture(folder, "error_over_phase"), f"{config['env_id']} · {config['agent']}")
    if "failures" in results:
        clips.draw(results, picture(folder, "failures"), f"{config['env_id']} · {config['agent']}")
    return results


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of the environment that an agent was trained in, without those of how it was trained."""
    return {key: value for key, value in config["env_kwargs"].items() if key not in OF_TRAINING}


def environment(config: Mapping[str, Any], episodes: int, **changes: Any) -> Any:
    """The environment that an agent was trained in, with worlds for so many episodes."""
    return environments.make(config["env_id"], min(episodes, 16), source=source_of(config), **{**settings_of(config), **changes})


def source_of(config: Mapping[str, Any]) -> Source | None:
    """The source of the pictures that an agent sees, if it sees any."""
    content = (config.get("perception") or {}).get("source")
    if content is None:
        return None
    from mprl.envs.wrappers import Source

    return Source.from_json(content)


def check_pictures(env_id: str, option: str) -> None:
    """Say now, and not when the film is made, that none can be made of this environment.

    Raises:
        SettingError: it makes no pictures; `option` asked for them.
        RenderingError: there is no OpenGL to make them with.
    """
    from mprl.simulation.rendering import opengl_backend

    spec = environments.find(env_id)
    if not environments.makes_pictures(spec):
        raise SettingError(f"{env_id} makes no pictures: 'rgb_array' is not among its render modes; leave out {option}")
    if "mprl.envs.imitation." in str(spec.entry_point):  # others have their own ways to draw
        opengl_backend()


def show(results: Mapping[str, Any]) -> None:
    """Print results as a table."""
    rows = [
        (name, f"{form.format(results[key])} {unit}".strip()) for key, name, unit, form in ROWS if isinstance(results.get(key), int | float)
    ]
    table((f"{results['env_id']}, {results['agent']}", ""), rows)
    if "clips" in results:
        from mprl.scripts import clips

        clips.show(results)


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Write results; the file appears whole or not at all. What is not finite is null.

    Raises:
        CheckpointError: it cannot be written.
    """
    from mprl.files import write_atomically

    try:
        write_atomically(path, (json.dumps(_plain(results), indent=2, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
