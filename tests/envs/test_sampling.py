"""Where episodes begin: by weights, and by failure rates (BeyondMimic, arXiv 2508.08241, section III-F), on libraries made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mprl.envs.imitation import checks
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.sampling import AdaptiveSampling, Starts, adaptive_of
from mprl.errors import MprlError
from mprl.motion import load
from mprl.motion.edit import trim
from mprl.motion.formats import npz
from mprl.motion.load import motions

FOREVER = 1e-9  # forgets nothing


class _Library(SimpleNamespace):
    def __init__(self, durations: list[float], cyclic: list[bool] | None = None) -> None:
        super().__init__(durations=torch.tensor(durations), cyclic=torch.tensor(cyclic or [False] * len(durations)))

    def __len__(self) -> int:
        return len(self.durations)


def starts(durations: list[float], weights: Any = None, cyclic: list[bool] | None = None, **settings: Any) -> Starts:
    adaptive = AdaptiveSampling(**{"decay": FOREVER, "lookahead": 1, **settings}) if settings.pop("adaptive", True) else None
    return Starts(_Library(durations, cyclic), weights, adaptive)


def usual(durations: list[float], weights: Any = None) -> Starts:
    return Starts(_Library(durations), weights)


def seen(where: Starts, failures: list[float], visits: float = 1e9) -> list[float]:
    """The chances after so many failures in each bin."""
    where.visits.fill_(visits)
    where.failures.copy_(torch.tensor(failures))
    return where.chances.tolist()


def grid(count: int = 20_000) -> torch.Tensor:
    """Uniform numbers spread evenly, so that shares come out exactly."""
    at = torch.arange(count, dtype=torch.float64)
    return torch.stack(((at + 0.5) / count, at * 0.6180339887 % 1)).float()


# ------------------------------------------------------------------------------------------------------------------------ without


def test_episodes_begin_uniformly_over_the_clips_time():
    clip, phase = usual([1.0, 3.0]).draw(grid())
    assert (clip == 1).float().mean() == pytest.approx(0.75, abs=1e-3)
    for each in (0, 1):
        assert torch.histc(phase[clip == each], 4, 0, 1).div((clip == each).sum()).tolist() == pytest.approx([0.25] * 4, abs=1e-2)


def test_weights_are_shares_of_the_episodes_whatever_the_clips_lengths():
    clip, _ = usual([1.0, 3.0, 9.0], [2, 1, 1]).draw(grid())
    assert torch.bincount(clip).div(len(clip)).tolist() == pytest.approx([0.5, 0.25, 0.25], abs=1e-3)


def test_a_clip_of_weight_0_is_never_begun():
    uniform = torch.tensor([[0.0, 0.5, 1 - 2**-24], [0.0, 0.0, 0.0]])
    assert usual([1.0, 1.0, 1.0], [0, 1, 0]).draw(uniform)[0].tolist() == [1, 1, 1]


# ----------------------------------------------------------------------------------------------------------------------- adaptive


def test_before_anything_is_known_and_when_all_fails_alike_episodes_begin_as_without():
    where = starts([2.0, 1.0, 3.0])
    assert where.bins.tolist() == [2, 1, 3]
    assert where.chances.tolist() == pytest.approx([1 / 6] * 6)
    assert seen(where, [5e6] * 6) == pytest.approx([1 / 6] * 6)


def test_chances_are_in_proportion_to_failures_per_time():
    # rates 1, 3, 0, 0 of four bins of one second
    assert seen(starts([4.0], uniform=1e-6), [1e8, 3e8, 0, 0]) == pytest.approx([0.25, 0.75, 0, 0], abs=1e-4)


def test_a_share_begins_as_without():
    assert seen(starts([4.0], uniform=0.2), [1e8, 3e8, 0, 0]) == pytest.approx([0.25, 0.65, 0.05, 0.05], abs=1e-4)


def test_hard_clips_are_begun_more_often_than_easy_ones_of_equal_weight():
    # a bin each; three times as many failures in the second
    assert seen(starts([1.0, 1.0], [1, 1], uniform=1e-6), [1e8, 3e8]) == pytest.approx([0.25, 0.75], abs=1e-4)
    assert seen(starts([1.0, 1.0], [3, 1], uniform=1e-6), [1e8, 3e8]) == pytest.approx([0.5, 0.5], abs=1e-4)


def test_failures_ahead_count_less_with_every_bin():
    """One bin fails. Those before it count it at .5 and .25 of the sum of weights 1 + .5 + .25; a one-shot clip ends with its last bin."""
    chances = seen(starts([4.0], uniform=1e-6, lookahead=3, discount=0.5), [0, 0, 1e8, 0])
    weights = [0.25 / 1.75, 0.5 / 1.75, 1 / 1.5, 0]
    assert chances == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-4)


def test_in_a_cycle_the_first_bin_is_ahead_of_the_last():
    chances = seen(starts([3.0], cyclic=[True], uniform=1e-6, lookahead=2, discount=0.5), [1e8, 0, 0])
    assert chances == pytest.approx([2 / 3, 0, 1 / 3], abs=1e-4)


def test_failures_are_counted_where_they_happen():
    where = starts([2.0, 3.0])
    clip, phase = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0.1, 1.0, 0.4, 0.4, 0.9])
    failed, counted = torch.tensor([False, True, True, True, True]), torch.tensor([True, True, True, True, False])
    where.record(clip, phase, failed, counted)
    assert where.visits.tolist() == [1, 1, 0, 2, 0] and where.failures.tolist() == [0, 1, 0, 2, 0]


def test_what_is_long_ago_is_forgotten_by_equal_ratios():
    where = starts([1.0], decay=0.5)
    for _ in range(3):
        where.record(torch.zeros(8, dtype=torch.long), torch.zeros(8), torch.ones(8, dtype=torch.bool), torch.ones(8, dtype=torch.bool))
    assert where.visits.tolist() == [8 + 4 + 2] and where.failures.tolist() == [8 + 4 + 2]


def test_phases_are_uniform_within_a_bin():
    where = starts([4.0, 1.0], uniform=1e-6)
    seen(where, [0, 1e8, 0, 0, 0])
    clip, phase = where.draw(grid())
    assert (clip == 0).float().mean() > 0.999
    assert torch.histc(phase[clip == 0], 4, 0.25, 0.5).div(len(clip)).tolist() == pytest.approx([0.25] * 4, abs=1e-2)


# ------------------------------------------------------------------------------------------------------------- in the environment


def clips() -> list[Any]:
    """A second of each of two motions."""
    return [trim(load(name), 0.0, 1.0) for name in ("squat", "turn")]


def env(**settings: Any) -> DeepMimicVectorEnv:
    return DeepMimicVectorEnv(16, clips(), output="torch", num_threads=1, contact_termination=False, **settings)


def test_what_was_learned_of_failures_is_part_of_the_state_and_the_future_goes_on_bit_for_bit():
    settings: dict[str, Any] = {"adaptive_sampling": {"bin_seconds": 0.5}, "clip_weights": (1, 2), "pushes": {"force": 400, "every": 0.2}}
    settings |= {"latency": (0.0, 0.1), "tracking_termination": 0.1, "randomize": {"mass": (0.8, 1.2)}}
    one, other = env(**settings), env(**settings)
    one.reset(seed=3)
    random = torch.Generator().manual_seed(0)
    actions = torch.randn(30, 16, 28, generator=random)
    for action in actions[:15]:
        one.step(action)
    assert one._starts.failures.sum() > 5
    other.reset(seed=99)
    other.set_state(one.get_state())
    for action in actions[15:]:
        for mine, theirs in zip(one.step(action)[:4], other.step(action)[:4], strict=True):
            assert torch.equal(mine, theirs)
    assert all(torch.equal(value, other.get_state()[name]) for name, value in one.get_state().items())


def test_episodes_begin_where_the_character_fails():
    made = env(adaptive_sampling={"uniform": 0.01, "lookahead": 1, "bin_seconds": 0.25})
    made.reset(seed=0)
    made._starts.visits.fill_(1e6)
    made._starts.failures[1] = 1e5  # the second of four bins of the first clip
    _, info = made.reset()
    assert (info["clip"] == 0).float().mean() > 0.8
    inside = info["phase"][info["clip"] == 0]
    assert ((inside > 0.2) & (inside < 0.5)).float().mean() > 0.8


# ------------------------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("weights", "words"),
    [((1, 2, 3), ["each of the 2 clips", "found 3"]), ((1, -2), ["at least 0", "-2"]), ((0, 0), ["above it"]), (("a", 1), ["number"])],
)
def test_weights_that_cannot_be_are_one_line(weights, words):
    with pytest.raises(MprlError) as caught:
        usual([1.0, 1.0], weights)
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in ["clip_weights", *words]), str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"unifrom": 0.1}, ["unifrom", "did you mean 'uniform'"]),
        ({"uniform": 0}, ["uniform", "(0, 1]"]),
        ({"lookahead": 1.5}, ["lookahead", "whole number"]),
        (3, ["adaptive_sampling", "True or a dictionary"]),
    ],
)
def test_settings_that_cannot_be_are_one_line(wanted, words):
    with pytest.raises(MprlError) as caught:
        adaptive_of(wanted)
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words), str(caught.value)


def test_without_the_argument_there_is_no_adaptive_sampling():
    assert adaptive_of(False) is None and adaptive_of(True) == AdaptiveSampling()
    assert not any(name.startswith("sampling") for name in env().get_state())


# --------------------------------------------------------------------------------------------------------------------- which clips


def test_a_folder_and_all_are_libraries(tmp_path):
    for name, file in (("squat", "b.npz"), ("kick", "a.npz")):
        npz.write(load(name), tmp_path / file)
    (tmp_path / "readme.md").write_text("no motion")
    assert [clip.name for clip in checks.clips([tmp_path, "turn"])] == ["kick", "squat", "turn"]
    assert checks.expanded("all") == list(motions())
    (tmp_path / "empty").mkdir()
    with pytest.raises(MprlError, match="expected motion files"):
        checks.expanded(tmp_path / "empty")
