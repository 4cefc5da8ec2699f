"""`mprl plot`: learning curves of runs, values and policies; one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from mprl.scripts.main import main

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a tabular agent that has walked a little. To be read only."""
    folder = tmp_path_factory.mktemp("runs") / "cliff"
    assert main(["train", "mprl/Cliff-v0", "--agent", "q-learning", "--steps", "3000", "--num-envs", "8", "--out", str(folder)]) == 0
    return folder


def test_a_run_is_drawn_into_a_file(mprl, trained):
    done = mprl("plot", trained, "--out", "curve.png")
    assert (done.code, done.out) == (0, "wrote curve.png\n")
    assert Path("curve.png").read_bytes().startswith(PNG)


def test_by_default_into_the_run_folder(mprl, trained, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.csv").write_bytes((trained / "metrics.csv").read_bytes())
    assert mprl("plot", run).out == f"wrote {run / 'plot.png'}\n"
    assert (run / "plot.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_runs_are_compared(mprl, trained, learned):
    assert mprl("plot", trained, learned, "--out", "both.svg").code == 0
    text = Path("both.svg").read_text()
    assert all(run.name in text for run in (trained, learned))


@pytest.mark.slow
def test_what_a_tabular_agent_learned_is_drawn(mprl, learned):
    assert mprl("plot", learned, "--out", "cliff.svg").code == 0
    text = Path("cliff.svg").read_text()
    assert all(title in text for title in ("mprl/Cliff-v0 · q-learning", "Return of an episode", "Value", "Policy"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mprl/Gambler-v0", "--env.p-heads", "0.25"], "value iteration, discount 1"),
        (["mprl/Gridworld-v0", "--planner", "policy-evaluation"], "Greedy policy"),
        (["FrozenLake-v1", "--planner", "policy-iteration", "--discount", ".9"], "policy iteration, discount 0.9"),
    ],
)
def test_an_environment_is_planned_in(mprl, words, said):
    done = mprl("plot", *words, "--out", "plan.svg")
    assert (done.code, done.err) == (0, "")
    assert said in Path("plan.svg").read_text()


def test_the_file_is_named_for_the_environment(mprl):
    assert mprl("plot", "mprl/Cliff-v0").out == "wrote Cliff-v0.png\n"
    assert Path("Cliff-v0.png").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "what is to be drawn? mprl plot RUN_DIR... or mprl plot ENV_ID"),
        (["nowhere"], "no run folder or environment named 'nowhere' (mprl list envs)"),
        (["mprl/Clif-v0"], "no run folder or environment named 'mprl/Clif-v0'; did you mean 'mprl/Cliff-v0'? (mprl list envs)"),
        (["."], ".: holds no metrics.csv; is it a run folder of mprl train?"),
        (["CartPole-v1"], "CartPole-v1 has no P, the table of its transitions"),
        (["mprl/Cliff-v0", "."], "expected run folders or one environment, found mprl/Cliff-v0, ."),
        (["mprl/Cliff-v0", "--out", "x.jpg"], "x.jpg: a plot is written as .png, .svg or .pdf, not '.jpg'"),
        (["mprl/Cliff-v0", "--out", "no/x.png"], "no/x.png: the folder no does not exist; make it first"),
        (["mprl/Cliff-v0", "--planer", "x"], "no option named '--planer'; did you mean '--planner'?"),
        (["mprl/Cliff-v0", "--discount", "1.5"], "discount must be in [0, 1], found 1.5"),
    ],
)
def test_a_mistake_is_one_line(mprl, words, expected):
    assert mprl("plot", *words).mistake.startswith(expected)
