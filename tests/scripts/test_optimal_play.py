"""Tabular agents come to the best play there is, from the command line alone, with the settings they have by themselves in 256 worlds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "steps", "least", "most"),
    [
        ("mprl/Cliff-v0", 200_000, -13, -13),  # Sutton & Barto, example 6.6: along the edge
        pytest.param(
            "FrozenLake-v1", 800_000, 0.70, 0.78, marks=pytest.mark.slow
        ),  # .7402 is the best stationary policy's, within 100 steps
        pytest.param("Taxi-v4", 600_000, 7.5, 8.4, marks=pytest.mark.slow),  # 7.9 is the mean of the shortest ways
    ],
)
def test_q_learning_plays_as_well_as_can_be(mprl, env_id, steps, least, most):
    words = ("--agent", "q-learning", "--num-envs", "256", "--steps", str(steps), "--evaluate-every", "0", "--out", "run")
    assert mprl("train", env_id, *words).code == 0
    done = mprl("evaluate", "run", "--episodes", "1000", "--json", "found.json")
    assert (done.code, done.err) == (0, "")
    assert least <= json.loads(Path("found.json").read_text())["return_mean"] <= most
