"""Pictures by which a person can judge what is drawn of people and what models of pose find in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mprl.perception.pose2d.limbs import limbs
from mprl.scripts.figures import new_figure, save

_COLOURS = ("#ffe14d", "#4dd2ff", "#ff6ad5", "#7dff6a")  # people
_LEFT, _RIGHT = "#ff5d5d", "#4d9bff"
_SURE = 0.1  # of a keypoint's confidence, below which it is not drawn
_SHOWN = 8  # pictures in a row
_WIDTH = 1080  # px of what is written


def sheet(single: Mapping[str, Tensor], several: Mapping[str, Tensor], out: Path) -> Path:
    """Pictures that are learned from, with their true keypoints: hidden ones hollow."""
    figure = new_figure(9.0, 4.5)
    figure.set_layout_engine("none")
    shown = [(single, place) for place in range(24)] + [(several, place) for place in range(8)]
    for place, (batch, number) in enumerate(shown):
        axes = _tile(figure, place // 8, place % 8, 4, 8)
        axes.imshow(batch["image"][number].numpy(), interpolation="nearest")
        for person in range(int(batch["count"][number])):
            visible = batch["visible"][number, person].numpy()
            _person(axes, batch["keypoints"][number, person].numpy(), visible > 0, _COLOURS[person], visible == 1)
        _clean(axes, batch["image"][number].shape)
    return _saved(figure, out)


def detections(
    single: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    several: Mapping[str, Tensor],
    people: Mapping[str, Sequence[np.ndarray[Any, Any]]],
    out: Path,
) -> Path:
    """Held-out pictures, the truth, and what each model finds, a row each: of one person, left red and right blue, then of several."""
    rows: list[tuple[str, Mapping[str, Tensor], list[list[np.ndarray[Any, Any]]]]] = []
    one, many = _chosen(len(single["image"])), _chosen(len(several["image"]))
    rows.append(("truth", single, [[_with_visible(single, number, 0)] for number in one]))
    rows += [(name, single, [[keypoints[number].numpy()] for number in one]) for name, keypoints in found.items()]
    truth = [[_with_visible(several, number, person) for person in range(int(several["count"][number]))] for number in many]
    rows.append(("truth", several, truth))
    rows += [(name, several, [list(each[number]) for number in many]) for name, each in people.items()]
    label = 1.6
    figure = new_figure(label + _SHOWN, len(rows) * 1.0)
    figure.set_layout_engine("none")
    for line, (name, batch, drawn) in enumerate(rows):
        numbers = one if batch is single else many
        figure.text(0.005, 1 - (line + 0.5) / len(rows), name.replace(", ", ",\n").replace(" (", "\n("), va="center", fontsize=7)
        for place, (number, persons) in enumerate(zip(numbers, drawn, strict=True)):
            axes = _tile(figure, line, place, len(rows), _SHOWN, label / (label + _SHOWN))
            axes.imshow(batch["image"][number].numpy(), interpolation="nearest")
            for who, keypoints in enumerate(persons):
                _person(axes, keypoints[:, :2], keypoints[:, 2] > _SURE, None if batch is single else _COLOURS[who % len(_COLOURS)])
            _clean(axes, batch["image"][number].shape)
    return _saved(figure, out)


def _saved(figure: Any, out: Path) -> Path:
    """Small pictures and a few lines lose nothing by 96 colours, and the file is a third as large."""
    save(figure, out, "")
    with Image.open(out) as image:
        small = image.convert("RGB").resize((_WIDTH, round(_WIDTH * image.height / image.width)), Image.Resampling.LANCZOS)
    small.quantize(96).save(out, optimize=True)
    return out


def _chosen(count: int) -> list[int]:
    return np.linspace(0, count - 1, min(count, _SHOWN)).astype(int).tolist()


def _with_visible(batch: Mapping[str, Tensor], number: int, person: int) -> np.ndarray[Any, Any]:
    visible = batch["visible"][number, person].numpy() > 0
    return np.concatenate([batch["keypoints"][number, person].numpy(), visible[:, None]], axis=1)


def _person(axes: Any, keypoints: np.ndarray[Any, Any], shown: np.ndarray[Any, Any], colour: str | None, hollow: Any = None) -> None:
    for a, b in limbs():
        if shown[a] and shown[b]:
            # COCO's odd numbers are on the left
            side = colour or ("#f4f4f4" if a % 2 != b % 2 else _LEFT if b % 2 else _RIGHT)
            axes.plot(*keypoints[[a, b]].T, color=side, linewidth=1.0, solid_capstyle="round")
    if hollow is not None:
        for inside, face in ((shown & ~hollow, colour), (shown & hollow, "none")):
            axes.scatter(*keypoints[inside].T, s=3, facecolors=face, edgecolors=colour, linewidths=0.5)


def _tile(figure: Any, row: int, column: int, rows: int, columns: int, left: float = 0.0) -> Any:
    width = (1 - left) / columns
    return figure.add_axes((left + column * width, 1 - (row + 1) / rows, 0.97 * width, 0.97 / rows))


def _clean(axes: Any, shape: Sequence[int]) -> None:
    axes.set_xlim(0, shape[1])
    axes.set_ylim(shape[0], 0)
    axes.images[0].set_extent((0, shape[1], shape[0], 0))
    axes.set_axis_off()
