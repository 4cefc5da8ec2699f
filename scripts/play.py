"""`mprl play NAME|DIR|ENV_ID`: a trained agent at play, or an environment before anybody has learned in it."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/play.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["play", *sys.argv[1:]]))

import contextlib
import dataclasses
import math
import os
import re
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mprl.errors import SettingError
from mprl.scripts import environments, evaluate
from mprl.scripts.options import check_folder, check_video, parse

_ENVIRONMENT = re.compile(r"-v\d+$")


@dataclass(frozen=True)
class Options:
    """Watch a trained agent in the browser: push it, slow it down, see its reward. Or write a page or a film of it."""

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|DIR|ENV_ID")]
    """a trained agent that ships (mprl list trained), a run folder, or an environment, for which --policy says who acts"""
    policy: Annotated[Literal["zero", "random"] | None, tyro.conf.arg(help_behavior_hint="")] = None
    """actions of zero, or random ones, in place of an agent's"""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """write an episode as a page in one file, which needs no network, in place of starting a server"""
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """film an episode, in place of starting a server; .mp4 or .gif"""
    seconds: float = 10.0
    """of the page or the film at most"""
    port: Annotated[int | None, tyro.conf.arg(metavar="PORT", help_behavior_hint="")] = None
    """of the server on this machine; 0 for any that is free; by default 8080, or the next one that is"""
    seed: int = 0
    """of the environment and of random actions"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl play`."""
    options = read(argv)
    with contextlib.closing(make(options)) as show:
        if options.html is None and options.video is None:
            live(show, options.port)
        if options.html is not None:
            show.page(options.html, options.seconds)
            print(f"wrote {options.html}: {options.html.stat().st_size / 1000:.0f} kB")
        if options.video is not None:
            show.film(options.video, options.seconds)
            print(f"wrote {options.video}")
    return 0


# --- the command line --------------------------------------------------------------------------------------------------------


def read(argv: Sequence[str]) -> Any:
    """The options, with `env` for the environment of what is named and `config` for the agent, {} where there is none.

    Raises:
        MprlError: an unknown agent, folder, environment or option, or a value that cannot be.
    """
    words = list(argv)
    at = _named(words)
    if at is None:
        return parse(Options, "mprl play", words)
    what = words.pop(at)
    config = _config(what)
    spec = environments.find(config.get("env_id", what))
    fields = [
        ("env", environments.options(spec), dataclasses.field()),
        ("config", Annotated[Any, tyro.conf.Suppress], dataclasses.field(default=None)),
    ]
    made = dataclasses.make_dataclass("PlayOptions", fields, bases=(Options,), frozen=True, kw_only=True)
    options: Any = parse(made, "mprl play", [what, *words], f"Watch {what}. {environments.summary(spec)}", f"mprl play {what} --help")
    _check(options, config, spec)
    return dataclasses.replace(options, config=config)


def _named(words: Sequence[str]) -> int | None:
    """Where the first word is that is neither an option nor an option's value."""
    at = 0
    while at < len(words):
        if not words[at].startswith("-"):
            return at
        at += 1 if "=" in words[at] or words[at] in ("-h", "--help") else 2
    return None


def _config(what: str) -> dict[str, Any]:
    """The settings of the agent of this name or in this folder; {} of an environment."""
    from mprl.agents.checkpoints import read_config
    from mprl.errors import CheckpointError

    try:
        return read_config(Path(what))
    except CheckpointError:
        if not Path(what).exists() and (_ENVIRONMENT.search(what) or ":" in what):
            return {}
        raise


def _check(options: Any, config: dict[str, Any], spec: Any) -> None:
    from mprl.agents.environments import check_seed

    check_seed(options.seed)
    if not config and options.policy is None:
        raise SettingError(
            f"{options.what} has no agent: --policy zero or --policy random says who acts, or name a run folder of mprl train"
        )
    if not (options.seconds > 0 and math.isfinite(options.seconds)):
        raise SettingError(f"--seconds must be a positive number, found {options.seconds:g}")
    if options.html is not None:
        check_folder(options.html)
    if options.video is not None:
        check_video(options.video)
    if not environments.makes_pictures(spec):
        raise SettingError(f"{options.what} makes no pictures: 'rgb_array' is not among its render modes, so there is nothing to show")


# --- showing -----------------------------------------------------------------------------------------------------------------


def make(options: Any) -> Any:
    """What is shown, of `shows.py`: it has `live(port)`, `page(path, seconds)`, `film(path, seconds)` and `close()`."""
    from mprl.agents import load_agent
    from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
    from mprl.scripts.shows import Blind, Drawn, Simulated

    config, changes = options.config, environments.changed(options.env)
    source = evaluate.source_of(config) if config else None
    settings = {**(evaluate.settings_of(config) if config else {}), **changes}
    env = environments.make(config.get("env_id", options.what), 1, source=source, render_mode="rgb_array", **settings)
    space = env.single_action_space
    who = Blind(space, options.policy, options.seed) if options.policy else load_agent(options.what, env, training=False)
    name = options.what.rstrip("/") + (f" · {options.policy}" if options.policy else "")
    simulated = source is None and isinstance(env.unwrapped, DeepMimicVectorEnv)
    if not simulated or options.video is not None:
        evaluate.check_pictures(env.spec.id if env.spec else config.get("env_id", options.what), "--video")
    return (Simulated if simulated else Drawn)(env, who, name, options.seed)


def live(show: Any, port: int | None) -> None:
    """Serve it until Ctrl-C; open a browser where there is a display."""
    with show.live(port) as view:
        print(f"open {view.url} in a browser; Ctrl-C ends", flush=True)
        if has_display():
            webbrowser.open(view.url)
        try:
            view.run()
        except KeyboardInterrupt:
            print("\nstopped")


def has_display() -> bool:
    """Whether a browser that is opened would be seen."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
