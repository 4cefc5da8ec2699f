"""Running the command line in this process, and a small trained agent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from mprl.errors import RenderingError
from mprl.scripts.main import main
from mprl.simulation.rendering import opengl_backend


class Outcome(NamedTuple):
    """What a command line left behind."""

    code: int
    out: str
    err: str

    @property
    def mistake(self) -> str:
        """The one line that a user's mistake is told in."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.err.startswith("mprl: ") and self.err.endswith("\n") and self.err.count("\n") == 1, self.err
        return self.err.removeprefix("mprl: ").rstrip("\n")


@pytest.fixture
def mprl(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """`mprl("list", "envs")` runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Outcome:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training ends without its picture, half of the time of a short run; that it is drawn is seen in `trained`, below."""
    monkeypatch.setattr("mprl.scripts.plots.learning_curve", lambda metrics, out, title="": out)


@pytest.fixture
def can_render() -> None:
    """The test is skipped where no picture can be made."""
    try:
        opengl_backend()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an agent that had a few hundred steps in CartPole. To be read only."""
    folder = tmp_path_factory.mktemp("runs") / "cartpole"
    words = ["CartPole-v1", "--steps", "600", "--num-envs", "4", "--agent.batch-size", "64", "--agent.hidden", "16", "--out", str(folder)]
    assert main(["train", *words]) == 0
    return folder
