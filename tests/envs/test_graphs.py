"""A captured step is the step: the same bits as without a graph, where a graph's rules are played on the CPU.

A graph of a GPU knows places in memory and kernels: while it is captured nothing is computed, and when it is launched no line of Python
runs. `Replayed` holds torch's operations to the same on the CPU, so that all but CUDA itself is tested everywhere.
"""

from __future__ import annotations

import gymnasium as gym
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mprl  # noqa: F401
from mprl.simulation.graphs import WARM_UPS, Captured, outside

ACTUATORS = 28


class Replayed(TorchDispatchMode):
    """Records torch's operations as a CUDA graph does: their results are garbage until it is launched, and then always in one place."""

    def __init__(self, *generators: torch.Generator) -> None:
        super().__init__()
        self.generators, self.graphs = generators, 0

    def begin(self) -> None:
        self.operations, self.before = [], {}
        self.random = [generator.get_state() for generator in self.generators]
        self.__enter__()

    def end(self):
        self.__exit__(None, None, None)
        self.graphs += 1
        for storage, content in self.before.values():  # nothing was computed
            storage.copy_(content)
        for _, _, _, results, _ in self.operations:
            for result in results:
                result.fill_(0.3 if result.is_floating_point() else 0)  # garbage, but no index out of reach
        for generator, state in zip(self.generators, self.random, strict=True):
            generator.set_state(state)
        operations = self.operations

        def launch() -> None:
            for function, arguments, named, results, _ in operations:
                for mine, new in zip(results, tree_leaves(function(*arguments, **named)), strict=False):
                    mine.copy_(new)

        return launch

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        made = {id(result) for operation in self.operations for result in operation[4]}
        for argument, value in zip(function._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                if storage.data_ptr() not in made:
                    self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        found = function(*args, **kwargs)
        aliases = [returned.alias_info for returned in function._schema.returns]
        fresh = [leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)] if not any(aliases) else []
        if fresh or any(alias is not None and alias.is_write for alias in aliases):  # a view needs no kernel
            self.operations.append((function, args, kwargs, fresh, [leaf.untyped_storage().data_ptr() for leaf in fresh]))
        return found


class Counter:
    """State that is replaced, in a list, a tuple and a dictionary; and something that launches itself."""

    def __init__(self) -> None:
        self.random = torch.Generator().manual_seed(0)
        self.total, self.pair, self.named, self.many = (
            torch.zeros(2),
            (torch.zeros(2), torch.ones(2)),
            {"x": torch.zeros(2)},
            [torch.zeros(2)],
        )
        self.launched = torch.zeros(2)

    def work(self, value: torch.Tensor) -> dict[str, torch.Tensor]:
        self.total = self.total + value
        self.pair = (self.pair[1], self.pair[0] + self.total)
        total = self.total  # what launches itself knows places, too
        outside(lambda: self.launched.add_(total))
        self.named["x"] = self.named["x"] + self.launched
        self.many[0] = self.many[0] + torch.rand(2, generator=self.random)
        return {"a": self.pair[1] + self.named["x"], "b": self.many[0] * value, "c": self.total > 3}


def test_tensors_that_are_replaced_stay_where_the_graph_knows_them():
    plain, other = Counter(), Counter()
    recorder = Replayed(other.random)
    captured = Captured(other.work, other, recorder)
    kept = []
    for step in range(WARM_UPS + 5):
        value = torch.tensor([float(step), 1.0])
        if step == WARM_UPS + 2:  # somebody replaces them in between
            plain.total, other.total = torch.full((2,), 7.0), torch.full((2,), 7.0)
        expected, found = plain.work(value), captured(value)
        kept.append((expected, found))
    assert recorder.graphs == 2
    for expected, found in kept:  # what was handed out is the caller's
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_what_cannot_be_captured_goes_on_without(caplog):
    class Refuses(Replayed):
        def end(self):
            super().end()
            raise RuntimeError("operation not permitted when stream is capturing")

    plain, other = Counter(), Counter()
    captured = Captured(other.work, other, Refuses(other.random))
    for step in range(WARM_UPS + 3):
        expected, found = plain.work(torch.ones(2) * step), captured(torch.ones(2) * step)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [record.message for record in caplog.records] == [
        "the step could not be captured as CUDA graphs and goes on without: operation not permitted when stream is capturing"
    ]


def test_state_that_comes_and_goes_is_not_captured(caplog):
    class Grows(Counter):
        def work(self, value):
            self.named[str(len(self.named))] = value
            return super().work(value)

    plain, other = Grows(), Grows()
    captured = Captured(other.work, other, Replayed(other.random))
    for step in range(WARM_UPS + 2):
        expected, found = plain.work(torch.ones(2) * step), captured(torch.ones(2) * step)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert "is not there at every call" in caplog.records[0].message


SENSORS = {
    "imu": {"gyroscope_noise": 0.1, "gyroscope_drift": 0.1, "misplacement": 0.01, "misalignment": 0.1, "orientation_noise": 0.1},
    "keypoints_2d": {"noise": 1.0, "dropout": 0.1, "occlusion": True},
    "keypoints_3d": {"noise": 0.01, "dropout": 0.1},
    "height_scan": {"noise": 0.01, "rays": True},
}


@pytest.mark.usefixtures("warp_installed", "heard")
@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("", {"autoreset_mode": "SAME_STEP", "phase_observation": True}),
        ("", {"autoreset_mode": "NEXT_STEP", "randomize": True}),
        ("", {"sensors": SENSORS}),
        (
            "",
            {
                "motion": ["walk", "jump"],
                "adaptive_sampling": True,
                "latency": (0.0, 0.03),
                "pushes": {"force": (0, 200), "every": (0.1, 0.2)},
            },
        ),
        ("Heading", {}),
        ("Strike", {}),
    ],
)
def test_a_captured_step_is_the_step(device, task, settings):
    if device == "cuda":
        pytest.skip("with real graphs: test_graphs_on_a_gpu")
    envs = [
        gym.make_vec(
            f"mprl/DeepMimic{task}-v0", num_envs=3, device=device, backend="warp", output="torch", time_limit=0.2, **settings
        ).unwrapped
        for _ in range(2)
    ]
    captured = envs[1]
    recorder = Replayed(captured._random)
    captured._captured = Captured(captured._advance, captured, recorder)
    generator, ended = torch.Generator().manual_seed(0), 0
    for env in envs:
        env.reset(seed=5)
    for step in range(WARM_UPS + 14):
        if step == WARM_UPS + 6:
            assert_alike(*(env.reset(options={"phase": 0.25}) for env in envs))
        if step == WARM_UPS + 9:
            assert_alike(*(env.set_state(env.get_state()) for env in envs))
        action = 0.5 * torch.randn(3, ACTUATORS, generator=generator)
        expected, found = (env.step(action) for env in envs)
        assert_alike(expected, found)
        ended += int((expected[2] | expected[3]).sum())
    assert_alike(*(env.get_state() for env in envs))
    assert_alike(*(env.body_positions() for env in envs))
    assert ended > 3 and recorder.graphs >= 3


def assert_alike(expected, found) -> None:
    expected, found = tree_leaves(expected), tree_leaves(found)
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(torch.nan_to_num(one, 7.0), torch.nan_to_num(other, 7.0)) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.gpu
def test_graphs_on_a_gpu():
    """Real graphs: the same episodes to the last bit, and far fewer launches."""
    envs = [
        gym.make_vec("mprl/DeepMimic-v0", num_envs=256, device="cuda", output="torch", time_limit=0.5, cuda_graphs=graphs).unwrapped
        for graphs in (False, True)
    ]
    for env in envs:
        env.simulation._model.opt.deterministic = True
        env.reset(seed=5)
    for _ in range(40):
        action = torch.zeros(256, ACTUATORS, device="cuda")
        assert_alike(*(env.step(action) for env in envs))
    assert envs[1]._captured._program
