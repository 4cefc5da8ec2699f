"""`mprl perception`, and agents of `mprl train` that see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pygame")

SMALL = ("--pixels", "16", "--samples", "300", "--features", "4", "--batch-size", "64")
LAYERS = ("--settings", '{"layers": [4, 4]}')
NORM = ("--network", '{"channels": [4, 4], "kernels": [4, 4], "strides": [4, 2], "output": "norm"}')
AGENT = ("--steps", "64", "--num-envs", "2", "--agent.n-steps", "16", "--agent.batch-size", "16", "--agent.hidden", "8")


@pytest.mark.slow
def test_from_pictures_to_an_agent_that_sees(mprl):
    asked = ("perception", "train", "vae", "--env", "CartPole-v1", "--out", "eyes", *SMALL, *LAYERS)
    done = mprl(*asked, "--epochs", "1")
    assert done.code == 0, done.err
    assert {"perception.json", "perception.safetensors", "evaluation.json", "reconstruction.png", "data", "run.json"} <= {
        path.name for path in Path("eyes").iterdir()
    }
    results = json.loads(Path("eyes/evaluation.json").read_text())
    assert len(results["probe_r2"]) == 4 and results["probe_r2_mean"] <= 1

    again = mprl(*asked, "--epochs", "2")  # goes on: the pictures are there, and so is the first epoch
    assert again.code == 0 and "recording" not in again.err
    other = mprl("perception", "train", "vae", "--env", "CartPole-v1", "--out", "eyes", *SMALL, "--seed", "1")
    assert other.code == 2 and "holds a training with" in other.err

    assert mprl("train", "CartPole-v1", "--perception", "eyes", "--out", "run", *AGENT).code == 0
    config = json.loads(Path("run/config.json").read_text())["perception"]
    assert config["spec"]["frozen"] and config["source"]["size"] == 16 and config["network"]["name"] == "vae"
    judged = mprl("evaluate", "run", "--episodes", "2")
    assert judged.code == 0 and "CartPole-v1" in judged.out
    assert mprl("train", "--resume", "run", "--steps", "128").code == 0


@pytest.mark.slow
def test_a_new_model_learns_along(mprl):
    done = mprl(
        "train", "CartPole-v1", "--perception", "cnn", "--pixels", "40", "--stack", "2", "--grey", "True", "--out", "run", *AGENT, *NORM
    )
    assert done.code == 0, done.err
    config = json.loads(Path("run/config.json").read_text())
    assert config["observation_space"]["shape"] == [40, 40, 2] and not config["perception"]["spec"]["frozen"]
    assert config["perception"]["network"]["output"] == "norm"
    assert mprl("evaluate", "run", "--episodes", "1").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "CartPole-v1", "--perception", "cnn", "--num-envs", "1", "--network", '{"kernel": 3}'), "did you mean 'kernels'"),
        (("train", "CartPole-v1", "--perception", "nowhere"), "no perception model or folder named 'nowhere'"),
        (("train", "CartPole-v1", "--pixels", "32"), "--pixels is for --perception MODEL"),
        (("train", "CartPole-v1", "--perception", "cnn", "--camera", "head"), "CartPole-v1"),
        (("train", "CliffWalking-v1", "--agent", "q-learning", "--perception", "cnn"), "tabular agents need observations"),
        (("train", "CartPole-v1", "--perception", "."), "holds no perception model"),
        (("perception", "see"), "no perception command named 'see'"),
        (("perception", "train", "wae", "--env", "CartPole-v1", "--out", "x"), "did you mean 'vae'"),
        (("perception", "train", "cnn", "--env", "CartPole-v1", "--out", "x"), "does not learn from pictures alone"),
        (("perception", "train", "vae", "--env", "CartPole-v1", "--out", "x", "--settings", "{beta}"), "--settings must be JSON"),
        (("perception", "train", "vae", "--env", "CartPloe-v1", "--out", "x", *SMALL), "did you mean 'CartPole-v1'"),
        (("train", "CartPole-v1", "--perception", "cnn", "--features", "0", "--num-envs", "1"), "at least one feature, found 0"),
        (("perception", "train", "vae", "--env", "CartPole-v1", "--out", "x", "--minutes", "0"), "minutes must be positive, found 0"),
        (("perception", "evaluate", "nowhere"), "holds no perception model"),
        (("perception", "train", "vae", "--env", "CartPole-v1", "--out", "x", "--stack", "0"), "stack must be at least 1, found 0"),
        (("train", "CartPole-v1", "--perception", "cnn", "--pixels", "0", "--num-envs", "1"), "size must be at least 1, found 0"),
    ],
)
def test_mistakes_are_told_in_one_line(mprl, words, message):
    done = mprl(*words)
    assert done.code == 2
    assert message in done.err and done.err.count("\n") == 1 and done.err.startswith("mprl: "), done.err


@pytest.mark.parametrize("settings", ['{"beta": "4"}', '{"layers": 3}', '{"layers": [-1]}', '{"features": 3}', '{"bta": 4}'])
def test_settings_that_no_model_has_are_told_before_anything_is_recorded(mprl, settings):
    done = mprl("perception", "train", "vae", "--env", "CartPole-v1", "--out", "x", *SMALL, "--settings", settings)
    assert done.code == 2 and done.err.count("\n") == 1 and done.err.startswith("mprl: "), done.err
    assert not Path("x").exists()


def test_a_crop_beyond_the_picture_is_told_before_anything_is_written(mprl):
    done = mprl("perception", "train", "vae", "--env", "CartPole-v1", "--out", "x", *SMALL, *LAYERS, "--crop", "0", "0", "9000", "10")
    assert done.code == 2 and "reaches beyond the frame" in done.err
    assert not Path("x").exists()


@pytest.mark.slow
def test_states_of_other_pictures_are_standardised_as_when_it_learned(mprl):
    """A model of pictures and states knows states in the unit of its training alone."""
    one_layer = ("--settings", '{"channels": [4], "kernels": [4], "strides": [4]}')
    train = ("perception", "train", "image_state", *SMALL, "--epochs", "1", *one_layer)
    assert mprl(*train, "--env", "CartPole-v1", "--out", "eyes").code == 0
    here = json.loads(Path("eyes/evaluation.json").read_text())["loss"]
    Path("eyes/states.json").write_text(Path("eyes/states.json").read_text().replace('"std": [', '"std": [9'))
    assert mprl("perception", "evaluate", "eyes").code == 0
    assert json.loads(Path("eyes/evaluation.json").read_text())["loss"] != here
    assert mprl(*train, "--env", "Acrobot-v1", "--out", "other").code == 0
    strange = mprl("perception", "evaluate", "eyes", "--data", "other/data")
    assert strange.code == 2 and "states of 6 numbers" in strange.err
