"""`mprl motion clean`: a motion as a trained character does it, without what no body can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mprl.errors import CheckpointError, SettingError
from mprl.scripts.options import check_folder
from mprl.scripts.reading import text

ENV_ID = "mprl/DeepMimic-v0"


@dataclass(frozen=True)
class Options:
    """Clean a motion by physics: the character that has learned to imitate it does it, and that is the clean motion."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """run folder, as `mprl train mprl/DeepMimic-v0 --env.motion FILE` leaves it"""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.npz")]
    """where to write the motion"""
    motion: Annotated[str | None, text("FILE|NAME")] = None
    """what to clean, by default what the agent learned from"""
    plot: Annotated[Path | None, text("FILE.png")] = None
    """draw how deep and how far feet slide, before and after"""


def run(options: Options, words: Sequence[str] = ()) -> None:
    """Roll out, write, and tell what became of it; each version's sliding is that of the frames in which its own feet stand."""
    from mprl.agents import load_agent
    from mprl.agents.checkpoints import read_config
    from mprl.agents.evaluation import Player
    from mprl.envs.imitation.rollout import clean
    from mprl.motion.formats import npz
    from mprl.motion.retarget import report, target_of
    from mprl.scripts.evaluate import environment
    from mprl.scripts.tables import table

    if options.out.suffix.lower() != ".npz":
        raise SettingError(f"{options.out}: motions are written as .npz, not '{options.out.suffix}'")
    for path in (options.out, options.plot):
        if path is not None:
            check_folder(path)
    config = read_config(options.folder)
    if config["env_id"] != ENV_ID:
        raise CheckpointError(f"{options.folder}: an agent of {config['env_id']}; expected one of {ENV_ID}, which imitates a motion")
    if (config.get("perception") or {}).get("source") is not None:
        raise CheckpointError(f"{options.folder}: an agent that sees pictures; expected one that is told the state")
    env = environment(config, 1, output="torch")
    try:
        agent = load_agent(options.folder, env, training=False)
        clip = _clip(options.motion, config)
        target = target_of(env.unwrapped.character)
        before, after = clean(env.unwrapped, Player(agent, agent._make_batch(env).observation), target, clip)
    finally:
        env.close()
    npz.write(after, options.out)
    was, now = (report.measure(each, target) for each in (before, after))
    table(("motion", "", *report.COLUMNS.values()), [(clip.name, "before", *report.row(was)), ("", "after", *report.row(now))])
    if options.plot is not None:
        report.plot(options.plot, f"{clip.name}, cleaned by physics", was, now, clip.frame_rate)
        print(f"wrote {options.plot}")
    print(f"wrote {options.out}")


def _clip(motion: str | None, config: dict[str, Any]) -> Any:
    """What is asked for, or what the agent learned from.

    Raises:
        SettingError: it learned from several motions.
    """
    from mprl.envs.imitation import checks

    clips = checks.clips(motion if motion is not None else config["env_kwargs"].get("motion", "walk"))
    if len(clips) > 1:
        raise SettingError(f"the agent learned from {len(clips)} motions; say which one to clean: --motion FILE")
    return clips[0]
