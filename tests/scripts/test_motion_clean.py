"""`mprl motion clean`: a run folder in, a motion out; one line for each mistake."""

from __future__ import annotations

import gymnasium as gym
import pytest

from mprl.agents import PPO
from mprl.motion import edit, load
from mprl.motion.formats import npz


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """An agent whose actions are next to none, on a squat's first half second, which stands."""
    folder = tmp_path_factory.mktemp("clean")
    npz.write(edit.trim(load("squat"), 0, 0.5), folder / "standing.npz")
    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=2, motion=str(folder / "standing.npz"), output="torch", num_threads=1)
    PPO(env, seed=0, hidden=(8,), n_steps=8, batch_size=16).save(folder / "run")
    return folder / "run"


def test_a_motion_is_written_and_told_of_before_and_after(mprl, tmp_path, untrained):
    done = mprl("motion", "clean", untrained, "made.npz")
    assert done.code == 0 and "before" in done.out and "after" in done.out and "jitter" in done.out and "wrote made.npz" in done.out
    assert load(tmp_path / "made.npz").num_frames == edit.trim(load("squat"), 0, 0.5).num_frames


def test_a_fall_is_one_line_and_nothing_is_written(mprl, tmp_path, untrained):
    assert "after" in (told := mprl("motion", "clean", untrained, "made.npz", "--motion", "spinkick").mistake) and "let it learn" in told
    assert not (tmp_path / "made.npz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none", "made.npz"], "none: no such run folder"),
        (["empty", "made.npz"], "empty: holds no agent"),
        (["{run}", "made.bvh"], "motions are written as .npz, not '.bvh'"),
        (["{run}", "none/made.npz"], "the folder none does not exist"),
        (["{run}", "made.npz", "--motion", "spinkik"], "did you mean 'spinkick'?"),
    ],
)
def test_mistakes_are_one_line(mprl, tmp_path, untrained, words, message):
    (tmp_path / "empty").mkdir()
    assert message in mprl("motion", "clean", *(str(word).format(run=untrained) for word in words)).mistake


def test_an_agent_of_another_environment_is_refused(mprl, trained):
    assert "an agent of CartPole-v1; expected one of mprl/DeepMimic-v0" in mprl("motion", "clean", trained, "made.npz").mistake
