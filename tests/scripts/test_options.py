"""Options from dataclasses and from the signatures of environments."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

from mprl.errors import MprlError, SettingError
from mprl.scripts import environments
from mprl.scripts.options import names, parse
from mprl.scripts.train import named


class Clip:
    """Something that cannot be written on a command line."""


class Example(gym.Env):
    """An environment with every kind of argument. And a second sentence.

    Args:
        size: how large it is,
            in metres.
        mode, limit: how it works.
    """

    def __init__(
        self,
        required: int,
        size: float = 1.5,
        mode: Literal["slow", "fast"] = "slow",
        limit: float | None = None,
        source: str | Path | Clip | Sequence[str | Path | Clip] = "walk",
        scales: tuple[float, ...] = (1.0, 2.0),
        wrong: list[float] = "none",  # type: ignore[assignment]
        flag: bool = False,
        untyped=3,
        table: dict | None = None,
        render_mode: str | None = None,
        device: str = "cpu",
        **kwargs,
    ):
        pass


@pytest.fixture
def read():
    spec = EnvSpec("Example-v0", entry_point=Example, kwargs={"size": 2.5})
    options = dataclasses.make_dataclass("Options", [("env", environments.options(spec))])

    def parsed(*words: str):
        return parse(options, "mprl test", ["--env.required", "1", *words]).env

    parsed.options = options
    return parsed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--env.size", "3"], {"size": 3.0}),
        (["--env.size", "2.5"], {}),  # what it is registered with already
        (["--env.mode", "fast"], {"mode": "fast"}),
        (["--env.limit", "4"], {"limit": 4.0}),
        (["--env.source", "jump"], {"source": "jump"}),
        (["--env.source", "jump", "run"], {"source": ("jump", "run")}),
        (["--env.scales", "3", "4"], {"scales": (3.0, 4.0)}),
        (["--env.wrong", "[1.5]"], {"wrong": [1.5]}),
        (["--env.flag", "True"], {"flag": True}),
        (["--env.untyped", "5"], {"untyped": 5}),
        (["--env.table", "{'a': [1, 2]}"], {"table": {"a": [1, 2]}}),
        (["--env.table", "plain text"], {"table": "plain text"}),
    ],
)
def test_arguments_of_an_environment_are_options(read, words, expected):
    assert environments.changed(read(*words)) == {"required": 1, **expected}


def test_an_argument_without_default_is_asked_for(read):
    with pytest.raises(SettingError, match=r"missing: .*--env\.required"):
        parse(read.options, "mprl test", [])


def test_what_the_command_decides_is_no_option(read):
    known = names(read.options)
    assert "--env.size" in known and "--env.untyped" in known
    assert not {"--env.render-mode", "--env.device", "--env.kwargs", "--env.self"} & set(known)


def test_help_comes_from_the_docstring(read, capsys):
    with pytest.raises(SystemExit):
        read("--help")
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "how large it is, in metres. (default: 2.5)" in printed
    assert printed.count("how it works.") == 2


def test_the_summary_is_the_first_sentence():
    assert environments.summary(EnvSpec("Example-v0", entry_point=Example)) == "An environment with every kind of argument."


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Humanoid-v5", "mprl/DeepMimic-v0"])
def test_defaults_change_nothing(env_id):
    options = dataclasses.make_dataclass("Options", [("env", environments.options(environments.find(env_id)))])
    assert environments.changed(parse(options, "mprl test", []).env) == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("CartPole-v1 --agent dqn", ("CartPole-v1", "dqn")),
        ("--agent dqn CartPole-v1", ("CartPole-v1", "dqn")),
        ("--agent=dqn --seed 3 CartPole-v1", ("CartPole-v1", "dqn")),
        ("--seed -3 CartPole-v1 --steps 5", ("CartPole-v1", "ppo")),
        ("--help", (None, "ppo")),
        ("--help CartPole-v1", ("CartPole-v1", "ppo")),
        ("CartPole-v1 --env.motion walk jump", ("CartPole-v1", "ppo")),
    ],
)
def test_environment_and_agent_are_found_before_their_options_are_known(words, expected):
    at, agent = named(words.split())
    assert (None if at is None else words.split()[at], agent) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_a_mistake_reads_the_same_on_a_terminal_without_box_characters(monkeypatch, encoding):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))

    @dataclasses.dataclass(frozen=True)
    class Options:
        worlds: int

    with pytest.raises(SettingError, match=r"^--worlds: expected a whole number, found 'two' \(mprl x --help\)$"):
        parse(Options, "mprl x", ["--worlds", "two"])
    with pytest.raises(SettingError, match=r"^missing: --worlds INT"):
        parse(Options, "mprl x", [])


def test_both_spellings_of_an_option_work():
    options = dataclasses.make_dataclass("Options", [("num_envs", int)])
    assert parse(options, "mprl test", ["--num-envs", "4"]).num_envs == parse(options, "mprl test", ["--num_envs=4"]).num_envs == 4


def test_a_batch_of_its_own_is_preferred(monkeypatch):
    class Batch(gym.vector.VectorEnv):
        def __init__(self, num_envs, output="numpy", device="cpu", gain=1.0):
            self.metadata = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
            self.num_envs, self.received = num_envs, (num_envs, output, device, gain)

    spec = EnvSpec("Batch-v0", entry_point=Example, vector_entry_point=Batch)
    monkeypatch.setitem(gym.registry, "Batch-v0", spec)
    assert environments.make("Batch-v0", 7, device="cpu", gain=2.0).unwrapped.received == (7, "torch", "cpu", 2.0)


def test_a_missing_package_is_said_in_one_line(monkeypatch):
    def creator():
        raise gym.error.DependencyNotInstalled("Box2D is not installed\nand more")

    monkeypatch.setitem(gym.registry, "Needs-v0", EnvSpec("Needs-v0", entry_point=lambda: creator()))
    with pytest.raises(MprlError, match=r"^Needs-v0: Box2D is not installed$"):
        environments.make("Needs-v0", 1)


def test_a_module_that_fails_to_import_names_the_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_module.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(SettingError, match=r"broken_module\.py, line 2: ZeroDivisionError"):
        environments.find("broken_module:Name-v0")
