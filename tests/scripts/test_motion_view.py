"""`mprl motion view`: clips in the browser."""

from __future__ import annotations

import socket

import pytest

from mprl.motion.formats import npz
from mprl.motion.load import load
from mprl.motion.viewing import LiveView


def test_a_page_of_several_motions(mprl, tmp_path):
    npz.write(load("jump"), tmp_path / "own.npz")
    done = mprl("motion", "view", "walk", "own.npz", "--html", "out.html")
    size = (tmp_path / "out.html").stat().st_size
    assert (done.code, done.err) == (0, "") and done.out == f"wrote out.html: {load('jump').duration:.2f} s, {size / 1000:.0f} kB\n"


def test_ctrl_c_ends_it_in_one_line(mprl, monkeypatch):
    pytest.importorskip("viser")

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveView, "run", interrupted)
    done = mprl("motion", "view", "walk", "--port", "0")
    first, second, *others = done.out.splitlines()
    assert first.startswith("open http://127.0.0.1:") and first.endswith(" in a browser; Ctrl-C ends")
    assert (second.strip() or others[0], done.err, done.code) == ("stopped", "", 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "expected at least one motion, found none"),
        (["wlak"], "no motion named 'wlak'; did you mean 'walk'?"),
        (["missing.bvh"], "missing.bvh: no such file"),
        (["walk", "--html", "nowhere/out.html"], "nowhere/out.html: the folder nowhere does not exist"),
        (["walk", "--html", "out.txt"], "out.txt: a page is written as .html, not '.txt'"),
        (["walk", "--character", "robot.xml"], "robot.xml: no such character file"),
        (["walk", "--port", "99999"], "port: expected 1 to 65535"),
    ],
)
def test_mistakes_are_one_line(mprl, tmp_path, words, says):
    if "--port" in words:
        pytest.importorskip("viser")
    assert says in mprl("motion", "view", *words).mistake
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken(mprl):
    pytest.importorskip("viser")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert mprl("motion", "view", "walk", "--port", str(taken)).mistake.startswith(f"port {taken} cannot be used: ")
