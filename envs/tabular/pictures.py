"""Frames of tabular environments: a grid with its agent, or a page of text."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 48  # pixels; even, as videos want it
FLOOR, LINE, INK = (246, 246, 242), (214, 216, 219), (70, 76, 84)
COLOURS = {"#": (84, 90, 98), "C": (156, 74, 62), "G": (126, 190, 124), "T": (203, 206, 210), "S": (226, 232, 240)}
AGENT = (224, 138, 30)


def grid(letters: NDArray[np.str_]) -> NDArray[np.uint8]:
    """A map without its agent, (rows x 48, columns x 48, 3).

    Args:
        letters: of the cells, (rows, columns); walls, cliffs and floor have a colour only.
    """
    rows, columns = letters.shape
    image = Image.new("RGB", (columns * CELL, rows * CELL), FLOOR)
    draw = ImageDraw.Draw(image)
    for row in range(rows):
        for column in range(columns):
            letter, left, top = letters[row, column], column * CELL, row * CELL
            draw.rectangle((left, top, left + CELL - 1, top + CELL - 1), COLOURS.get(letter, FLOOR), LINE)
            if letter not in ".#C":
                draw.text((left + CELL / 2, top + CELL / 2), letter, INK, _font(CELL * 0.45), anchor="mm")
    return np.array(image)


def put_agent(frame: NDArray[np.uint8], row: int, column: int) -> None:
    """Draw the agent into a cell of a frame of `grid`."""
    cell = frame[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
    cell[_disc()] = AGENT


def page(text: str, width: int = 480) -> NDArray[np.uint8]:
    """Text on an empty page, (height, width, 3)."""
    lines = text.rstrip("\n").split("\n")
    size = width / 16
    # the frames of a video are of one size: there is place for two lines anyway
    image = Image.new("RGB", (width, 2 * round(size * (0.75 * max(2, len(lines)) + 0.6))), FLOOR)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((size, size * (1.5 * number + 0.75)), line, INK, _font(size))
    return np.array(image)


@functools.cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@functools.cache
def _disc() -> NDArray[np.bool_]:
    from_centre = np.arange(CELL) - (CELL - 1) / 2
    return np.hypot(*np.meshgrid(from_centre, from_centre)) < 0.34 * CELL
