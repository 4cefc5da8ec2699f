"""`mprl play`: a trained agent, or an environment before anybody has learned in it."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from mprl.motion.viewing.pictures import LivePictures
from mprl.scripts import play

OWN = """
import gymnasium as gym

class Dark(gym.Env):
    '''Nothing to be seen.'''
    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)

gym.register("Dark-v0", Dark, disable_env_checker=True)
"""


@pytest.mark.slow
def test_a_page_of_a_shipped_agent(mprl):
    done = mprl("play", "walk", "--seconds", "0.5", "--html", "walk.html")
    assert (done.code, done.err) == (0, "") and re.fullmatch(r"wrote walk\.html: \d+ kB\n", done.out)
    assert "<title>walk · walk</title>" in Path("walk.html").read_text(encoding="utf-8")


def test_an_environment_and_another_clip_without_an_agent(mprl):
    words = ("--policy", "zero", "--env.motion", "squat", "--seconds", "0.2", "--html", "page.html")
    assert mprl("play", "mprl/DeepMimic-v0", *words).code == 0
    assert "<title>mprl/DeepMimic-v0 · zero · squat</title>" in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_films(mprl, trained, can_render):
    for words in (["walk"], [str(trained)], ["CartPole-v1", "--policy", "random"]):
        done = mprl("play", *words, "--seconds", "0.3", "--video", "film.mp4")
        assert (done.code, done.err) == (0, "") and b"ftyp" in Path("film.mp4").read_bytes()[:16]


def test_without_a_display_the_address_is_printed_and_it_goes_on(mprl, monkeypatch):
    pytest.importorskip("viser")
    from mprl.envs.imitation.live import LivePlay

    def interrupted(self):
        raise KeyboardInterrupt

    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(play.sys, "platform", "linux")
    monkeypatch.setattr(play.webbrowser, "open", lambda url: pytest.fail("a browser that nobody sees"))
    monkeypatch.setattr(LivePlay, "run", interrupted)
    done = mprl("play", "walk", "--port", "0")
    assert re.match(r"open http://127\.0\.0\.1:\d+ in a browser; Ctrl-C ends\n\s*stopped\n", done.out) and done.code == 0


def test_an_environments_own_pictures_are_shown(mprl, monkeypatch, can_render):
    pytest.importorskip("viser")
    seen = []
    monkeypatch.setattr(LivePictures, "run", lambda self: seen.append((self.step(), self._state.content)))
    assert mprl("play", "CartPole-v1", "--policy", "zero", "--port", "0").code == 0
    assert seen[0][1] == "**CartPole-v1 · zero** · step 2 · return 2.00"


@pytest.mark.slow
def test_mistakes_are_one_line(mprl, tmp_path, monkeypatch):
    (tmp_path / "dark.py").write_text(OWN)
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    for words, says in (
        ("wlak", "wlak: no such run folder, and no trained agent of that name; did you mean 'walk'? (mprl list trained)"),
        ("empty", "empty: holds no agent (config.json is missing)"),
        ("runs/none", "runs/none: no such run folder"),
        ("mprl/DeepMimic-v0", "mprl/DeepMimic-v0 has no agent: --policy zero or --policy random says who acts"),
        ("mprl/DeepMimik-v0 --policy zero", "no environment named 'mprl/DeepMimik-v0'; did you mean 'mprl/DeepMimic-v0'?"),
        ("walk --policy none", "policy: expected one of"),
        ("walk --seconds 0", "--seconds must be a positive number, found 0"),
        ("walk --html out.txt", "out.txt: a page is written as .html, not '.txt'"),
        ("walk --html nowhere/out.html", "nowhere/out.html: the folder nowhere does not exist"),
        ("walk --video out.avi", "out.avi: a video is written as .mp4 or .gif"),
        ("walk --env.motoin jump", "no option named '--env.motoin'; did you mean '--env.motion'?"),
        ("dark:Dark-v0 --policy zero", "dark:Dark-v0 makes no pictures: 'rgb_array' is not among its render modes"),
        ("CartPole-v1 --policy zero --html out.html", "out.html: a page shows simulated characters, and CartPole-v1"),
    ):  # fmt: skip
        assert says in mprl("play", *words.split()).mistake
    gym.registry.pop("Dark-v0", None)
    sys.modules.pop("dark", None)
    assert mprl("play").mistake.startswith("missing: ")


def test_a_port_that_is_taken_and_a_missing_viewer(mprl, monkeypatch):
    pytest.importorskip("viser")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert mprl("play", "walk", "--port", str(taken)).mistake.startswith(f"port {taken} cannot be used: ")
    monkeypatch.setitem(sys.modules, "viser", None)
    assert "pip install 'mprl[viewer]'" in mprl("play", "walk").mistake or "viser, which cannot" in mprl("play", "walk").mistake
