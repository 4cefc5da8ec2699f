"""Perception: what a plug costs, PPO from pixels beside Stable-Baselines3, pictures beside MuJoCo's renderer, what models learn."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mprl.agents.eyes import Eyes
from mprl.envs.wrappers import PixelObservation, pixels
from mprl.envs.wrappers.pygame_pictures import PygamePictures
from mprl.envs.wrappers.resizing import Picture
from mprl.perception import models
from mprl.perception.plug import build
from mprl.perception.probe import linear_probe
from mprl.perception.sb3 import PerceptionExtractor
from mprl.perception.spec import Spec
from mprl.perception.trainer import Trainer, TrainerSettings
from mprl.perception.wrapper import look
from mprl.scripts.benchmarks.deep import without_preset
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview, alternate, medians
from mprl.simulation.cameras import CameraRenderer

BATCH, SIZE, STACK, WORLDS = 64, 64, 2, 8
CROP = (0, 160, 600, 320)  # CartPole's cart and pole
FEATURES = 32
# PPO's, ours and theirs
LEARNING: dict[str, Any] = {"n_steps": 128, "batch_size": 256, "n_epochs": 4, "gamma": 0.99, "gae_lambda": 0.95}
RENDERED = ("Ant-v5", (64, 128, 256))
TRUNK: dict[str, Any] = {"layers": (8, 16, 32, 32)}
_CNN: dict[str, Any] = {"channels": (8, 16, 32, 32), "kernels": (4,) * 4, "strides": (2,) * 4, "paddings": 1, "activation": "elu"}
LEARNED: dict[str, tuple[str, dict[str, Any]]] = {
    "CNN, random weights": ("cnn", {**_CNN, "output": "none"}),
    "autoencoder": ("autoencoder", TRUNK),
    "VAE": ("vae", TRUNK),
    "VQ-VAE": ("vq_vae", TRUNK),
    "CURL": ("curl", {**_CNN, "output": "norm"}),
    "masked autoencoder": ("masked_autoencoder", {"depth": 2, "decoder_width": 32}),
    "DINO": ("dino", {**_CNN, "encoder": "cnn", "output": "norm", "momentum": 0.96, "local": 0}),
    "image-state pairs (sees the state)": ("image_state", {**_CNN, "output": "none", "state_size": 2}),
}
TAUGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP": ("mlp", {"hidden": (128, 64)}),
    "CNN": ("cnn", {**_CNN, "output": "none"}),
    "ResNet": ("resnet", {"channels": (8, 16, 32)}),
    "ViT": ("vit", {"depth": 2, "width": 48}),
}
HISTORIES = ("mlp", "rnn", "lstm", "gru", "tcn", "causal_transformer")
STEPS = 8


def measure(seconds: float, training: float, seed: int) -> Measured:
    """All figures of `mprl benchmark perception`.

    Args:
        seconds: for each comparison of speed.
        training: of each model, s.
        seed: of the models.
    """
    rows = learned(training, seed)
    figures = [*overhead(seconds), *end_to_end(seconds), *rendering(seconds)]
    columns = ("job", "model", "error of the picture, share", "perplexity", "cart, R²", "pole, R²", "updates")
    return Measured(figures, {"training_s": training, "seed": seed, "features": FEATURES}, Overview(columns, rows))


# --- speed ------------------------------------------------------------------------------------------------------------------


def overhead(seconds: float) -> list[Figure]:
    """The plug in its four uses, beside the bare network with its preprocessing written by hand."""
    shape = (SIZE, SIZE, 3)
    plug = build("cnn", Spec(shape), 512)
    space = gym.spaces.Box(0, 255, shape, np.uint8)
    images = torch.randint(0, 256, (BATCH, *shape), dtype=torch.uint8)
    flat, array, eyes, extractor = images.flatten(1).float(), images.numpy(), Eyes(plug, space), PerceptionExtractor(space, plug)
    network = plug.network

    @torch.no_grad()
    def by_hand() -> Tensor:
        return network((images.float() / 255).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last))

    uses: dict[str, Callable[[], Any]] = {
        "plain torch": lambda: plug(images),
        "wrapper": lambda: look(plug, array),
        "agent": lambda: eyes(flat),
        "Stable-Baselines3": lambda: extractor(images),
    }
    rates = alternate({name: functools.partial(_rate, use) for name, use in {"by hand": by_hand, **uses}.items()}, seconds)
    m = medians(rates)
    against = f"limit the same network, {BATCH} pictures of {SIZE} x {SIZE} x 3, with its preprocessing written by hand"
    return [
        Figure(
            f"plug_{name}", f"the plug in {name}", "pictures/s", BATCH * m[name], limit=BATCH * m["by hand"], against=against,
            target=("ratio_to_limit", 0.95),
        )
        for name in uses
    ]  # fmt: skip


def end_to_end(seconds: float) -> list[Figure]:
    """PPO in CartPole from pixels, NatureCNN and settings alike, with the same pictures."""
    from stable_baselines3 import PPO as TheirPPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

    from mprl.agents import PPO

    envs = pixels(gym.make_vec("CartPole-v1", num_envs=WORLDS, render_mode="rgb_array"), SIZE, grey=True, crop=CROP, stack=STACK)
    eyes = build("cnn", Spec.of(envs.single_observation_space, frozen=False), 512)
    with without_preset(PPO):
        ours = PPO(envs, perception=eyes, hidden=(), learning_rate=3e-4, normalize_observations=False, **LEARNING)
    chunk = WORLDS * LEARNING["n_steps"]

    def theirs(single: Callable[[], Any]) -> Callable[[], Any]:
        peer = TheirPPO("CnnPolicy", VecFrameStack(DummyVecEnv([single] * WORLDS), STACK), learning_rate=3e-4, device="cpu", **LEARNING)
        return lambda: peer.learn(chunk, reset_num_timesteps=False)

    def rate(learn: Callable[[], Any]) -> float:
        began = time.perf_counter()
        learn()
        return chunk / (time.perf_counter() - began)

    ways = {"ours": lambda: ours.learn(chunk), "gymnasium": theirs(_drawn_by_gymnasium), "pictures": theirs(_drawn_by_us)}
    for learn in ways.values():
        learn()  # the first time costs more
    m = medians(rates := alternate({name: functools.partial(rate, learn) for name, learn in ways.items()}, 2 * seconds))
    against = f"peer Stable-Baselines3 on DummyVecEnv, NatureCNN, {WORLDS} worlds;"
    target: Any = ("ratio_to_peer", 1.5)
    return [
        Figure(
            "ppo_pixels", "PPO from pixels, CartPole", "steps/s", m["ours"], m["gymnasium"], target=target, rounds=rates,
            against=f"{against} pictures by Gymnasium's AddRenderObservation, shrunk by Pillow",
        ),
        Figure(
            "ppo_same_pixels", "the same, our pictures for both", "steps/s", m["ours"], m["pictures"],
            against=f"{against} our PixelObservation",
        ),
    ]  # fmt: skip


def _drawn_by_us() -> Any:
    return PixelObservation(gym.make("CartPole-v1", render_mode="rgb_array"), SIZE, grey=True, crop=CROP)


def _drawn_by_gymnasium() -> Any:
    """The same pictures as one gets them without us."""

    def shrunk(frame: Any) -> Any:
        picture = Image.fromarray(frame).crop(CROP).convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)
        return np.asarray(picture)[..., None]

    seen = gym.wrappers.AddRenderObservation(gym.make("CartPole-v1", render_mode="rgb_array"), render_only=True)
    return gym.wrappers.TransformObservation(seen, shrunk, gym.spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8))


def rendering(seconds: float) -> list[Figure]:
    """Pictures of a MuJoCo model, beside MuJoCo's own renderer."""
    env_id, sizes = RENDERED
    env: Any = gym.make(env_id)
    env.reset(seed=0)
    model, data = env.unwrapped.model, env.unwrapped.data
    figures = []
    for size in sizes:
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        model.vis.quality.offsamples = 0
        with CameraRenderer(model, "tracking", size, size) as camera, mujoco.Renderer(model, size, size) as bare:
            bare.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0

            def theirs(bare: Any = bare) -> Any:
                mujoco.mj_kinematics(model, data)
                bare.update_scene(data)
                return bare.render()

            def ours(camera: Any = camera) -> Any:
                return camera.look(data.qpos)

            m = medians(alternate({"ours": functools.partial(_rate, ours), "limit": functools.partial(_rate, theirs)}, seconds))
        figures.append(
            Figure(
                f"render_{size}", f"{env_id}, {size} x {size}", "pictures/s", m["ours"], limit=m["limit"],
                against="limit mujoco.Renderer: kinematics, update_scene and render of the same model, without shadows",
                target=("ratio_to_limit", 0.9),
            )
        )  # fmt: skip
    env.close()
    return figures


def _rate(use: Callable[[], Any], least: float = 0.1) -> float:
    """Calls a second."""
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < least or count == 0:
        use()
        count += 1
    return count / spent


# --- what models learn ------------------------------------------------------------------------------------------------------


def learned(training: float, seed: int) -> list[tuple[str, ...]]:
    """What models come to in the same time, in three jobs."""
    return [*made_again(training, seed), *told(training, seed), *speeds(training, seed)]


def _row(job: str, name: str, r2: Tensor, updates: int, error: float | None = None, perplexity: float | None = None) -> tuple[str, ...]:
    shown = ["–" if value is None else form.format(value) for value, form in ((error, "{:.3f}"), (perplexity, "{:.0f}"))]
    return (job, name, *shown, *(f"{value:.2f}" for value in r2.tolist()), f"{updates:,}" if updates else "–")


def _train(network: Any, inputs: Tensor, states: Tensor, training: float, seed: int) -> int:
    plan = TrainerSettings(epochs=100_000, minutes=training / 60, learning_rate=1e-3, averaging="ema 0.98", seed=seed)
    return Trainer(network, functools.partial(_batches, inputs, states), plan).fit().updates


@functools.cache
def _pictures() -> tuple[Spec, Tensor, Tensor, Tensor, Tensor]:
    """How CartPole's pictures are prepared; some, with standardised position and angle; and others."""
    (pictures, states), (others, truth) = frames(3000, 1), frames(600, 2)
    values = pictures.float()
    spec = Spec(pictures.shape[1:], mean=float(values.mean()), std=float(values.std()))  # type: ignore[arg-type]
    mean, std = states.mean(0), states.std(0)
    return spec, spec.prepare(pictures), (states - mean) / std, spec.prepare(others), (truth - mean) / std


def made_again(training: float, seed: int) -> list[tuple[str, ...]]:
    """Models that learn from pictures: their reconstruction of others, and what a linear map of their features tells."""
    job = "features of pictures"
    spec, inputs, states, held_out, truth = _pictures()
    spread = float((held_out - inputs.mean(0)).square().mean())
    flat, flat_held_out, centre = inputs.flatten(1), held_out.flatten(1), inputs.mean(0).flatten()
    torch.manual_seed(seed)
    basis = torch.svd_lowrank(flat - centre, q=FEATURES, niter=4)[2]
    codes, codes_held_out = (flat - centre) @ basis, (flat_held_out - centre) @ basis
    error = float((codes_held_out @ basis.T + centre - flat_held_out).square().mean()) / spread
    rows = [_row(job, "PCA", linear_probe(codes, states, codes_held_out, truth), 0, error)]
    for name, (kind, settings) in LEARNED.items():
        torch.manual_seed(seed)
        network: Any = models.build(kind, spec.input_shape, FEATURES, **settings)
        updates = 0 if name == "CNN, random weights" else _train(network, inputs, states, training, seed)
        network.eval()
        with torch.no_grad():
            r2 = linear_probe(_all(network, inputs), states, _all(network, held_out), truth)
            again = _all(network.reconstruct, held_out) if hasattr(network, "reconstruct") else None
        lost = None if again is None else float((again - held_out).square().mean()) / spread
        words = network.perplexity(held_out.split(100)) if hasattr(network, "perplexity") else None
        rows.append(_row(job, name, r2, updates, lost, words))
    return rows


class _Told(nn.Module):
    """An encoder with a linear layer on top, taught the state."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(FEATURES, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(inputs))

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        return (self(batch["input"]) - batch["state"]).square().mean(), {}


def told(training: float, seed: int) -> list[tuple[str, ...]]:
    """Encoders that are taught where the cart is and how the pole leans, judged on other pictures."""
    spec, inputs, states, held_out, truth = _pictures()
    rows = []
    for name, (kind, settings) in TAUGHT.items():
        torch.manual_seed(seed)
        network = _Told(models.build(kind, spec.input_shape, FEATURES, **settings))
        updates = _train(network, inputs, states, training, seed)
        rows.append(_row("taught the state", name, _r2(network, held_out, truth), updates))
    return rows


def speeds(training: float, seed: int) -> list[tuple[str, ...]]:
    """Models of histories that are taught CartPole's two speeds, by its last 8 positions and angles with noise on them."""
    inputs, states = positions(6000, seed)
    held_out, truth = positions(1500, seed + 1)
    rows = []
    for name in HISTORIES:
        torch.manual_seed(seed)
        width = {"width": FEATURES} if name == "causal_transformer" else {}
        network: Any = models.build("history_regression", tuple(inputs.shape[1:]), FEATURES, targets=2, history=name, **width)
        updates = _train(network, inputs, states, training / 2, seed)
        rows.append(_row("speeds of noisy positions", name, _r2(network.predict, held_out, truth, network), updates))
    return rows


def positions(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """CartPole under random actions: its last 8 positions and angles, with noise of a tenth of their spread, and its speeds, (N, 2)."""
    envs = gym.make_vec("CartPole-v1", num_envs=64)
    envs.action_space.seed(seed)
    seen = [envs.reset(seed=seed)[0]]
    age = [np.zeros(64, np.int64)]
    while sum(int((steps >= STEPS - 1).sum()) for steps in age) < count:
        observation, _, terminated, truncated, _ = envs.step(envs.action_space.sample())
        seen.append(observation)
        age.append(np.where(age[-1] < 0, 0, age[-1] + 1))
        age[-1][terminated | truncated] = -1  # the next step only resets
    states, ages = torch.from_numpy(np.stack(seen)), np.stack(age)
    states = states / states.flatten(0, 1).std(0)
    noisy = states[..., [0, 2]] + 0.1 * torch.randn(states[..., [0, 2]].shape, generator=torch.Generator().manual_seed(seed))
    ends = [(t, world) for t, world in np.argwhere(ages >= STEPS - 1)][:count]
    return torch.stack([noisy[t - STEPS + 1 : t + 1, w] for t, w in ends]), torch.stack([states[t, w, [1, 3]] for t, w in ends])


@torch.no_grad()
def _r2(predict: Callable[[Tensor], Tensor], inputs: Tensor, truth: Tensor, network: nn.Module | None = None) -> Tensor:
    """Share of the variance that is told, (m,)."""
    model = network if network is not None else predict
    assert isinstance(model, nn.Module)
    model.eval()
    return 1 - (_all(predict, inputs) - truth).square().mean(0) / (truth - truth.mean(0)).square().mean(0)


def frames(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of CartPole in random states, (N, 64, 64, 1) uint8, and position and angle in them, (N, 2)."""
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=seed)
    cart: Any = env.unwrapped
    draw = PygamePictures(Picture.of(SIZE, CROP, True))
    drawn = np.random.default_rng(seed).uniform((-2.0, 0, -0.3, 0), (2.0, 0, 0.3, 0), (count, 4))
    pictures = np.empty((count, SIZE, SIZE, 1), np.uint8)
    for number, state in enumerate(drawn):
        cart.state = state
        pictures[number] = draw(env.render)[0]
    env.close()
    return torch.from_numpy(pictures), torch.from_numpy(drawn[:, [0, 2]]).float()


def _batches(inputs: Tensor, states: Tensor, generator: torch.Generator, size: int = 64) -> Any:
    for rows in torch.randperm(len(inputs), generator=generator).split(size):
        yield {"input": inputs[rows], "state": states[rows], "target": states[rows]}


def _all(make: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    return torch.cat([make(part) for part in inputs.split(100)])
