"""What perception models learn: features of pictures, the state that they show, speeds from histories; each beside what is simpler."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.envs.wrappers.pygame_pictures import PygamePictures
from mprl.envs.wrappers.resizing import Picture
from mprl.perception import models
from mprl.perception.probe import linear_probe
from mprl.perception.selfsupervised.masked import MaskedAutoEncoder
from mprl.perception.spec import Spec
from mprl.perception.trainer import Trainer, TrainerSettings
from mprl.scripts.benchmarks.perception_pictures import Pages
from mprl.simulation.rendering import prepare_gymnasium

SIZE = 64
CROP = (0, 160, 600, 320)  # CartPole's cart and pole
FEATURES = 32
SHOWN = 6  # pictures of each strip that a person looks at
TRUNK: dict[str, Any] = {"layers": (8, 16, 32, 32)}
_CNN: dict[str, Any] = {"channels": (8, 16, 32, 32), "kernels": (4,) * 4, "strides": (2,) * 4, "paddings": 1, "activation": "elu"}
_VIT: dict[str, Any] = {"depth": 2, "width": 48}
LEARNED: dict[str, tuple[str, dict[str, Any]]] = {
    "CNN, random weights": ("cnn", {**_CNN, "output": "none"}),
    "ViT, random weights": ("vit", _VIT),
    "autoencoder": ("autoencoder", TRUNK),
    "VAE": ("vae", TRUNK),
    "VQ-VAE": ("vq_vae", TRUNK),
    "CURL": ("curl", {**_CNN, "output": "norm"}),
    "masked autoencoder": ("masked_autoencoder", {"depth": 2, "decoder_width": 32}),
    "DINO": ("dino", {**_CNN, "encoder": "cnn", "output": "norm", "momentum": 0.96, "local": 0}),
    "DINO of a ViT": ("dino", {**_VIT, "momentum": 0.96, "local": 0}),
    "image-state pairs (sees the state)": ("image_state", {**_CNN, "output": "none", "state_size": 2}),
}
TAUGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP": ("mlp", {"hidden": (128, 64)}),
    "CNN": ("cnn", {**_CNN, "output": "none"}),
    "ResNet": ("resnet", {"channels": (8, 16, 32)}),
    "ViT": ("vit", _VIT),
}
HISTORIES = ("mlp", "rnn", "lstm", "gru", "tcn", "causal_transformer")
STEPS = 8
Batches = Iterator[dict[str, Tensor]]


def learned(training: float, seed: int, pages: Pages) -> list[tuple[str, ...]]:
    """What models come to in the same time, in three jobs.

    Args:
        training: of each model, s of the processor.
        seed: of the models.
        pages: get what a person can look at.
    """
    return [*made_again(training, seed, pages), *told(training, seed, pages), *speeds(training, seed)]


def _row(job: str, name: str, r2: Tensor, updates: int, error: float | None = None, perplexity: float | None = None) -> tuple[str, ...]:
    shown = ["–" if value is None else form.format(value) for value, form in ((error, "{:.3f}"), (perplexity, "{:.0f}"))]
    return (job, name, *shown, *(f"{value:.2f}" for value in r2.tolist()), f"{updates:,}" if updates else "–")


def train(network: Any, inputs: Tensor, states: Tensor, training: float, seed: int, learning_rate: float = 1e-3, size: int = 64) -> int:
    """Train for so many seconds of the processor, whatever else it has to do; how many updates that were."""
    plan = TrainerSettings(epochs=1, learning_rate=learning_rate, averaging="ema 0.98", seed=seed)
    return Trainer(network, functools.partial(lasting, training, inputs, states, size=size), plan).fit().updates


def lasting(seconds: float, inputs: Tensor, states: Tensor, generator: torch.Generator, size: int = 64, least: int = 1) -> Batches:
    """Batches until so much of the processor's time is spent, and at least so many."""
    began = time.process_time()
    for count, batch in enumerate(endless(inputs, states, generator, size)):
        if count >= least and time.process_time() - began >= seconds:
            return
        yield batch


def some(count: int, inputs: Tensor, states: Tensor, generator: torch.Generator, size: int = 64) -> Batches:
    """So many batches."""
    return itertools.islice(endless(inputs, states, generator, size), count)


def endless(inputs: Tensor, states: Tensor, generator: torch.Generator, size: int = 64) -> Batches:
    """Batches of samples, all of them in one random order after another."""
    while True:
        for rows in torch.randperm(len(inputs), generator=generator).split(size):
            yield {"input": inputs[rows], "state": states[rows], "target": states[rows]}


@functools.cache
def pictures() -> tuple[Spec, Tensor, Tensor, Tensor, Tensor]:
    """How CartPole's pictures are prepared; some, with standardised position and angle; and others."""
    (pictures, states), (others, truth) = frames(3000, 1), frames(600, 2)
    values = pictures.float()
    spec = Spec(pictures.shape[1:], mean=float(values.mean()), std=float(values.std()))  # type: ignore[arg-type]
    mean, std = states.mean(0), states.std(0)
    return spec, spec.prepare(pictures), (states - mean) / std, spec.prepare(others), (truth - mean) / std


def made_again(training: float, seed: int, pages: Pages) -> list[tuple[str, ...]]:
    """Models that learn from pictures: their reconstruction of others, and what a linear map of their features tells."""
    job = "features of pictures"
    spec, inputs, states, held_out, truth = pictures()
    spread = float((held_out - inputs.mean(0)).square().mean())
    encode, decode = principal_components(inputs)
    error = float((decode(encode(held_out)) - held_out).square().mean()) / spread
    rows = [_row(job, "PCA", linear_probe(encode(inputs), states, encode(held_out), truth), 0, error)]
    some = held_out[:SHOWN]
    strips = pages["reconstructions"] = {"held-out picture": drawn(spec, some), "PCA": drawn(spec, decode(encode(some)))}
    looks = pages["attention"] = {"held-out picture": drawn(spec, some)}
    for name, (kind, settings) in LEARNED.items():
        torch.manual_seed(seed)
        network: Any = models.build(kind, spec.input_shape, FEATURES, **settings)
        updates = 0 if name.endswith("random weights") else train(network, inputs, states, training, seed)
        network.eval()
        r2 = linear_probe(through(network, inputs), states, through(network, held_out), truth)
        again = through(network.reconstruct, held_out) if hasattr(network, "reconstruct") else None
        lost = None if again is None else float((again - held_out).square().mean()) / spread
        words = network.perplexity(held_out.split(100)) if hasattr(network, "perplexity") else None
        rows.append(_row(job, name, r2, updates, lost, words))
        if again is not None:
            strips[name] = drawn(spec, again[:SHOWN])
        if isinstance(network, MaskedAutoEncoder):
            grey = (160 - spec.mean[0]) / spec.divisor[0]
            shown, filled = network.filled(some, torch.Generator().manual_seed(seed), grey)
            strips |= {"a quarter of it": drawn(spec, shown), f"{name}, from that": drawn(spec, filled)}
            looks[name] = attended(spec, network.encoder, some)
        if name == "DINO of a ViT":
            looks[name] = attended(spec, network.teacher[0], some)
    return rows


def principal_components(inputs: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """From (N, ...) to as many numbers of each as other models have features, and back, by PCA of these inputs."""
    flat, shape = inputs.flatten(1), inputs.shape[1:]
    centre = flat.mean(0)
    basis = torch.svd_lowrank(flat - centre, q=min(FEATURES, *flat.shape), niter=4)[2]
    return lambda samples: (samples.flatten(1) - centre) @ basis, lambda codes: (codes @ basis.T + centre).unflatten(1, shape)


def drawn(spec: Spec, inputs: Tensor) -> Tensor:
    """Pictures as a network sees them, for a person: (B, H, W, 3) in [0, 1]."""
    values = (inputs.permute(0, 2, 3, 1) * torch.tensor(spec.divisor) + torch.tensor(spec.mean)) / 255
    return values.clamp(0, 1).expand(*values.shape[:-1], 3)


@torch.no_grad()
def attended(spec: Spec, network: Any, inputs: Tensor) -> Tensor:
    """Pictures in which red is where the class token of a ViT's last block looks (mean over heads, relative to the most)."""
    maps = network.attention_maps(inputs).mean(1, keepdim=True)
    share = 0.7 * functional.interpolate(maps / maps.amax((2, 3), keepdim=True), size=inputs.shape[2:]).permute(0, 2, 3, 1)
    return (1 - share) * drawn(spec, inputs) + share * torch.tensor([0.85, 0.1, 0.05])


class _Told(nn.Module):
    """An encoder with a linear layer on top, taught the state."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(FEATURES, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(inputs))

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        return (self(batch["input"]) - batch["state"]).square().mean(), {}


def told(training: float, seed: int, pages: Pages) -> list[tuple[str, ...]]:
    """Encoders that are taught where the cart is and how the pole leans, judged on other pictures."""
    spec, inputs, states, held_out, truth = pictures()
    rows = []
    for name, (kind, settings) in TAUGHT.items():
        torch.manual_seed(seed)
        network = _Told(models.build(kind, spec.input_shape, FEATURES, **settings))
        updates = train(network, inputs, states, training, seed)
        if name == "ViT":
            pages["attention"]["ViT, taught the state"] = attended(spec, network.encoder, held_out[:SHOWN])
        rows.append(_row("taught the state", name, r2(network, held_out, truth), updates))
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
        updates = train(network, inputs, states, training / 2, seed)
        rows.append(_row("speeds of noisy positions", name, r2(network.predict, held_out, truth, network), updates))
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
def r2(predict: Callable[[Tensor], Tensor], inputs: Tensor, truth: Tensor, network: nn.Module | None = None) -> Tensor:
    """Share of the variance that is told, (m,)."""
    model = network if network is not None else predict
    assert isinstance(model, nn.Module)
    model.eval()
    return 1 - (through(predict, inputs) - truth).square().mean(0) / (truth - truth.mean(0)).square().mean(0)


def frames(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of CartPole in random states, (N, 64, 64, 1) uint8, and position and angle in them, (N, 2)."""
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    prepare_gymnasium(env)
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


@torch.no_grad()
def through(make: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """What is made of all inputs, some at a time."""
    return torch.cat([make(part) for part in inputs.split(100)])
