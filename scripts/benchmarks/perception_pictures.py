"""Pictures by which a person can judge models of perception: strips of held-out pictures and of what models make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mprl.scripts.figures import new_figure, save

Pages = dict[str, dict[str, Tensor]]  # strips, (B, H, W, 3) in [0, 1], by page and label
_GAP = 3  # pixels between two pictures
_LABELS, _WIDTH = 2.1, 5.4  # inches: of the labels, of the pictures


def draw(pages: Pages, folder: Path) -> list[Path]:
    """A file for each page, `perception-PAGE.png`."""
    return [_draw(strips, folder / f"perception-{name}.png") for name, strips in pages.items()]


def _draw(strips: dict[str, Tensor], out: Path) -> Path:
    """One strip below the other, each with its label on the left; pixels stay pixels."""
    sheet = joined([joined(list(pictures), 1) for pictures in strips.values()], 0)
    height, width = sheet.shape[:2]
    figure = new_figure(_LABELS + _WIDTH, _WIDTH * height / width)
    figure.set_layout_engine("none")
    axes = figure.add_axes((_LABELS / (_LABELS + _WIDTH), 0.0, _WIDTH / (_LABELS + _WIDTH), 1.0))
    axes.imshow(sheet.numpy(), interpolation="nearest")
    step = (height + _GAP) / len(strips)
    axes.set_yticks([(number + 0.5) * step - _GAP / 2 for number in range(len(strips))], list(strips), fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return save(figure, out, "")


def joined(pictures: Sequence[Tensor], axis: int) -> Tensor:
    """Pictures (H, W, 3) below one another (axis 0) or side by side (1), with grey in between."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    grey = torch.full(shape, 0.75)
    parts = [part for picture in pictures for part in (picture, grey)]
    return torch.cat(parts[:-1], axis)
