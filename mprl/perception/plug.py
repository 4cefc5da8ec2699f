"""A perception model as a plug: one network with its preprocessing, and the same weights wherever it is used.

    model = Perception(network, Spec((64, 64, 3), key="image"))
    model(images)                              # plain torch: bytes (B, 64, 64, 3) -> features (B, n)
    perceive(env, model)                       # a Gymnasium environment, single or vector, whose observations are features
    PPO(env, perception=model)                 # inside an agent, learning along unless frozen
    sb3_policy_kwargs(model)                   # inside an agent of Stable-Baselines3

Any `nn.Module` from (B, *input_shape) to (B, n) fits: nothing is inherited. `save` and `load` know ours by name; a network of your own
is given to `load` again, because no file of ours can name code to run.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from mprl import files
from mprl.errors import CheckpointError, PerceptionError
from mprl.perception import models
from mprl.perception.network import Network
from mprl.perception.spec import Spec

CONFIG, WEIGHTS = "perception.json", "perception.safetensors"


class Perception(nn.Module):
    """A network and what it reads. Called with observations (B, *spec.shape) as the environment gives them, it returns (B, features).

    Args:
        network: from (B, *spec.input_shape) float32 to (B, features).
        spec: what it reads.
        source: how what it reads comes about, in whatever terms those who make observations keep to JSON; kept, and not looked at.

    Attributes:
        features: numbers in a feature vector.

    Raises:
        PerceptionError: the network does not take such observations, gives no vector, or is to learn along and cannot.
    """

    def __init__(self, network: nn.Module, spec: Spec, source: dict[str, Any] | None = None) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise PerceptionError(f"network must be a torch.nn.Module, found a {type(network).__name__}; build(name, spec) makes ours")
        self.network, self.spec, self.source = network, spec, source
        self.features = _features(network, spec)
        if spec.frozen:
            network.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """As in torch; a frozen model stays in eval mode, whoever asks."""
        return super().train(mode and not self.spec.frozen)

    def forward(self, observation: Tensor) -> Tensor:
        """Features (B, n) of observations (B, *spec.shape) in their own dtype."""
        self.spec.check_batch(observation)
        return self.perceive(observation)

    def perceive(self, observation: Tensor) -> Tensor:
        """The same for numbers whose dtype has been changed on the way, as agents keep bytes in float32."""
        if self.spec.frozen:
            with torch.no_grad():
                return self.network(self.spec.prepare(observation))
        return self.network(self.spec.prepare(observation))

    # --- files --------------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """What `perception.json` holds, and an agent's `config.json` of the model it sees with."""
        recipe = models.recipe(self.network) if isinstance(self.network, Network) else None
        return {"network": recipe, "spec": self.spec.to_json(), "source": self.source}

    def save(self, folder: str | Path) -> Path:
        """Write `perception.json` and `perception.safetensors` into a folder; the weights first, each file whole or not at all."""
        folder = files.as_folder(folder)
        content = {"format": "mprl-perception", "version": files.VERSION, **self.config()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files.write_atomically(folder / WEIGHTS, files.tensor_chunks(self.network.state_dict()))
            files.write_atomically(folder / CONFIG, json.dumps(content, indent=2).encode())
        except OSError as error:
            raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None
        return folder

    @classmethod
    def load(cls, folder: str | Path, network: nn.Module | None = None, frozen: bool | None = None) -> Perception:
        """Read what `save` wrote.

        Args:
            folder: a saved model.
            network: where the saved one was none of ours: one of the same architecture, whose weights are replaced.
            frozen: instead of what was saved.

        Raises:
            CheckpointError: missing, broken, or weights of another architecture.
        """
        folder = files.as_folder(folder)
        if not (folder / CONFIG).is_file():
            raise CheckpointError(f"{folder}: holds no perception model ({CONFIG} is missing); mprl perception train makes one")
        content = files.read_json(folder / CONFIG, "mprl-perception", "a perception model of mprl")
        try:
            model = cls.from_config(content, network, frozen)
        except KeyError as error:
            missing = f"'{error.args[0]}' is missing; is it edited by hand?" if type(error) is KeyError else str(error)
            raise CheckpointError(f"{folder / CONFIG}: {missing}") from None
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder / CONFIG}: {' '.join(str(error).split())[:200]}") from None
        if not (folder / WEIGHTS).is_file():
            raise CheckpointError(f"{folder / WEIGHTS}: no such file; the folder is incomplete")
        weights = files.read_tensors(folder / WEIGHTS, "cpu")
        wrong = _difference(model.network.state_dict(), weights)
        if wrong:
            raise CheckpointError(f"{folder / WEIGHTS}: weights of another architecture: {wrong}")
        model.network.load_state_dict(weights)
        return model

    @classmethod
    def from_config(cls, content: dict[str, Any], network: nn.Module | None = None, frozen: bool | None = None) -> Perception:
        """A model with fresh weights, as `config` describes it."""
        spec = Spec.from_json({**content["spec"], **({} if frozen is None else {"frozen": frozen})})
        if network is None:
            if content["network"] is None:
                raise PerceptionError("its network is not one of ours: give one of the same architecture, network=...")
            network = models.build(**content["network"])
        return cls(network, spec, content.get("source"))


def build(
    name: str, spec: Spec, features: int = 64, source: dict[str, Any] | None = None, seed: int | None = None, **settings: Any
) -> Perception:
    """A perception model with one of our networks (`models.NAMES`) and fresh weights.

    Args:
        name: of the network.
        spec: what it reads.
        features: numbers in a feature vector.
        source: see `Perception`.
        seed: of the weights, torch's own generator left alone; None: they are drawn from that one.
        settings: keyword arguments of the network.
    """
    with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return Perception(models.build(name, spec.input_shape, features, **settings), spec, source)


def check_perception(perception: Any) -> None:
    """Raise a `PerceptionError` unless this is a perception model."""
    if not isinstance(perception, Perception):
        raise PerceptionError(
            f"perception must be a mprl.perception.plug.Perception, found a {type(perception).__name__}; "
            "Perception(module, Spec.of(env.observation_space)) makes one of any module"
        )


def _features(network: nn.Module, spec: Spec) -> int:
    """How many numbers a network gives, found by trying."""
    was, tensor = network.training, next(iter(network.parameters()), torch.empty(0))
    network.eval()
    try:
        with torch.set_grad_enabled(not spec.frozen):
            output = network(torch.zeros(2, *spec.input_shape, device=tensor.device))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        what = " ".join(str(error).split())[:160]
        shape = ", ".join(map(str, ("batch", *spec.input_shape)))
        raise PerceptionError(f"{type(network).__name__} does not take inputs of shape ({shape}): {what}") from None
    finally:
        network.train(was)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 2:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise PerceptionError(f"{type(network).__name__} must give features (batch, n), found {found} for a batch of 2")
    if not spec.frozen and not output.requires_grad and tensor.numel():
        raise PerceptionError(f"no weight behind the features of {type(network).__name__} can learn along: train it before, and freeze it")
    return output.shape[1]


def _difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    for name in [*expected, *found]:
        if name not in found or name not in expected:
            return f"'{name}' is {'missing' if name not in found else 'not in this network'}"
        if expected[name].shape != found[name].shape:
            return f"'{name}' has shape {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
    return ""
