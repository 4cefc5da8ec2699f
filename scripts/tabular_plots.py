"""Pictures of values and policies: maps with arrows, the tables of the book's figures, lines where states are in a row.

plot_values(solution.values, out="values.png", shape=(4, 12))
plot_policy(solution.policy, out="policy.png", shape=(4, 12), moves=FOUR_MOVES)
plot_solution(env, solution.values, solution.action_values, out="cliff.png")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mprl.envs.tabular.grid import FOUR_MOVES, Move
from mprl.errors import SettingError
from mprl.scripts.figures import BLUE, ORANGE, check_suffix, new_axes, new_figure, save
from mprl.scripts.layouts import Drawing, Layout, drawing

FILLS = {"#": "#545a62", "C": "#9c4a3e", "G": "#7ebe7c", "T": "#cbced2", "H": "#7fa8d1"}
FLOOR, INK = "#f6f6f2", "#464c54"
TIE = 1e-9  # values that differ by less, of 1 or of the greatest, are the same but for rounding
WRITTEN = 200  # cells up to which their values are written
ARROWS = 1200  # cells up to which arrows can be seen

Array = NDArray[Any]


def plot_values(values: ArrayLike, out: str | Path, shape: tuple[int, int] | None = None, letters: Any = None, title: str = "") -> Path:
    """Draw the values of states, as a map or in a row.

    Args:
        values: (S,).
        out: .png, .svg or .pdf.
        shape: rows and columns of the map; None: a row of numbers.
        letters: of the cells, (rows, columns), as in `envs/tabular/grid.py`.
        title: above.

    Raises:
        SettingError: values that do not fit the shape, or another kind of file.
    """
    values = np.asarray(values, dtype=float)
    return _draw(_plain(shape, letters, len(values), None), values, None, out, title)


def plot_policy(
    policy: ArrayLike,
    out: str | Path,
    shape: tuple[int, int] | None = None,
    moves: Sequence[Move] | None = FOUR_MOVES,
    letters: Any = None,
    title: str = "",
) -> Path:
    """Draw what a policy does in each state: arrows on a map, or numbers of actions.

    Args:
        policy: probability of each action, (S, A), or one action for each state, (S,).
        out: .png, .svg or .pdf.
        shape: rows and columns of the map; None: a row.
        moves: rows down and columns to the right of each action; None: actions are no moves.
        letters: of the cells, (rows, columns), as in `envs/tabular/grid.py`.
        title: above.

    Raises:
        SettingError: a policy that does not fit the shape, or another kind of file.
    """
    chosen = np.asarray(policy)
    if chosen.ndim == 1:
        chosen = np.eye(max(int(chosen.max()) + 1, len(moves or ())))[chosen]
    return _draw(_plain(shape, letters, len(chosen), moves), None, chosen, out, title)


def plot_solution(
    env: Any, values: ArrayLike | None, policy: ArrayLike | None, out: str | Path, title: str = "", policy_title: str = "Policy"
) -> Path:
    """Draw values and policy of an environment in the way that suits it.

    Args:
        env: a Gymnasium environment.
        values: of its states, (S,), or None.
        policy: probability of each action, (S, A), or None.
        out: .png, .svg or .pdf.
        title: above.
        policy_title: above the policy.
    """
    return _draw(drawing(env), _array(values), _array(policy), out, title, policy_title)


def best_actions(action_values: ArrayLike) -> Array:
    """All best actions of each state as a policy, equally likely, (S, A).

    Args:
        action_values: (S, A), -inf where there is no such action.
    """
    q = np.asarray(action_values, dtype=float)
    best = q >= q.max(axis=1, keepdims=True) - TIE * max(1.0, float(np.abs(q[np.isfinite(q)]).max(initial=0.0)))
    return best / best.sum(axis=1, keepdims=True)


def _array(values: ArrayLike | None) -> Array | None:
    return None if values is None else np.asarray(values, dtype=float)


def _plain(shape: tuple[int, int] | None, letters: Any, number: int, moves: Sequence[Move] | None) -> Drawing:
    if shape is None:
        return Drawing()
    if shape[0] * shape[1] != number:
        raise SettingError(f"a map of {shape[0]} x {shape[1]} cells does not fit {number} states")
    layout = Layout(np.arange(number).reshape(shape), letters=None if letters is None else np.asarray(letters))
    return Drawing((layout,), None if moves is None else tuple(moves))


def _draw(how: Drawing, values: Array | None, policy: Array | None, out: str | Path, title: str, policy_title: str = "Policy") -> Path:
    check_suffix(Path(out))
    figure = new_figure(*size(how, values, policy))
    draw(figure, how, values, policy, policy_title)
    return save(figure, Path(out), title)


# --- into a figure ------------------------------------------------------------------------------------------------------------


def size(how: Drawing, values: Array | None, policy: Array | None) -> tuple[float, float]:
    """Width and height of a figure for `draw`, inches."""
    rows, columns, width, height = _arrangement(how, values, policy)
    return columns * width, rows * height + 0.3


def _arrangement(how: Drawing, values: Array | None, policy: Array | None) -> tuple[int, int, float, float]:
    """Rows and columns of panels, and the width and height of one, inches."""
    kinds = int(values is not None) + int(_is_choice(policy))
    if not how.layouts:
        return 1, kinds, 4.6, 3.2
    rows, columns = how.layouts[0].states.shape
    most = 0.62 if len(how.layouts) == 1 else 0.42
    cell = min(most, 7.0 / max(rows, columns))
    labels = 0.6 if any(how.layouts[0].axes) else 0.1
    width, height = max(2.8, columns * cell + 1.0 + labels), max(1.1, rows * cell + 0.5 + labels)
    below_each_other = len(how.layouts) > 1 or width > 1.6 * height
    return (kinds, len(how.layouts), width, height) if below_each_other else (1, kinds, width, height)


def _is_choice(policy: Array | None) -> bool:
    return policy is not None and policy.shape[1] > 1


def draw(figure: Any, how: Drawing, values: Array | None, policy: Array | None, policy_title: str = "Policy") -> None:
    """Draw values, policy or both.

    Args:
        figure: of matplotlib, or a part of one.
        how: of the environment.
        values: (S,), or None.
        policy: (S, A), or None. Where there is but one action, it is not drawn.
        policy_title: above it.
    """
    rows, columns, _, _ = _arrangement(how, values, policy)
    panels = iter(new_axes(figure, columns, rows))
    for what, numbers in (("Value", values), (policy_title, policy if _is_choice(policy) else None)):
        if numbers is None:
            continue
        if not how.layouts:
            axes = next(panels)
            (_value_line if numbers is values else _action_line)(axes, how, numbers)
            axes.set_title(what, loc="left", fontsize=10)
            continue
        shown = np.concatenate([numbers[layout.states].reshape(layout.states.size, -1) for layout in how.layouts])
        for layout in how.layouts:
            axes = next(panels)
            _table(axes, layout)
            axes.set_title(" · ".join(filter(None, (what, layout.title))), loc="left", fontsize=10)
            if numbers is values:
                _value_map(axes, layout, numbers, shown)
            elif how.moves is not None and layout.states.size <= ARROWS:
                _arrows(axes, layout, numbers, how.moves)
            else:
                _action_map(axes, layout, numbers, how.actions or tuple(map(str, range(numbers.shape[1]))))


def _table(axes: Any, layout: Layout) -> None:
    """Empty cells, with their ticks and letters."""
    rows, columns = layout.states.shape
    axes.grid(False)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal", facecolor=FLOOR)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.set_xticks(range(len(layout.ticks[1])), layout.ticks[1])
    axes.set_yticks(range(len(layout.ticks[0])), layout.ticks[0])
    axes.tick_params(length=0)
    axes.set_ylabel(layout.axes[0])
    axes.set_xlabel(layout.axes[1])
    from matplotlib.patches import Rectangle

    for (row, column), letter in np.ndenumerate(layout.letters if layout.letters is not None else np.empty((0, 0), str)):
        if letter in FILLS:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=FILLS[letter], zorder=2))
            axes.text(column, row, letter if letter not in "#C" else "", ha="center", va="center", color=INK, fontsize=10, zorder=3)
        elif letter not in ".S":  # in the corner, beside what else is said of the cell
            name = {"a": "A'", "b": "B'"}.get(letter, letter)  # where A and B lead to
            box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.8}
            axes.text(column - 0.45, row - 0.43, name, ha="left", va="top", fontsize=7, fontweight="bold", bbox=box, zorder=5)
    if layout.states.size <= ARROWS:
        for line in range(rows + 1):
            axes.axhline(line - 0.5, color="#d6d8db", linewidth=0.6, zorder=2.5)
        for line in range(columns + 1):
            axes.axvline(line - 0.5, color="#d6d8db", linewidth=0.6, zorder=2.5)


def _filled(layout: Layout) -> NDArray[np.bool_]:
    """Cells that nobody acts in."""
    return np.zeros(layout.states.shape, bool) if layout.letters is None else np.isin(layout.letters, list(FILLS))


def _value_map(axes: Any, layout: Layout, values: Array, shown: Array) -> None:
    cells = np.ma.masked_array(values[layout.states], _filled(layout) | ~np.isfinite(values[layout.states]))
    inside = cells.compressed() if layout.letters is not None else shown[np.isfinite(shown)]
    low, high = (float(inside.min()), float(inside.max())) if len(inside) else (0.0, 0.0)
    if low == high:  # one colour, in the middle
        low, high = low - 1.0, high + 1.0
    image = axes.imshow(cells, cmap="viridis", vmin=low, vmax=high, interpolation="nearest", zorder=1)
    if cells.size <= WRITTEN and not any(layout.axes):
        whole = np.abs(inside - inside.round()).max(initial=0.0) < 1e-6
        decimals = 0 if whole else int(np.clip(2 - np.floor(np.log10(max(abs(low), abs(high), 1e-9))), 0, 3))
        for (row, column), value in np.ma.ndenumerate(cells):
            light = (value - low) / (high - low) > 0.6
            axes.text(column, row, f"{value:.{decimals}f}", ha="center", va="center", fontsize=7.5, color="black" if light else "white")
    else:
        _bar(axes, image)


def _bar(axes: Any, image: Any, **options: Any) -> Any:
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85, pad=0.03, **options)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    return bar


def _arrows(axes: Any, layout: Layout, policy: Array, moves: Sequence[Move]) -> None:
    """An arrow for each action that is taken, as long as it is likely; a point where the action is to stay."""
    down, right = np.array(moves, dtype=float).T
    length = np.maximum(np.hypot(down, right), 1e-9)
    probability = np.where(_filled(layout)[..., None], 0.0, policy[layout.states])
    row, column, action = np.nonzero(probability > 1e-3)
    often = probability[row, column, action] / probability[row, column].max(axis=-1)
    alone = (probability[row, column] > 1e-3).sum(axis=-1) == 1
    dx, dy = 0.4 * often * right[action] / length[action], 0.4 * often * down[action] / length[action]
    back = np.where(alone, 0.75, 0.0)  # a single arrow has its middle in the cell's
    stays = (down[action] == 0) & (right[action] == 0)
    x, y, dx, dy = column - back * dx, row - back * dy, dx * (1 + 0.75 * alone), dy * (1 + 0.75 * alone)
    axes.quiver(
        *(values[~stays] for values in (x, y, dx, dy)), angles="xy", scale_units="xy", scale=1.0, units="xy", width=0.05,
        headwidth=4.5, headlength=4.5, headaxislength=4.0, color=BLUE, zorder=4,
    )  # fmt: skip
    axes.plot(column[stays], row[stays], "o", color=BLUE, markersize=5, zorder=4)


def _action_map(axes: Any, layout: Layout, policy: Array, names: Sequence[str]) -> None:
    """The likeliest action of each state as a colour, with its name where there is place."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb

    action = policy[layout.states].argmax(axis=-1)
    colours = ("#dbe6f2", "#f2c48d") if len(names) == 2 else colormaps["RdBu_r"](np.linspace(0.12, 0.88, len(names)))
    norm = BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names))
    cells = np.ma.masked_array(action, _filled(layout))
    axes.imshow(cells, cmap=ListedColormap(colours), norm=norm, interpolation="nearest", zorder=1)
    if layout.states.size > ARROWS:
        return
    for number in np.unique(cells.compressed()):
        rows, columns = np.nonzero((cells == number).filled(False))
        # the cell of the region that is nearest to its middle, so that the name is in it
        at = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
        dark = np.dot(to_rgb(colours[number]), (0.3, 0.6, 0.1)) < 0.5
        ink = "white" if dark else INK
        axes.text(columns[at], rows[at], names[number], ha="center", va="center", fontsize=11, fontweight="bold", color=ink, zorder=5)


def _value_line(axes: Any, how: Drawing, values: Array) -> None:
    states = np.arange(len(values))
    values = values if how.ends is None else np.where(how.ends, np.nan, values)
    if len(values) <= 12:
        axes.bar(states, values, color=BLUE, width=0.6)
        axes.axhline(0.0, color=INK, linewidth=0.8)
        axes.set_xticks(states)
    elif how.labels == Drawing().labels:  # numbers of states need not be in any order
        axes.plot(states, values, ".", color=BLUE, markersize=4)
    else:
        axes.plot(states, values, color=BLUE, linewidth=1.6)
    axes.set_xlabel(how.labels[0])


def _action_line(axes: Any, how: Drawing, policy: Array) -> None:
    """The first of the likeliest actions of each state, and, pale, those that are as likely."""
    likeliest = policy >= policy.max(axis=1, keepdims=True) - 1e-12
    if how.ends is not None:
        likeliest = likeliest & ~how.ends[:, None]
    states, actions = np.nonzero(likeliest)
    acts = np.flatnonzero(likeliest.any(axis=1))
    first = likeliest[acts].argmax(axis=1)
    few = len(policy) <= 12
    if len(states) > len(acts):
        axes.plot(states, actions, "o", color=ORANGE, alpha=0.4, markersize=6 if few else 2.5, markeredgewidth=0, label="as good")
    if policy.shape[1] > 12 and not few:
        axes.vlines(acts, 0, first, color=BLUE, linewidth=0.8, alpha=0.5)
    axes.plot(acts, first, "o", color=BLUE, markersize=7 if few else 2.5, markeredgewidth=0, label="the first of the best")
    if few:
        axes.set_xticks(range(len(policy)))
    if policy.shape[1] <= 12:
        axes.set_yticks(range(policy.shape[1]), how.actions or None)
    if len(states) > len(acts):
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.25, 1.0), ncols=2, borderaxespad=0.2)
    axes.set_xlabel(how.labels[0])
    axes.set_ylabel(how.labels[1])
