"""Pictures of values and policies show what they are given, where it belongs."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.quiver import Quiver
from numpy.testing import assert_allclose, assert_array_equal

import mprl  # noqa: F401  registers the environments
from mprl.envs.tabular.grid import FOUR_MOVES
from mprl.errors import CheckpointError, SettingError
from mprl.scripts.figures import new_figure
from mprl.scripts.layouts import Drawing, Layout, drawing
from mprl.scripts.tabular_plots import best_actions, draw, plot_policy, plot_solution, plot_values


def drawn(how, values=None, policy=None):
    figure = new_figure(6, 4)
    draw(figure, how, values, policy)
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def arrows(axes):
    """Of each cell (row, column) with arrows, their directions as (down, right), to one decimal."""
    (quiver,) = (item for item in axes.collections if isinstance(item, Quiver))
    found: dict[tuple, set] = {}
    for x, y, right, down in zip(quiver.X, quiver.Y, quiver.U, quiver.V, strict=True):
        length = np.hypot(right, down)
        direction = (round(down / length, 1), round(right / length, 1))
        found.setdefault((round(y + 0.01), round(x + 0.01)), set()).add(direction)
    return found


# --- where states lie --------------------------------------------------------------------------------------------------------


def test_blackjack_lies_as_in_figure_5_2():
    env = gym.make("mprl/Blackjack-v0").unwrapped
    usable, hard = drawing(env).layouts
    env.s = int(usable.states[0, 0])  # 21 on top, an ace at the left
    assert env.describe() == "player: 21, usable ace\ndealer shows: ace\n"
    env.s = int(hard.states[9, 9])
    assert env.describe() == "player: 12\ndealer shows: 10\n"
    assert (hard.ticks[0][9], hard.ticks[1][9]) == ("12", "10")


def test_gymnasiums_blackjack_too():
    _, hard = drawing(gym.make("Blackjack-v1")).layouts
    assert hard.states[0, 4] == np.ravel_multi_index((21, 5, 0), (32, 11, 2))


def test_jacks_cars_lie_as_in_figure_4_2():
    env = gym.make("mprl/JacksCarRental-v0").unwrapped
    (layout,) = drawing(env).layouts
    env.s = int(layout.states[0, 3])
    assert env.describe() == "first place: 20 cars\nsecond place: 3 cars\n"
    assert drawing(env).actions[0] == "-5" and drawing(env).actions[5] == "0"


def test_the_taxi_has_its_passenger():
    env = gym.make("Taxi-v4").unwrapped
    green = drawing(env).layouts[1]
    assert tuple(env.decode(int(green.states[3, 2]))) == (3, 2, 4, 1)


@pytest.mark.parametrize(("env_id", "shape"), [("FrozenLake-v1", (4, 4)), ("CliffWalking-v1", (4, 12)), ("mprl/DynaMaze-v0", (6, 9))])
def test_the_moves_of_a_grid_are_the_environments(env_id, shape):
    env = gym.make(env_id, **({"is_slippery": False} if "Lake" in env_id else {})).unwrapped
    how = drawing(env)
    (layout,) = how.layouts
    assert layout.states.shape == layout.letters.shape == shape
    for state in range(shape[0] * shape[1]):
        row, column = divmod(state, shape[1])
        for action, (down, right) in enumerate(how.moves):
            at = (row + down, column + right)
            inside = 0 <= at[0] < shape[0] and 0 <= at[1] < shape[1]
            if inside and layout.letters[row, column] in ".S" and layout.letters[at] in ".S":
                assert env.P[state][action][0][1] == layout.states[at]


def test_a_vector_environment_is_drawn_as_its_copies():
    assert drawing(gym.make_vec("mprl/Cliff-v0", num_envs=2)).layouts[0].states.shape == (4, 12)
    assert len(drawing(gym.make_vec("Blackjack-v1", num_envs=2)).layouts) == 2


def test_others_lie_in_a_row():
    assert drawing(gym.make("CartPole-v1")).layouts == ()


# --- what is drawn -----------------------------------------------------------------------------------------------------------


def test_all_best_actions_are_found():
    q = [[1.0, 1.0 + 1e-12, 0.0], [-np.inf, 2.0, -np.inf], [0.0, 0.0, 0.0]]
    assert_allclose(best_actions(q), [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])


def test_arrows_point_where_the_actions_lead():
    policy = np.array([[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    how = Drawing((Layout(np.arange(4).reshape(2, 2), letters=np.array([[".", "."], [".", "G"]])),), FOUR_MOVES)
    (axes,) = drawn(how, policy=policy)
    assert arrows(axes) == {(0, 0): {(0.0, 1.0)}, (0, 1): {(-1.0, 0.0), (1.0, 0.0)}, (1, 0): {(-1.0, 0.0)}}  # none at the goal
    assert axes.yaxis_inverted()  # the first row is on top


def test_values_are_written_into_their_cells():
    letters = np.array([[".", "#", "."], [".", ".", "G"]])
    how = Drawing((Layout(np.arange(6).reshape(2, 3), letters=letters),))
    (axes,) = drawn(how, values=np.array([-14.0, 0.0, -2.5, 3.0, 4.0, 0.0]))
    written = {text.get_position(): text.get_text() for text in axes.texts if text.get_text()}
    assert written == {(0, 0): "-14.0", (2, 0): "-2.5", (0, 1): "3.0", (1, 1): "4.0", (2, 1): "G"}
    assert_array_equal(axes.images[0].get_array().mask, [[False, True, False], [False, False, True]])


def test_what_ended_has_neither_value_nor_action():
    how = drawing(gym.make("mprl/Gambler-v0"))
    values, policy = drawn(how, np.linspace(0.0, 1.0, 101), np.eye(51)[np.r_[0, np.ones(99, int), 0]])
    assert np.isnan(values.lines[0].get_ydata()[[0, 100]]).all()
    assert list(policy.lines[-1].get_xdata()) == list(range(1, 100))
    assert (policy.get_xlabel(), policy.get_ylabel()) == ("capital, dollars", "stake, dollars")


@pytest.mark.parametrize("env_id", [pytest.param("mprl/Blackjack-v0", marks=pytest.mark.slow), "CartPole-v1"])
def test_every_kind_of_environment_is_drawn(tmp_path, env_id):
    env = gym.make(env_id)
    states, actions = getattr(env.unwrapped, "num_states", getattr(env.observation_space, "n", 30)), int(env.action_space.n)
    picture = plot_solution(env, np.arange(states), np.full((states, actions), 1 / actions), tmp_path / "x.png", "title")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_great_map_is_drawn_without_arrows(tmp_path):
    assert plot_policy(np.zeros(90_000, int), tmp_path / "x.png", shape=(300, 300)).stat().st_size > 1000


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")])
def test_the_format_is_that_of_the_name(tmp_path, suffix, start):
    assert plot_values([1.0, 2.0], tmp_path / f"x{suffix}", shape=(1, 2)).read_bytes().startswith(start)


def test_mistakes(tmp_path):
    with pytest.raises(SettingError, match=r"written as \.png, \.svg or \.pdf, not '\.jpg'"):
        plot_values([1.0], tmp_path / "x.jpg")
    with pytest.raises(SettingError, match="2 x 2 cells does not fit 5 states"):
        plot_values(np.zeros(5), tmp_path / "x.png", shape=(2, 2))
    with pytest.raises(CheckpointError, match="cannot be written"):
        plot_values([1.0], tmp_path / "nowhere" / "x.png")
