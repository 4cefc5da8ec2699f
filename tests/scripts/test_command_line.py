"""What `mprl` says and returns: help, names, and one line for each mistake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gymnasium.error import DependencyNotInstalled

import mprl as package
from mprl.errors import MprlError
from mprl.scripts import main as main_module
from mprl.scripts import motion, train
from mprl.scripts.main import COMMANDS, main


def test_without_arguments_help_is_printed(mprl):
    assert mprl().code == 0
    assert mprl().out == mprl("--help").out
    for command in COMMANDS:
        assert command in mprl("--help").out


def test_version(mprl):
    assert mprl("--version").out == f"mprl {package.__version__}\n"


def test_a_setting_may_be_a_number_or_a_schedule_by_name():
    settings = train.read(
        ["CartPole-v1", "--agent.learning-rate", "linear 1e-3 0 1e5", "--agent.target-kl", "None", "--agent.clip-range", "3e-1"]
    ).agent_settings
    assert (settings.learning_rate, settings.clip_range) == ("linear 1e-3 0 1e5", 0.3)


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + [["motion", name] for name in motion.commands()])
def test_every_command_has_help(mprl, words):
    done = mprl(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: mprl {' '.join(words)}")


def test_help_is_quick():
    # 1 s is what a user does not mind; what costs more (torch, MuJoCo) is not imported.
    code = (
        "import sys; from mprl.scripts.main import main; main(['--help']); assert not {'torch', 'mujoco', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(package.__file__).parents[1])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["main", "list"])
def test_each_command_is_also_a_file(tmp_path, command, root):
    # From another folder, and without the package on the path: the file finds its checkout.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, root / "scripts" / f"{command}.py", "--help"], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: mprl {'' if command == 'main' else command}")


def test_the_others_begin_as_list_does(root):
    def beginning(name: str) -> str:
        text = (root / "scripts" / f"{name}.py").read_text(encoding="utf-8")
        found = re.search(r"^if __name__ == .*?^    sys.exit\(.*?\)\n\n", text, re.DOTALL | re.MULTILINE)
        assert found and "import" not in text[: found.start()].replace("from __future__ import annotations", "").split('"""')[-1], name
        return found.group().replace(name, "list")

    # torchrun starts `train` as a module, too
    assert {beginning(name) for name in set(COMMANDS) - {"train"}} == {beginning("list")} != {beginning("train")}


def test_the_command_line_is_also_a_module():
    done = subprocess.run([sys.executable, "-m", "mprl.scripts.main", "nope"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("mprl: no command named 'nope'")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "no command named 'trian'; did you mean 'train'? (mprl --help)"),
        (["--versoin"], "no option named '--versoin'; did you mean '--version'? (mprl --help)"),
        (["list"], "missing: {envs,agents,motions,trained}"),
        (["list", "env"], "what: expected one of 'envs', 'agents', 'motions', 'trained', found 'env'"),
        (["motion", "inof"], "no motion command named 'inof'; did you mean 'info'? (mprl motion --help)"),
        (["motion", "info"], "missing: FILE"),
        (["motion", "info", "wlak"], "no motion named 'wlak'; did you mean 'walk'? (mprl list motions)"),
        (["motion", "info", "nowhere.txt"], "nowhere.txt: no such file"),
        (["motion", "info", "walk", "--verbos"], "no option named '--verbos'"),
        (["motion", "convert", "walk", "walk.txt"], "walk.txt: motions are written as .npz or .bvh, not '.txt'"),
        (["motion", "convert", "walk", "nowhere/walk.npz"], "nowhere/walk.npz: the folder nowhere does not exist; make it first"),
        (["motion", "render", "walk", "walk.avi"], "walk.avi: a video is written as .mp4 or .gif"),
        (["motion", "render", "walk", "walk.mp4", "--seconds", "-1"], "expected a video longer than 0 s that ends, found --seconds -1"),
        (["motion", "render", "walk", "walk.mp4", "--seconds", "0"], "expected a video longer than 0 s that ends, found --seconds 0"),
        (["motion", "render", "walk", "walk.mp4", "--seconds", "inf"], "expected a video longer than 0 s that ends, found --seconds inf"),
        (["motion", "render", "walk", "walk.mp4", "--fps", "x"], "--fps: expected a number, found 'x'"),
        (["train"], "which environment? mprl train ENV_ID --agent NAME (mprl list envs)"),
        (["train", "CartPoel-v1"], "no environment named 'CartPoel-v1'; did you mean 'CartPole-v1'? (mprl list envs)"),
        (["train", "mprl/DepMimic-v0"], "no environment named 'mprl/DepMimic-v0'; did you mean 'mprl/DeepMimic-v0'? (mprl list envs)"),
        (["train", "nowhere:Name-v0"], "no module named 'nowhere' in "),
        (["train", "CartPole-v1", "--agent", "pppo"], "no agent named 'pppo'; did you mean 'ppo'? (mprl list agents)"),
        (
            ["train", "CartPole-v1", "--agent.learnin-rate", "1"],
            "no option named '--agent.learnin-rate'; did you mean '--agent.learning-rate'?",
        ),
        (["train", "CartPole-v1", "--agent.gamma", "2"], "gamma must be in [0, 1], found 2"),
        (["train", "CartPole-v1", "--agent.n-steps", "some"], "--agent.n-steps: expected a whole number, found 'some'"),
        (
            ["train", "CartPole-v1", "--agent.learning-rate", "linear 1e-3 0"],
            "expected a number or a schedule such as 'linear 1e-3 0 100000'",
        ),
        (
            ["train", "CartPole-v1", "--agent.averaging", "ema"],
            "averaging must be 'none', 'ema 0.995', 'ema 0.995 corrected' or 'swa 50000'",
        ),
        (["train", "CartPole-v1", "--stesp", "3"], "no option named '--stesp'; did you mean '--steps'?"),
        (["train", "CartPole-v1", "--steps"], "Missing value for argument '--steps'"),
        (["train", "CartPole-v1", "--steps", "many"], "--steps: expected a number, found 'many'"),
        (["train", "CartPole-v1", "--steps", "0"], "--steps must be a positive number, found 0"),
        (["train", "CartPole-v1", "--minutes", "nan"], "--minutes must be a positive number, found nan"),
        (["train", "CartPole-v1", "--steps", "9", "--minutes", "9"], "give --steps or --minutes, not both"),
        (["train", "CartPole-v1", "--num-envs", "0"], "expected at least 1 world, found --num-envs 0"),
        (["train", "CartPole-v1", "--seed", "-1"], "seed must be a whole number from 0 to 2^63 - 1, found -1"),
        (["train", "CartPole-v1", "--seed", "9" * 20], "seed must be a whole number from 0 to 2^63 - 1, found 99999999999999999999"),
        (["train", "CartPole-v1", "--device", "cdua"], "no device named 'cdua'"),
        (["train", "CartPole-v1", "Pendulum-v1"], "did not expect 'Pendulum-v1'"),
        (["train", "mprl/DeepMimic-v0", "--env.motion", "wlak"], "no motion named 'wlak'; did you mean 'walk'? (mprl list motions)"),
        (["train", "mprl/DeepMimic-v0", "--env.motoin", "walk"], "no option named '--env.motoin'; did you mean '--env.motion'?"),
        (["train", "mprl/DeepMimic-v0", "--env.reward", "releese"], "no reward named 'releese'; did you mean 'release'?"),
        (["evaluate"], "missing: DIR"),
        (["evaluate", "nowhere"], "nowhere: no such run folder"),
        (["demo", "--motion", "wlak"], "no motion named 'wlak'; did you mean 'walk'? (mprl list motions)"),
        (["demo", "--minutes", "0"], "--minutes must be a positive number, found 0"),
    ],
)
def test_a_mistake_is_told_in_one_line(mprl, tmp_path, words, expected):
    assert mprl(*words).mistake.startswith(expected)
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_cuda_without_a_gpu_is_a_mistake(mprl, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert mprl("train", "CartPole-v1", "--device", "cuda").mistake.startswith("device 'cuda': no CUDA device was found")


def test_a_pickle_where_a_motion_is_expected_is_refused(mprl, tmp_path):
    # Protocol 4 of an object whose unpickling would make the file `executed`.
    code = b"cos\nsystem\n(S'touch executed'\ntR."
    for name in ("walk.pkl", "walk.npz", "walk.txt"):
        (tmp_path / name).write_bytes(b"\x80\x04" + code)
        assert name in mprl("motion", "info", name).mistake
        assert name in mprl("train", "mprl/DeepMimic-v0", "--env.motion", tmp_path / name, "--out", "run").mistake
    assert not (tmp_path / "executed").exists() and not (tmp_path / "run").exists()


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    def bug(args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(main_module, "run", bug)
    with pytest.raises(ZeroDivisionError):
        main([])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (MprlError("where: what\n  was wrong"), 2, "mprl: where: what was wrong\n"),
        (DependencyNotInstalled("pygame is not installed"), 2, "mprl: pygame is not installed\n"),
        (KeyboardInterrupt(), 130, "mprl: interrupted\n"),
        (OSError(28, "No space left on device", "run/metrics.csv"), 2, "mprl: run/metrics.csv: No space left on device\n"),
        (OSError(30, "Read-only file system", "run"), 2, "mprl: run: Read-only file system\n"),
    ],
)
def test_what_goes_wrong_is_one_line(monkeypatch, capsys, error, code, line):
    def fail(args):
        raise error

    monkeypatch.setattr(main_module, "run", fail)
    assert main([]) == code
    assert capsys.readouterr().err == line


def test_lists_name_what_there_is(mprl):
    assert "mprl/DeepMimic-v0" in mprl("list", "envs").out
    assert "ppo" in mprl("list", "agents").out
    assert "walk" in mprl("list", "motions").out


def test_a_converted_motion_is_the_same_motion(mprl):
    original = mprl("motion", "info", "walk").out
    assert mprl("motion", "convert", "walk", "copy.npz").code == 0
    assert mprl("motion", "info", "copy.npz").out == original


def test_real_motion_capture_is_converted(mprl, mocap):
    assert mprl("motion", "convert", mocap("walk"), "walk.npz").code == 0
    assert "1.267 s: 39 frames" in mprl("motion", "info", "walk.npz").out  # the file's frames last .033332 s, the last one counts not


@pytest.mark.slow
def test_a_motion_is_filmed(mprl, can_render):
    assert mprl("motion", "render", "walk", "walk.gif", "--seconds", "0.2", "--fps", "10", "--width", "64", "--height", "48").code == 0
    assert Path("walk.gif").read_bytes().startswith(b"GIF89a")


def test_where_nothing_can_be_drawn_one_line_says_so(mprl, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert mprl("motion", "render", "walk", "walk.mp4").mistake.startswith("rendering is switched off by MUJOCO_GL=off")
    assert not Path("walk.mp4").exists()
