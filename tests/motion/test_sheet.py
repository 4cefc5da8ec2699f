"""A clip at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from mprl.errors import RenderingError
from mprl.motion import load
from mprl.motion.clips.sheet import main, sheet
from mprl.simulation.rendering import opengl_backend


@pytest.fixture(autouse=True)
def opengl() -> None:
    try:
        opengl_backend()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_sheet_shows_a_clip_from_beginning_to_end() -> None:
    shown = sheet(load("squat"), pictures=16, size=48)
    assert shown.shape == (2 * 48, 8 * 48, 3)
    pictures = [shown[y : y + 48, x : x + 48].astype(int) for y in (0, 48) for x in range(0, 8 * 48, 48)]
    unlike = [np.abs(picture - pictures[0]).mean() for picture in pictures]
    assert np.argmax(unlike) in (7, 8, 9)  # lowest half-way
    assert unlike[1] < 0.1 * unlike[8] and unlike[-1] < 0.7 * unlike[8]  # at rest, and back, but for the camera that follows


@pytest.mark.slow
def test_a_sheet_is_written_as_a_picture(tmp_path: Path) -> None:
    main(["punch", str(tmp_path / "punch.png")])
    assert imread(tmp_path / "punch.png").shape[:2] == (3 * 240, 8 * 240)
