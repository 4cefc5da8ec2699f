"""A saved agent comes back as it was; a broken or foreign folder is one clear line, and never runs anything."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents import A2C, PPO, checkpoints, load_agent
from mprl.errors import CheckpointError, DeviceError, MprlError


class Blind(gym.Env[Any, Any]):
    """Random observations, no rewards, three steps."""

    def __init__(self, observation: gym.Space[Any], action: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observation_space.sample(), 0.0, False, self.steps == 3, {}


UNBOUNDED = gym.spaces.Box(-np.inf, np.inf, (3,))
MIXED = gym.spaces.Box(np.array([-1.5, -np.inf, 0.1], np.float32), np.array([1.5, np.inf, 0.7], np.float32))
SPACES = {
    "boxes": (UNBOUNDED, gym.spaces.Box(-2, 2, (2,))),
    "bounds of each entry": (MIXED, gym.spaces.Box(np.array([-1.0, 0.0]), np.array([1.0, 7.0]), dtype=np.float64)),
    "matrices": (gym.spaces.Box(0, 255, (2, 3), np.uint8), gym.spaces.Box(-1, 1, (2, 2))),
    "no dimension": (gym.spaces.Box(-1, 1, ()), gym.spaces.Box(-np.inf, np.inf, ())),
    "discrete": (gym.spaces.Discrete(5, start=2), gym.spaces.Discrete(3, start=-1)),
}


def small(env: Any, **settings: Any) -> PPO:
    return PPO(env, **{"n_steps": 12, "hidden": (4,), "seed": 3, **settings}).learn(12)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small agent's folder. To be copied, not changed."""
    return small(Blind(*SPACES["boxes"])).save(tmp_path_factory.mktemp("saved") / "agent")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "agent"))


def refused(path: Path, *arguments: Any, kind: type[MprlError] = CheckpointError) -> str:
    """The one line that loading ends in."""
    with pytest.raises(kind) as caught:
        load_agent(path, *arguments)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def same_files(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in (checkpoints.CONFIG, checkpoints.WEIGHTS))


# ------------------------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("kind", SPACES)
def test_a_loaded_agent_predicts_the_same_bits(kind, tmp_path):
    observation, action = SPACES[kind]
    agent = small(Blind(observation, action))
    agent.save(tmp_path)
    loaded = load_agent(tmp_path)
    assert isinstance(loaded, PPO)
    assert loaded.observation_space == observation and loaded.action_space == action
    assert loaded.settings == agent.settings and loaded.num_timesteps == agent.num_timesteps == 12 and loaded.seed == 3
    observation.seed(0)
    batch = np.stack([observation.sample() for _ in range(50)])
    mine, theirs = (a.predict(batch, deterministic=True)[0] for a in (agent, loaded))
    assert mine.dtype == theirs.dtype == action.dtype and np.array_equal(mine, theirs)
    assert all(action.contains(row) for row in (np.asarray(a, action.dtype) for a in theirs))


def test_it_learns_on_in_its_environment(folder):
    agent = load_agent(folder, Blind(*SPACES["boxes"]))
    assert agent.learn(12).num_timesteps == 24
    alone = load_agent(folder)
    with pytest.raises(MprlError, match="no environment to learn in"):
        alone.learn(12)


def test_another_agent_begins_from_what_was_learned(saved, tmp_path):
    begun = small(Blind(*SPACES["boxes"]), seed=7, learning_rate=1e-5).begin_from(saved)
    assert (begun.seed, begun.num_timesteps, begun.settings.learning_rate) == (7, 12, 1e-5)
    assert all(torch.equal(one, other) for one, other in zip(weights_of(begun), weights_of(load_agent(saved)), strict=True))
    assert begun.learn(12).num_timesteps == 24
    assert load_agent(begun.save(tmp_path / "begun")).config["begun_from"] == str(saved)
    settings = {"learn_std": False, "initial_std": 0.05}
    assert float(small(Blind(*SPACES["boxes"]), **settings).begin_from(saved).model.log_std.exp().mean()) == pytest.approx(0.05)
    with pytest.raises(CheckpointError, match=r"its networks are others \(activation \w+, here relu\)"):
        small(Blind(*SPACES["boxes"]), activation="relu").begin_from(saved)
    larger = small(Blind(*SPACES["boxes"]), hidden=(9,))
    with pytest.raises(CheckpointError, match=r"agent: its networks are others \(model\.\S+ .*, here "):
        larger.begin_from(saved)
    with pytest.raises(CheckpointError, match="agent: holds an agent 'ppo', expected 'a2c'"):
        A2C(Blind(*SPACES["boxes"]), n_steps=4).begin_from(saved)


def weights_of(agent) -> list[torch.Tensor]:
    return list(agent.model.state_dict().values())


def test_saving_what_was_loaded_changes_nothing(saved, tmp_path):
    load_agent(saved, Blind(*SPACES["boxes"])).save(tmp_path / "again")
    assert same_files(saved, tmp_path / "again")


def test_a_gymnasium_environment_s_id_and_arguments_are_kept(tmp_path):
    small(gym.make("CartPole-v1", sutton_barto_reward=True), n_steps=16).save(tmp_path)
    config = checkpoints.read_config(tmp_path)
    assert config["env_id"] == "CartPole-v1" and config["env_kwargs"]["sutton_barto_reward"] is True


def test_saving_again_replaces_both_files(saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "a"))
    small(Blind(*SPACES["boxes"]), seed=4).save(folder)
    assert not same_files(saved, folder) and sorted(os.listdir(folder)) == [checkpoints.CONFIG, checkpoints.WEIGHTS]
    assert load_agent(folder).seed == 4


# ------------------------------------------------------------------------------------------------------------- another environment


@pytest.mark.parametrize(
    ("observation", "action", "says"),
    [
        (gym.spaces.Box(-np.inf, np.inf, (4,)), SPACES["boxes"][1], "observations"),
        (gym.spaces.Box(-1, 1, (3,)), SPACES["boxes"][1], "observations"),
        (gym.spaces.Discrete(3), SPACES["boxes"][1], "observations"),
        (UNBOUNDED, gym.spaces.Box(-2, 2, (3,)), "actions"),
        (UNBOUNDED, gym.spaces.Box(-1, 1, (2,)), "actions"),
        (UNBOUNDED, gym.spaces.Discrete(2), "actions"),
    ],
)
def test_another_environment_s_agent_is_refused_and_the_difference_named(saved, observation, action, says):
    message = refused(saved, Blind(observation, action))
    assert says in message
    made_for, _, found = message.partition(", the environment has ")
    assert found and found not in made_for  # not "for [3], the environment has [3]"


def test_the_same_spaces_in_a_batch_are_the_same(saved):
    envs = SyncVectorEnv([lambda: Blind(*SPACES["boxes"])] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    assert load_agent(saved, envs).learn(12).num_timesteps == 12 + 36


# -------------------------------------------------------------------------------------------------------------------- broken folders


def test_config_cut_anywhere(saved, folder):
    whole = (saved / checkpoints.CONFIG).read_bytes()
    for length in [*range(0, len(whole) - 1, 7), len(whole) - 1]:
        (folder / checkpoints.CONFIG).write_bytes(whole[:length])
        assert checkpoints.CONFIG in refused(folder)


def test_weights_cut_anywhere(saved, folder):
    whole = (saved / checkpoints.WEIGHTS).read_bytes()
    for length in [*range(16), *range(16, len(whole), 97), len(whole) - 1]:
        (folder / checkpoints.WEIGHTS).write_bytes(whole[:length])
        assert checkpoints.WEIGHTS in refused(folder)


def test_flipped_bits_are_an_error_or_other_numbers_but_never_a_traceback(saved, folder):
    random = np.random.default_rng(0)
    for name in (checkpoints.CONFIG, checkpoints.WEIGHTS):
        whole = (saved / name).read_bytes()
        for _ in range(150):
            spoilt = bytearray(whole)
            spoilt[random.integers(len(whole))] ^= 1 << random.integers(8)
            (folder / name).write_bytes(spoilt)
            try:
                load_agent(folder)
            except MprlError as error:
                assert "\n" not in str(error)
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "version 1, found 2; update mprl"),
        ({"version": None}, "version"),
        ({"format": "something else"}, "not an agent of mprl"),
        ({"settings": {"hidden": [8]}}, "do not fit together"),
        ({"settings": {"hidden": 8}}, "hidden"),
        ({"settings": {"hiden": [4]}}, "hiden"),
        ({"settings": {"learning_rate": "fast"}}, "learning_rate"),
        ({"settings": None}, "config.json"),
        ({"seed": "three"}, "config.json"),
        ({"observation_space": None}, "config.json"),
        ({"observation_space": {"kind": "Discrete", "n": 0, "start": 0}}, "config.json"),
        ({"action_space": {"kind": "Ball"}}, "config.json"),
        ({"action_space": {"kind": "Box", "shape": [2], "dtype": "no", "low": 0, "high": 1}}, "config.json"),
    ],
)
def test_a_config_that_cannot_be_is_one_line_that_names_the_folder(folder, changes, says):
    config = json.loads((folder / checkpoints.CONFIG).read_text())
    (folder / checkpoints.CONFIG).write_text(json.dumps({**config, **changes}))
    message = refused(folder)
    assert says in message and str(folder) in message


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "{}", "[" * 100_000, "\ufeff{}", "{'a': 1}", "NaN"])
def test_json_that_is_no_config(folder, content):
    (folder / checkpoints.CONFIG).write_text(content, encoding="utf-8")
    assert checkpoints.CONFIG in refused(folder)


@pytest.mark.parametrize("key", ["agent", "env_id", "env_kwargs", "settings", "seed", "num_timesteps", "observation_space", "action_space"])
def test_a_missing_key_is_named(folder, key):
    config = json.loads((folder / checkpoints.CONFIG).read_text())
    del config[key]
    (folder / checkpoints.CONFIG).write_text(json.dumps(config))
    assert f'"{key}"' in refused(folder)


def test_an_unknown_agent_is_named(folder):
    config = json.loads((folder / checkpoints.CONFIG).read_text())
    (folder / checkpoints.CONFIG).write_text(json.dumps({**config, "agent": "pppo"}))
    assert "did you mean 'ppo'" in refused(folder, kind=MprlError)
    with pytest.raises(CheckpointError, match="agent 'pppo', expected 'ppo'"):
        PPO.load(folder)


def test_no_folder_an_empty_one_a_file_and_half_an_agent(folder, tmp_path):
    assert "no such run folder" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no agent" in refused(tmp_path / "empty")
    assert "found a file" in refused(folder / checkpoints.CONFIG)
    (folder / checkpoints.WEIGHTS).unlink()
    assert "incomplete" in refused(folder)
    (folder / checkpoints.WEIGHTS).mkdir()
    assert checkpoints.WEIGHTS in refused(folder)


@pytest.mark.parametrize("settings", [{"hidden": (5,)}, {"hidden": (4, 4)}, {"hidden": ()}])
def test_weights_of_another_network_are_refused(folder, settings, tmp_path):
    other = small(Blind(*SPACES["boxes"]), **settings).save(tmp_path / "other")
    shutil.copy(other / checkpoints.WEIGHTS, folder)
    assert "do not fit together" in refused(folder)


class Marker:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_the_place_of_weights_is_never_opened(folder, tmp_path):
    marker = tmp_path / "executed"
    content = pickle.dumps(Marker(marker))
    pickle.loads(content)
    assert marker.exists()  # so it would work
    marker.unlink()
    (folder / checkpoints.WEIGHTS).write_bytes(content)
    refused(folder)
    torch.save({"model": Marker(marker)}, folder / checkpoints.WEIGHTS)
    refused(folder)
    (folder / checkpoints.CONFIG).write_bytes(content)
    refused(folder)
    assert not marker.exists()


def test_a_device_that_is_not_there(saved):
    assert "cudda" in _refused_device(saved, "cudda")
    if not torch.cuda.is_available():
        assert "CUDA" in _refused_device(saved, "cuda")


def _refused_device(folder: Path, device: str) -> str:
    with pytest.raises(MprlError) as loading:
        load_agent(folder, device=device)
    with pytest.raises(DeviceError) as making:
        PPO(Blind(*SPACES["boxes"]), device=device)
    assert "\n" not in str(loading.value) + str(making.value)
    return str(loading.value)


# ------------------------------------------------------------------------------------------------------------------------- writing


def test_what_is_written_is_what_safetensors_reads(tmp_path):
    """Of every type, also a part of another tensor, an empty one, a number alone, two that share their memory."""
    whole = torch.arange(24).reshape(4, 6)
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
    tensors = {str(kind): whole.to(kind) for kind in (*kinds, torch.bool)}
    tensors |= {"ä": whole.t(), "part": whole[1:3, ::2], "empty": torch.zeros(0, 3), "number": torch.tensor(7.5), "same": whole}
    checkpoints.write(tmp_path, {}, tensors)
    read = safetensors.torch.load_file(tmp_path / checkpoints.WEIGHTS)
    assert read.keys() == tensors.keys() and all(read[name].dtype == value.dtype for name, value in tensors.items())
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


@pytest.mark.slow
def test_a_checkpoint_costs_no_memory_beside_what_it_holds(tmp_path):
    big = torch.zeros(1 << 26)  # 256 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    checkpoints.write(tmp_path, {}, {}, ({"replay": big}, {}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match="cannot be written") as caught:
            small(Blind(*SPACES["boxes"])).save(path)
        assert "\n" not in str(caught.value) and "file" in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("failing", [0, 1])
def test_a_disk_that_is_full_leaves_whole_files_and_no_scraps(folder, failing, monkeypatch):
    """Whichever of the two files it fills up at: what is there afterwards loads."""
    calls = []
    real = os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) - 1 == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    agent = small(Blind(*SPACES["boxes"]), seed=9)
    with pytest.raises(CheckpointError, match="cannot be written: No space left") as caught:
        agent.save(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert sorted(os.listdir(folder)) == [checkpoints.CONFIG, checkpoints.WEIGHTS]
    load_agent(folder)


def test_a_kill_between_the_two_files_leaves_an_agent_that_loads(folder, monkeypatch):
    real, calls = os.replace, []

    def killed(*paths: Any) -> None:
        calls.append(paths)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*paths)

    agent = small(Blind(*SPACES["boxes"]), seed=9)
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        agent.save(folder)
    load_agent(folder)


def test_a_single_number_of_a_broadcast_array_is_written(tmp_path):
    number = torch.tensor([7]).expand(1).as_strided((1,), (0,))
    assert number.stride() == (0,)
    checkpoints.write(tmp_path, {}, {"number": number, "none": torch.zeros(0)})
    assert safetensors.torch.load_file(tmp_path / "weights.safetensors")["number"].tolist() == [7]
