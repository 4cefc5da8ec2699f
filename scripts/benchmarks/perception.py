"""Perception: what a plug costs, PPO from pixels beside Stable-Baselines3, pictures beside MuJoCo's renderer, what models learn."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mprl.agents.eyes import Eyes
from mprl.envs.wrappers import PixelObservation, pixels
from mprl.perception.plug import build
from mprl.perception.sb3 import PerceptionExtractor
from mprl.perception.spec import Spec
from mprl.perception.wrapper import look
from mprl.scripts.benchmarks.deep import without_preset
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.perception_judged import averages, given_states, noise, segmentation
from mprl.scripts.benchmarks.perception_learning import CROP, FEATURES, SIZE, learned
from mprl.scripts.benchmarks.perception_pictures import Pages, draw
from mprl.scripts.benchmarks.report import Figure, Overview, alternate, medians
from mprl.simulation.cameras import CameraRenderer

BATCH, STACK, WORLDS = 64, 2, 8
COLUMNS = ("job", "model", "error of the picture, share", "perplexity", "cart, R²", "pole, R²", "updates")
# PPO's, ours and theirs
LEARNING: dict[str, Any] = {"n_steps": 128, "batch_size": 256, "n_epochs": 4, "gamma": 0.99, "gae_lambda": 0.95}
RENDERED = ("Ant-v5", (64, 128, 256))


def measure(parts: Sequence[str], seconds: float, training: float, seed: int, folder: Path | None) -> Measured:
    """All figures of `mprl benchmark perception`.

    Args:
        parts: some of those of `mprl benchmark perception --parts`.
        seconds: for each comparison of speed.
        training: of each model, s.
        seed: of the models.
        folder: where pictures are drawn by which a person can judge; None: nowhere.
    """
    pages: Pages = {}
    overview = Overview(COLUMNS, learned(training, seed, pages)) if "features" in parts else None
    judges: dict[str, Callable[[], list[Figure]]] = {
        "segmentation": lambda: segmentation(training, seed, pages),
        "noise": lambda: noise(training, seed),
        "states": lambda: given_states(training, seed),
        "averages": lambda: averages(training, seed),
        "speed": lambda: [*overhead(seconds), *end_to_end(seconds), *rendering(seconds)],
    }
    figures = [figure for part, judge in judges.items() if part in parts for figure in judge()]
    if folder is not None:
        draw(pages, folder)
    return Measured(figures, {"training_s": training, "seed": seed, "features": FEATURES}, overview)


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
