"""Models of perception beside the simpler ones that they would replace, on held-out data that environments make.

Each figure has the simpler one as its peer. A model has earned its place where it is a twentieth better; less is within what another
seed would change.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.envs.wrappers import Randomisation, cameras
from mprl.perception import models
from mprl.perception.autoencoders import trunks
from mprl.perception.encoders.segmentation import mean_iou
from mprl.perception.probe import linear_probe
from mprl.perception.trainer import Trainer, TrainerSettings
from mprl.perception.training.averages import load_ensemble
from mprl.scripts.benchmarks.perception_learning import (
    FEATURES,
    SHOWN,
    TRUNK,
    lasting,
    pictures,
    positions,
    principal_components,
    r2,
    some,
    through,
    train,
)
from mprl.scripts.benchmarks.perception_pictures import Pages
from mprl.scripts.benchmarks.report import Figure
from mprl.simulation.viewpoints import Tracking

BETTER = 1.05  # than the simpler one
PICTURES = (1500, 300)  # to learn from, and held out
PIXELS = 48
CLASSES = ("sky", "ground", "trunk and head", "right arm", "left arm", "right leg", "left leg")
COLOURS = ((0.75, 0.85, 0.95), (0.85, 0.85, 0.82), (0.2, 0.2, 0.2), (0.9, 0.5, 0.1), (0.2, 0.45, 0.75), (0.75, 0.2, 0.2), (0.25, 0.6, 0.35))
LEGS = ("right_hip", "left_hip", "right_knee", "left_knee")
LONGER = 2  # times as long as others a model of segmentation is trained
NOISE = 0.5  # deviations of the pictures
SEEDS = 3  # of averages
RATE, FEWEST = 1e-3, 20  # learning rate, and updates


def beside(
    key: str, what: str, unit: str, found: Mapping[str, float | Sequence[float]], simpler: Mapping[str, str], less: bool
) -> list[Figure]:
    """Figures of some models, each beside the simpler one.

    Args:
        key, what, unit: of all of them.
        found: by the model's name, one number or one for each seed.
        simpler: by the model's name, the name of the one that it would replace; others are told alone.
        less: is better.
    """
    seeds = {name: [value] if isinstance(value, float) else list(value) for name, value in found.items()}
    m = {name: statistics.median(values) for name, values in seeds.items()}
    return [
        Figure(
            f"{key}_{name}".lower().replace(" ", "_"), f"{what}: {name}", unit, m[name], m.get(simpler.get(name, "")), less_is_better=less,
            against=f"peer {simpler[name]}" if name in simpler else "", target=("ratio_to_peer", BETTER) if name in simpler else None,
            rounds={"ours": values}, spread=True,
        )
        for name, values in seeds.items()
    ]  # fmt: skip


# --- what is where ----------------------------------------------------------------------------------------------------------


def segmentation(training: float, seed: int, pages: Pages) -> list[Figure]:
    """Which limb each pixel of a humanoid's picture belongs to; and what features of it tell of the legs."""
    (seen, target, legs), (others, truth, others_legs) = bodies(PICTURES[0], seed + 1), bodies(PICTURES[1], seed + 2)
    inputs, held_out = (pixels.permute(0, 3, 1, 2).float() / 255 for pixels in (seen, others))
    shape, settings = tuple(inputs.shape[1:]), {"classes": len(CLASSES), "channels": (8, 16, 32), "norm": "none"}
    found: dict[str, Tensor] = {"most frequent class at each place": majority(target).expand_as(truth)}
    told: dict[str, Tensor] = {}
    for name in ("linear map of 9 x 9 pixels", "FCN", "U-Net"):
        torch.manual_seed(seed)
        kind = name.lower().replace("-", "")
        network: Any = Linear(shape[0]) if name.startswith("linear") else models.build(kind, shape, FEATURES, **settings)
        train(network, inputs, target, LONGER * training, seed, learning_rate=3e-3, size=16)
        network.eval()
        found[name] = through(network.logits, held_out).argmax(1)
        if not name.startswith("linear"):
            told[name] = linear_probe(through(network, inputs), legs, through(network, held_out), others_legs)
    encode, _ = principal_components(inputs)
    told = {"PCA": linear_probe(encode(inputs), legs, encode(held_out), others_legs), **told}
    palette = torch.tensor(COLOURS)
    pages["segmentation"] = {"held-out picture": others[:SHOWN].float() / 255, "truth": palette[truth[:SHOWN]]}
    pages["segmentation"] |= {name: palette[classes[:SHOWN]] for name, classes in found.items()}
    iou = {name: float(mean_iou(classes.flatten(), truth.flatten(), len(CLASSES))) for name, classes in found.items()}
    chain = dict(zip(list(iou)[1:], iou, strict=False))
    untold = {name: 1 - float(values.mean()) for name, values in told.items()}
    return [
        *beside("segmentation", "limbs in a picture", "mean IoU", iou, chain, less=False),
        *beside("segmentation_features", "legs from its features", "variance untold", untold, {"FCN": "PCA", "U-Net": "FCN"}, less=True),
    ]


class Linear(nn.Module):
    """Scores of a pixel's class that are linear in the pixels around it."""

    def __init__(self, channels: int, side: int = 9) -> None:
        super().__init__()
        self.logits = nn.Conv2d(channels, len(CLASSES), side, padding=side // 2)

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        return functional.cross_entropy(self.logits(batch["input"]), batch["target"]), {}


def majority(target: Tensor) -> Tensor:
    """The class that each pixel has most often, (H, W) of (N, H, W)."""
    return torch.stack([(target == number).sum(0) for number in range(len(CLASSES))]).argmax(0)


def bodies(count: int, seed: int, worlds: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of a humanoid that walks and stumbles under random actions, in looks, lights and views that differ.

    Returns:
        (N, 48, 48, 3) uint8; the class of each pixel, (N, 48, 48); rotation of hips and knees, (N, 4).
    """
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=min(worlds, count), motion="walk")
    seen = cameras(envs, Tracking(distance=1.9), kinds=("rgb", "segmentation"), size=PIXELS, randomise=Randomisation())
    model, simulation = envs.unwrapped.model, envs.unwrapped.simulation  # type: ignore[attr-defined]
    classes = torch.tensor([0, *(class_of(model.body(number).name) for number in range(model.nbody))])
    # of a ball joint the second part of the quaternion's axis: sideways, about which legs swing
    places = [int(model.joint(name).qposadr[0]) + (2 if name.endswith("hip") else 0) for name in LEGS]
    looks: list[Tensor] = []
    targets: list[Tensor] = []
    legs: list[Tensor] = []
    observation, _ = seen.reset(seed=seed)
    seen.action_space.seed(seed)
    while sum(len(part) for part in looks) < count:
        looks.append(torch.as_tensor(observation["image"]))
        targets.append(classes[torch.as_tensor(observation["segmentation"])[..., 0].long() + 1])
        legs.append(simulation.bind("qpos")[:, places].float())
        observation, *_ = seen.step(seen.action_space.sample())
    seen.close()
    return torch.cat(looks)[:count], torch.cat(targets)[:count], torch.cat(legs)[:count]


def class_of(body: str) -> int:
    """Which of `CLASSES` a body of the humanoid belongs to."""
    side, _, part = body.partition("_")
    if body == "world":
        return CLASSES.index("ground")
    return CLASSES.index(f"{side} {'leg' if part in ('hip', 'knee', 'ankle') else 'arm'}" if part else "trunk and head")


# --- what noise hides -------------------------------------------------------------------------------------------------------


def noise(training: float, seed: int) -> list[Figure]:
    """Clean pictures of noisy ones, and how the pole leans from features of noisy ones."""
    _, inputs, states, held_out, truth = pictures()
    generator = torch.Generator().manual_seed(seed)
    noisy, noisy_held_out = (clean + NOISE * torch.randn(clean.shape, generator=generator) for clean in (inputs, held_out))
    spread = float((held_out - inputs.mean(0)).square().mean())
    encode, decode = principal_components(inputs)
    ways: dict[str, Any] = {"PCA": (encode, lambda images: decode(encode(images)))}
    for name, settings in (("autoencoder", {}), ("denoising autoencoder", {"noise": NOISE, "dropped": 0.0})):
        torch.manual_seed(seed)
        network: Any = models.build(name.replace(" ", "_"), inputs.shape[1:], FEATURES, **TRUNK, **settings)
        train(network, inputs, states, training, seed)
        ways[name] = (network, network.reconstruct)
    error = {name: float((through(make, noisy_held_out) - held_out).square().mean()) / spread for name, (_, make) in ways.items()}
    told = {name: linear_probe(through(see, noisy), states, through(see, noisy_held_out), truth)[1] for name, (see, _) in ways.items()}
    simpler = {"autoencoder": "PCA", "denoising autoencoder": "autoencoder"}
    return [
        *beside("noise", "clean of noisy pictures", "error, share", error, simpler, less=True),
        *beside("noise_features", "pole from features of noisy pictures", "variance untold",
                {name: 1 - float(value) for name, value in told.items()}, simpler, less=True),
    ]  # fmt: skip


# --- pictures of states -----------------------------------------------------------------------------------------------------


def given_states(training: float, seed: int) -> list[Figure]:
    """Pictures of states that no picture was seen of."""
    _, inputs, states, held_out, truth = pictures()
    spread = float((held_out - inputs.mean(0)).square().mean())
    shape, condition = tuple(inputs.shape[1:]), states.shape[1]
    torch.manual_seed(seed)
    decoder = Decoder(shape, condition)
    train(decoder, inputs, states, training, seed)
    torch.manual_seed(seed)
    network: Any = models.build("conditional_vae", shape, FEATURES, **TRUNK, condition_size=condition)
    train(network, inputs, states, training, seed)
    generator = torch.Generator().manual_seed(seed)
    made = {
        "nearest state's picture": inputs[nearest(truth, states)],
        "decoder of the state": through(decoder.decoder, truth),
        "conditional VAE": through(lambda some: network.render(some, generator), truth),
    }
    error = {name: float((found - held_out).square().mean()) / spread for name, found in made.items()}
    return beside("states", "picture of a state", "error, share", error, dict(zip(list(error)[1:], error, strict=False)), less=True)


class Decoder(nn.Module):
    """From a state to its picture, by its squared error: what is left of a conditional VAE without a code."""

    def __init__(self, shape: tuple[int, ...], condition: int) -> None:
        super().__init__()
        self.decoder = trunks.decoder(condition, shape, TRUNK["layers"], "elu")

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        return functional.mse_loss(self.decoder(batch["state"]), batch["input"]), {}


def nearest(states: Tensor, known: Tensor) -> Tensor:
    """Index of the nearest of some known states, (N,) of (N, m) and (K, m)."""
    return torch.cdist(states, known).argmin(1)


# --- averages of weights ----------------------------------------------------------------------------------------------------


def averages(training: float, seed: int) -> list[Figure]:
    """Averages of weights and ensembles of snapshots, beside the last weights, after as many steps on the same data in the same order.

    What is learned are CartPole's speeds from noisy positions, by a perceptron.
    """
    inputs, states = positions(6000, seed)
    held_out, truth = positions(1500, seed + 1)
    errors: dict[str, list[float]] = {}
    for each in range(seed, seed + SEEDS):
        torch.manual_seed(each)
        fresh: Any = models.build("history_regression", tuple(inputs.shape[1:]), FEATURES, targets=2, history="mlp")
        last, updates = _run(fresh, each, functools.partial(lasting, training / 3, inputs, states, least=FEWEST), learning_rate=RATE)
        made: dict[str, Any] = {"last weights": last}
        for name, settings in ways_to_average(updates).items():
            made[name], _ = _run(fresh, each, functools.partial(some, updates, inputs, states), **settings)
        for name, model in made.items():
            predict = getattr(model, "predict", model)  # an ensemble is called
            errors.setdefault(name, []).append(1 - float(r2(predict, held_out, truth, model).mean()))
    simpler = {"EMA": "last weights", "SWA": "last weights", "cosine to 0": "last weights"}
    simpler |= {"snapshots": "cosine to 0", "fast geometric ensemble": "cosine to 0"}
    return beside("averages", "speeds of noisy positions", "variance untold", errors, simpler, less=True)


def _run(fresh: nn.Module, seed: int, batches: Any, **settings: Any) -> tuple[nn.Module, int]:
    """What the trainer makes of a network, or the ensemble of its snapshots; and how many updates that were."""
    network, plan = deepcopy(fresh), TrainerSettings(epochs=1, seed=seed, **settings)
    with tempfile.TemporaryDirectory() as folder:
        updates = Trainer(network, batches, plan, folder=folder if plan.snapshots else None).fit().updates
        return load_ensemble(network, folder, "predict") if plan.snapshots else network, updates


def ways_to_average(updates: int) -> dict[str, dict[str, Any]]:
    """Settings of the trainer for a run of so many updates; of ensembles, five snapshots."""
    fifth, tenth = updates // 5, updates // 10
    return {
        "EMA": {"learning_rate": RATE, "averaging": "ema 0.995 corrected"},
        "SWA": {"learning_rate": RATE, "averaging": f"swa {updates // 2}"},
        "cosine to 0": {"learning_rate": f"cosine {RATE} 0 {updates}"},
        "snapshots": {"learning_rate": f"restarts {RATE} 1e-5 {fifth}", "snapshots": True},
        "fast geometric ensemble": {
            "learning_rate": f"constant {RATE} {RATE} {updates - 5 * tenth} then triangle {RATE} 1e-4 {tenth}",
            "snapshots": True,
        },
    }
