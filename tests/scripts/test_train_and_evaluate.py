"""From an environment's name to a run folder, and from a run folder to numbers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mprl.agents import load_agent

SMALL = ("--num-envs", "4", "--agent.n-steps", "16", "--agent.batch-size", "32", "--agent.hidden", "16")


def test_a_run_folder_holds_everything(trained):
    found = {path.name for path in trained.iterdir()}
    assert {"config.json", "weights.safetensors", "metrics.csv", "learning_curve.png"} <= found
    assert any(path.name.startswith("events.") for path in trained.rglob("*"))
    config = json.loads((trained / "config.json").read_text())
    assert (config["agent"], config["env_id"], config["settings"]["hidden"]) == ("ppo", "CartPole-v1", [16])
    assert config["num_timesteps"] >= 600
    assert (trained / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_evaluation_leaves_a_table_and_json(mprl, trained):
    done = mprl("evaluate", trained, "--episodes", "5", "--json", "results.json")
    assert (done.code, done.err) == (0, "")
    results = json.loads(Path("results.json").read_text())
    assert {"env_id", "agent", "episodes", "return_mean", "return_std", "length_mean"} <= set(results)
    assert (results["env_id"], results["agent"], results["episodes"]) == ("CartPole-v1", "ppo", 5)
    assert results["return_mean"] == pytest.approx(results["length_mean"])  # CartPole gives 1 for each step
    assert "return" in done.out and f"{results['return_mean']:.2f}" in done.out


def test_evaluation_is_repeatable(mprl, trained):
    for name in ("first.json", "second.json"):
        assert mprl("evaluate", trained, "--episodes", "4", "--seed", "7", "--json", name).code == 0
    assert Path("first.json").read_text() == Path("second.json").read_text()


def test_a_seed_makes_a_run_repeatable(mprl, undrawn):
    for name in ("first", "second"):
        assert mprl("train", "CartPole-v1", "--steps", "200", "--seed", "3", "--out", name, *SMALL).code == 0
    assert Path("first/weights.safetensors").read_bytes() == Path("second/weights.safetensors").read_bytes()


def test_without_out_the_run_is_named_after_what_it_is(mprl, undrawn):
    assert mprl("train", "CartPole-v1", "--steps", "64", *SMALL).code == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("CartPole-v1-ppo-")


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the trained agent, to break."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_half_a_file_is_refused(mprl, copy, name):
    cut_in_half(copy / name)
    assert mprl("evaluate", copy, "--json", "results.json").mistake.startswith(f"{copy / name}: ")
    assert not Path("results.json").exists()


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_missing_file_is_named(mprl, copy, name):
    (copy / name).unlink()
    assert name in mprl("evaluate", copy).mistake


def test_an_empty_run_folder_is_refused(mprl, tmp_path):
    (tmp_path / "empty").mkdir()
    assert mprl("evaluate", "empty").mistake.startswith("empty: holds no agent")


def test_the_agent_of_another_environment_is_refused(mprl, copy):
    config = json.loads((copy / "config.json").read_text())
    config["env_id"], config["env_kwargs"] = "Pendulum-v1", {}
    (copy / "config.json").write_text(json.dumps(config))
    line = mprl("evaluate", copy).mistake
    assert line.startswith(f"{copy}: ") and "(4,)" in line and "(3,)" in line


def test_an_argument_that_the_environment_does_not_know_is_named(mprl, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "env_kwargs": {"sutton_barto_rewards": True}}))
    expected = "no argument named 'sutton_barto_rewards'; did you mean 'sutton_barto_reward'? (of CartPole-v1)"
    assert mprl("evaluate", copy).mistake == expected


def test_the_agent_of_an_unknown_environment_is_refused(mprl, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "env_id": "CartPoel-v1"}))
    assert mprl("evaluate", copy).mistake.startswith("no environment named 'CartPoel-v1'; did you mean 'CartPole-v1'?")


def test_an_unknown_agent_in_a_run_folder_is_refused(mprl, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "agent": "pppo"}))
    assert "'pppo'" in mprl("evaluate", copy).mistake


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seed", "-1"], "seed must be a whole number from 0 to 2^63 - 1, found -1"),
        (["--episodes", "0"], "expected at least 1 episode, found --episodes 0"),
        (["--video", "x.avi"], "x.avi: a video is written as .mp4 or .gif, not '.avi'"),
        (["--video", "nowhere/x.mp4"], "nowhere/x.mp4: the folder nowhere does not exist; make it first"),
        (["--json", "nowhere/x.json", "--episodes", "1"], "nowhere/x.json: the folder nowhere does not exist; make it first"),
    ],
)
def test_mistakes_of_evaluation(mprl, trained, words, expected):
    assert mprl("evaluate", trained, *words).mistake == expected


@pytest.mark.slow
def test_a_run_begins_from_another_s_weights(mprl, trained, undrawn):
    words = ("CartPole-v1", "--steps", "64", "--num-envs", "4", "--begin-from")
    done = mprl("train", *words, trained, "--agent.learning-rate", "1e-9", "--out", "more")
    assert done.code == 0, done.err
    begun, before = load_agent(Path("more")), load_agent(trained)
    assert torch.allclose(begun.model.actor[-1].weight, before.model.actor[-1].weight, atol=1e-6)
    assert begun.settings.hidden == before.settings.hidden == (16,) and begun.settings.batch_size == 64
    assert "its networks are others" in mprl("train", *words, trained, "--agent.hidden", "8", "--out", "other").mistake
    assert "the environment has" in mprl("train", "Acrobot-v1", *words[1:], trained, "--out", "other").mistake
    assert mprl("train", *words, "nowhere", "--out", "other").mistake.startswith("nowhere: no such run folder")
    assert not Path("other").exists()


def test_a_folder_that_holds_something_is_not_overwritten(mprl, copy):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in copy.iterdir())
    assert mprl("train", "CartPole-v1", "--out", copy).mistake == f"{copy}: the folder is not empty; choose another with --out"
    assert sorted((path.name, path.stat().st_mtime_ns) for path in copy.iterdir()) == before


def test_a_run_folder_that_cannot_be_made_is_said_before_training(mprl, tmp_path):
    # A file in place of a folder: root may write into read-only folders, but not into files.
    (tmp_path / "file").write_text("")
    assert mprl("train", "CartPole-v1", "--out", "file").mistake == "file: expected a folder for the run, found a file"
    assert "Not a directory" in mprl("train", "CartPole-v1", "--out", "file/run").mistake


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_in_one_line(mprl, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "full").symlink_to("/dev/full")
    # /dev/full takes nothing; metrics.csv through it is a disk that fills up during a run.
    script = (
        "import sys; from pathlib import Path; import mprl.scripts.train as t; from mprl.scripts.main import main\n"
        "t.free_folder = lambda folder: folder\n"
        "Path('run/metrics.csv').symlink_to('/dev/full')\n"
        "sys.exit(main(['train', 'CartPole-v1', '--steps', '999999', '--num-envs', '2', '--out', 'run']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_environment(), timeout=100)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_is_saved(mprl, tmp_path, number, code):
    words = ["train", "CartPole-v1", "--steps", "1e9", "--out", "run", *SMALL]
    command = [sys.executable, "-c", "import sys; from mprl.scripts.main import main; sys.exit(main())", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()) as process:
        deadline = time.monotonic() + 60
        while not ((tmp_path / "run" / "metrics.csv").exists() and (tmp_path / "run" / "metrics.csv").stat().st_size > 1000):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, ""), err
    assert f"Stopped by {number.name}" in out
    assert mprl("evaluate", "run", "--episodes", "2").code == 0
    assert json.loads(Path("run/config.json").read_text())["num_timesteps"] > 0


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))}


def test_a_humanoid_trains_and_is_measured(mprl, undrawn):
    words = ("--env.motion", "walk", "--num-envs", "8", "--agent.n-steps", "8", "--agent.batch-size", "64", "--agent.hidden", "32")
    assert mprl("train", "mprl/DeepMimic-v0", "--agent", "ppo", "--steps", "128", "--out", "run", *words).code == 0
    done = mprl("evaluate", "run", "--episodes", "4", "--json", "results.json")
    assert done.code == 0, done.err
    results = json.loads(Path("results.json").read_text())
    named = (
        "env_id agent episodes return_mean return_std length_mean normalized_return normalized_return_paper success_rate fall_rate "
        "mpjpe_global_mm mpjpe_local_mm velocity_error_mm_per_frame acceleration_error_mm_per_frame2 frame_rate_hz"
    )
    assert set(named.split()) <= set(results)
    assert results["frame_rate_hz"] == 30
    assert 0 <= results["normalized_return"] <= 1
    assert Path("run/phase_error.png").read_bytes().startswith(b"\x89PNG")
