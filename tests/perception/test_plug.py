"""One perception model, used in four ways."""

from __future__ import annotations

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn

from mprl.agents import PPO
from mprl.errors import CheckpointError, PerceptionError, SettingError
from mprl.perception.plug import CONFIG, WEIGHTS, Perception, build
from mprl.perception.sb3 import PerceptionExtractor, sb3_policy_kwargs
from mprl.perception.spec import Spec
from mprl.perception.wrapper import perceive

SHAPE = (40, 40, 3)


class Pictures(gym.Env):
    """Random pictures; the third step of an episode is its last."""

    def __init__(self, beside: bool = False, space: gym.Space | None = None) -> None:
        picture = space or gym.spaces.Box(0, 255, SHAPE, np.uint8)
        self.observation_space = gym.spaces.Dict({"image": picture, "speed": gym.spaces.Box(-1, 1, (2,))}) if beside else picture
        self.action_space = gym.spaces.Discrete(2)
        self.beside = beside

    def _look(self):
        image = self.np_random.integers(0, 256, SHAPE, dtype=np.uint8)
        return {"image": image, "speed": self.np_random.uniform(-1, 1, 2).astype(np.float32)} if self.beside else image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._look(), {}

    def step(self, action):
        self.steps += 1
        return self._look(), 1.0, self.steps == 3, False, {}


def model(frozen=True, key=None, name="cnn"):
    torch.manual_seed(1)
    return build(name, Spec(SHAPE, key=key, frozen=frozen), 24)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", ["cnn", "vae", "vit"])
def test_the_same_weights_give_the_same_bits_in_all_four_uses(name, frozen, beside):
    key = "image" if beside else None
    plug = model(frozen, key, name)
    count = 4
    plain = lambda: SyncVectorEnv([lambda: Pictures(beside)] * count)  # noqa: E731
    raw, _ = plain().reset(seed=0)
    images = torch.as_tensor(raw["image"] if beside else raw)

    in_torch = plug(images).detach()

    seen, _ = perceive(plain(), plug).reset(seed=0)
    np.testing.assert_array_equal(seen["image"] if beside else seen, in_torch)
    if beside:
        np.testing.assert_array_equal(seen["speed"], raw["speed"])

    agent = PPO(plain(), perception=plug, hidden=(4,), n_steps=2, normalize_observations=False)
    observed = agent.batch.reset(seed=0)
    in_agent = observed if frozen else agent.model.features(observed).detach()
    assert torch.equal(in_agent[:, -24:], in_torch)
    if beside:
        assert torch.equal(in_agent[:, :2], torch.as_tensor(raw["speed"]))

    from stable_baselines3 import PPO as SB3PPO

    kind = "MultiInputPolicy" if beside else "CnnPolicy"
    theirs = SB3PPO(kind, Pictures(beside), n_steps=8, batch_size=8, policy_kwargs={**sb3_policy_kwargs(plug), "net_arch": [4]})
    theirs.policy.set_training_mode(False)
    tensors, _ = theirs.policy.obs_to_tensor({k: np.moveaxis(v, -1, 1) if k == "image" else v for k, v in raw.items()} if beside else raw)
    in_sb3 = theirs.policy.extract_features(tensors).detach()
    assert torch.equal(in_sb3[:, :24], in_torch)


@pytest.mark.parametrize("frozen", [False, True])
def test_in_stable_baselines3_frozen_weights_stay_and_others_learn(frozen):
    from stable_baselines3 import PPO as SB3PPO

    plug = model(frozen)
    theirs = SB3PPO(
        "CnnPolicy", Pictures(), n_steps=16, batch_size=8, n_epochs=1, policy_kwargs={**sb3_policy_kwargs(plug), "net_arch": [4]}
    )
    extractor = theirs.policy.features_extractor
    assert isinstance(extractor, PerceptionExtractor)
    before = {key: value.clone() for key, value in extractor.perception.state_dict().items()}
    theirs.policy.set_training_mode(True)
    assert extractor.perception.training is not frozen
    handed = {id(parameter) for group in theirs.policy.optimizer.param_groups for parameter in group["params"]}
    assert bool(handed & {id(parameter) for parameter in extractor.perception.parameters()}) is not frozen
    theirs.learn(32)
    changed = [key for key, value in extractor.perception.state_dict().items() if not torch.equal(value, before[key])]
    assert bool(changed) is not frozen


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_last_observations_of_episodes_are_seen_too(mode, beside):
    plug = model(key="image" if beside else None)
    raw = SyncVectorEnv([lambda: Pictures(beside)] * 2, autoreset_mode=mode)
    seen = perceive(SyncVectorEnv([lambda: Pictures(beside)] * 2, autoreset_mode=mode), plug)
    raw.reset(seed=3), seen.reset(seed=3)
    actions = np.zeros(2, dtype=np.int64)
    for step in range(5):
        before, *_, info = raw.step(actions)
        after, *_, info_seen = seen.step(actions)
        part = before["image"] if beside else before
        np.testing.assert_array_equal(after["image"] if beside else after, plug(torch.as_tensor(part)))
        assert ("final_obs" in info) == ("final_obs" in info_seen) == (mode == AutoresetMode.SAME_STEP and step == 2)
        if "final_obs" in info:
            last, found = info["final_obs"][1], info_seen["final_obs"][1]
            last, found = (last["image"], found["image"]) if beside else (last, found)
            np.testing.assert_allclose(found, plug(torch.as_tensor(last)[None])[0], atol=1e-6)
    assert after["image"].shape == (2, 24) if beside else after.shape == (2, 24)


def test_a_single_environment_is_seen_and_its_spaces_say_so():
    plug = model(key="image")
    env = perceive(Pictures(beside=True), plug)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.observation_space["image"].shape == (24,) and env.observation_space["speed"].shape == (2,)
    assert env.observation_space.contains(env.step(0)[0])


def test_any_module_fits_without_inheriting():
    network = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plug = Perception(network, Spec.of(Pictures().observation_space, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)))
    assert plug.features == 4
    image = torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    standard = (image.float() - torch.tensor([123.7, 116.3, 103.5])) / torch.tensor([58.4, 57.1, 57.4])
    assert torch.equal(plug(image), network(standard.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)))


def test_a_history_and_a_vector_are_read_as_they_are():
    recurrent = Perception(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), Spec((4, 3), "float32", std=(1.0, 2.0, 4.0)))
    values = torch.randn(5, 4, 3)
    assert torch.allclose(recurrent(values), recurrent.network(values / torch.tensor([1.0, 2.0, 4.0])))


@pytest.mark.parametrize("name", ["cnn", "vae", "resnet"])
def test_what_is_saved_comes_back(name, tmp_path):
    plug = model(name=name)
    plug.save(tmp_path / "eyes")
    again = Perception.load(tmp_path / "eyes")
    images = torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    assert torch.equal(plug(images), again(images))
    assert again.spec == plug.spec and not again.training
    assert not Perception.load(tmp_path / "eyes", frozen=False).spec.frozen


def test_no_file_can_name_code_to_run(tmp_path):
    plug = Perception(nn.Sequential(nn.Flatten(), nn.Linear(40 * 40 * 3, 2)), Spec(SHAPE))
    plug.save(tmp_path)
    with pytest.raises(CheckpointError, match="network="):
        Perception.load(tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    for name in ("os:system", "builtins.eval", "../models", None, 3, ["cnn"]):
        (tmp_path / CONFIG).write_text(json.dumps({**content, "network": {"name": name, "shape": [3, 40, 40], "features": 2}}))
        with pytest.raises(CheckpointError):
            Perception.load(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(content))
    (tmp_path / WEIGHTS).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        Perception.load(tmp_path, network=nn.Sequential(nn.Flatten(), nn.Linear(40 * 40 * 3, 2)))


def test_weights_of_another_architecture_are_refused_by_name(tmp_path):
    plug = model()
    plug.save(tmp_path)
    weights = plug.network.state_dict()
    name = next(iter(weights))
    for broken, message in (
        ({key: value for key, value in weights.items() if key != name}, f"'{name}' is missing"),
        ({**weights, "extra": torch.zeros(1)}, "'extra' is not in this network"),
        ({**weights, name: torch.zeros(2)}, f"'{name}' has shape \\(2,\\)"),
    ):
        (tmp_path / WEIGHTS).write_bytes(safetensors.torch.save({key: value.contiguous() for key, value in broken.items()}))
        with pytest.raises(CheckpointError, match=message):
            Perception.load(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="incomplete"):
        Perception.load(tmp_path)
    with pytest.raises(CheckpointError, match="no perception model"):
        Perception.load(tmp_path / "nowhere")


def test_what_cannot_be_read_is_said_in_one_line():
    plug = model()
    with pytest.raises(PerceptionError, match=r"images are \(height, width, channels\)"):
        perceive(Pictures(space=gym.spaces.Box(0, 255, (3, 40, 40), np.uint8)), plug)
    with pytest.raises(PerceptionError, match="holds floats, the perception model reads bytes"):
        perceive(Pictures(space=gym.spaces.Box(0, 1, SHAPE, np.float32)), plug)
    with pytest.raises(PerceptionError, match="holds bytes 0 to 255, the perception model reads floats"):
        perceive(Pictures(), build("cnn", Spec(SHAPE, "float32"), 4))
    with pytest.raises(PerceptionError, match="which part"):
        perceive(Pictures(beside=True), plug)
    with pytest.raises(PerceptionError, match="has no part 'camera'"):
        perceive(Pictures(beside=True), model(key="camera"))
    with pytest.raises(PerceptionError, match="leave the key out"):
        perceive(Pictures(), model(key="image"))
    with pytest.raises(PerceptionError, match=r"expected observations of shape \(batch, 40, 40, 3\)"):
        plug(torch.zeros(2, 3, 40, 40, dtype=torch.uint8))
    with pytest.raises(PerceptionError, match="expected observations of uint8, found float32"):
        plug(torch.zeros(2, *SHAPE))
    with pytest.raises(PerceptionError, match="expected observations as a torch tensor, found ndarray"):
        plug(np.zeros((2, *SHAPE), np.uint8))
    with pytest.raises(PerceptionError, match="holds floats, the perception model reads bytes"):  # channels first, as it turns them
        PerceptionExtractor(gym.spaces.Box(0, 1, (3, 40, 40), np.float32), plug)
    with pytest.raises(PerceptionError, match=r"does not take inputs of shape \(batch, 3, 40, 40\)"):
        Perception(nn.Linear(7, 2), Spec(SHAPE))
    with pytest.raises(PerceptionError, match=r"must give features \(batch, n\)"):
        Perception(nn.Conv2d(3, 4, 3), Spec(SHAPE))
    with pytest.raises(PerceptionError, match=r"^no weight behind the features of DINO can learn along: train it before, and freeze it$"):
        model(frozen=False, name="dino")  # they are the teacher's, which follows the student


def test_what_is_no_model_or_no_setting_is_said_in_one_line(tmp_path):
    for use in (lambda: perceive(Pictures(), nn.Linear(3, 2)), lambda: sb3_policy_kwargs(nn.Linear(3, 2))):
        with pytest.raises(PerceptionError, match=r"^perception must be a mprl\.perception\.plug\.Perception, found a Linear; "):
            use()
    with pytest.raises(PerceptionError, match=r"^network must be a torch\.nn\.Module, found a str; "):
        Perception("cnn", Spec(SHAPE))
    for shape in (64, "abc"):
        with pytest.raises(PerceptionError, match=r"^shape must be sizes like \(64, 64, 3\), found "):
            Spec(shape)
    with pytest.raises(PerceptionError, match=r"^mean must be a number, or one for each channel, found 'x'$"):
        Spec(SHAPE, mean="x")
    with pytest.raises(SettingError, match=r"^features must be a whole number, found 'many'$"):
        build("cnn", Spec(SHAPE), "many")
    plug = model()
    plug.save(tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    del content["spec"]
    (tmp_path / CONFIG).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"perception.json: 'spec' is missing; is it edited by hand\?$"):
        Perception.load(tmp_path)
