"""Plots of learning."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mprl.errors import CheckpointError
from mprl.scripts.plots import learning_curve, phase_error, read_metrics, smoothed


def test_a_running_mean_takes_the_neighbours_that_there_are():
    assert_allclose(smoothed([0.0, 3.0, 6.0, 9.0], reach=1), [1.5, 3.0, 6.0, 7.5])
    assert_allclose(smoothed([np.nan, 2.0, np.nan, np.nan, np.nan], reach=1), [2.0, 2.0, 2.0, np.nan, np.nan])


def test_empty_cells_are_not_numbers(tmp_path):
    (tmp_path / "metrics.csv").write_text("timesteps,return\n10,\n20,1.5\n")
    columns = read_metrics(tmp_path / "metrics.csv")
    assert_allclose(columns["timesteps"], [10, 20])
    assert_allclose(columns["return"], [np.nan, 1.5])


def test_a_line_that_was_cut_off_is_unknown(tmp_path):
    (tmp_path / "metrics.csv").write_text("timesteps,return\n1,2\n2")
    assert_allclose(read_metrics(tmp_path / "metrics.csv")["return"], [2, np.nan])


def test_a_broken_table_is_a_mistake_that_names_the_file(tmp_path):
    (tmp_path / "metrics.csv").write_text("timesteps,return\n1,many\n")
    with pytest.raises(CheckpointError, match=r"metrics\.csv"):
        read_metrics(tmp_path / "metrics.csv")


@pytest.mark.parametrize(
    "content",
    ["", "timesteps,return\n", "timesteps,return\n1,nan\n", "timesteps,return,episode_length,time_elapsed\n1,2,3,4\n2,3,4,5\n"],
)
def test_a_learning_curve_is_drawn_from_whatever_there_is(tmp_path, content):
    (tmp_path / "metrics.csv").write_text(content)
    picture = learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", "a run")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.png", "metrics.csv"]


def test_phases_that_were_never_seen_are_left_out(tmp_path):
    errors = {"phase": [0.1, 0.5, 0.9], "error_mm": [10.0, np.nan, 30.0], "local_error_mm": [np.nan] * 3}
    assert phase_error(errors, tmp_path / "error.png", "walk").stat().st_size > 1000


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written"):
        phase_error({"phase": [0.5], "error_mm": [1.0], "local_error_mm": [1.0]}, tmp_path / "nowhere" / "error.png")
