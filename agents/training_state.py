"""What learning goes on from, besides the weights: as named tensors and a few numbers, so that no pickle is needed.

The tensors are the optimisers' moments, the random generator, the environment's state, the observation to act on next and the open
episodes; the numbers are step sizes, the time learned for and the number of threads.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mprl.errors import CheckpointError

if TYPE_CHECKING:
    from mprl.agents.agent import Agent

log = logging.getLogger(__name__)

_OPTIMIZER = "optimizer."
_EXTRA = "extra."  # what one kind of agent has besides


def collect(agent: Agent) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and numbers of an agent between two iterations."""
    tensors = _beside_optimizers(agent)
    for name, optimizer in agent._optimizers().items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors |= {f"{_EXTRA}{key}": value for key, value in agent._extra_state().items()}
    numbers = {
        "num_timesteps": agent.num_timesteps,
        "num_envs": agent.num_worlds,
        "device": agent.device.type,
        "seconds": agent.seconds,
        "torch_threads": agent.threads,
        **({} if agent.ranks.size == 1 else {"processes": agent.ranks.size}),
        "learning_rates": {name: [group["lr"] for group in o.param_groups] for name, o in agent._optimizers().items()},
    }
    return tensors, numbers


def of_rank(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of `collect` that each rank has its own of: worlds, episodes and random numbers."""
    return {key: value for key, value in tensors.items() if not key.startswith(_OPTIMIZER)}


def _beside_optimizers(agent: Agent) -> dict[str, Tensor]:
    tensors = {"generator": agent.generator.get_state()}
    tensors |= {f"episodes.{key}": value for key, value in agent.statistics.get_state().items()}
    if agent.observation is not None:
        tensors |= {"observation": torch.as_tensor(agent.observation), **agent.batch.get_state()}
    return tensors


def restore(agent: Agent, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Put an agent with the same settings, weights and a like environment where `collect` found the other one.

    Raises:
        CheckpointError: the state is of another number of worlds, another device, another environment or another network.
    """
    same_ranks = numbers.get("processes", 1) == agent.ranks.size
    try:
        for key, found in (("num_envs", agent.num_worlds), ("device", agent.device.type)):
            if numbers[key] != found and (same_ranks or key != "num_envs"):
                what = f"learning was saved with {key} {numbers[key]}, here it is {found}"
                raise CheckpointError(f"{what}; load with training=False to begin anew from its weights")
        if numbers["num_timesteps"] != agent.num_timesteps:
            raise CheckpointError(f"learning was saved at step {numbers['num_timesteps']}, the weights at {agent.num_timesteps}")
        if numbers["torch_threads"] != agent.threads:
            log.warning(
                "saved with %s threads of torch, here are %s: learning goes on, but not bit for bit (torch.set_num_threads)",
                numbers["torch_threads"], agent.threads,
            )  # fmt: skip
        for name, optimizer in agent._optimizers().items():
            _restore_optimizer(optimizer, f"{_OPTIMIZER}{name}.", tensors, numbers["learning_rates"][name])
        agent.seconds = numbers["seconds"]
        if not same_ranks:
            log.info(
                "Saved by %s process(es), here are %s: episodes begin anew, with other random numbers; all else goes on.",
                numbers.get("processes", 1), agent.ranks.size,
            )  # fmt: skip
            agent.generator.manual_seed(agent._seed_now())
            return
        if "observation" in tensors:
            if not agent.batch.has_state:
                raise CheckpointError("the state of an environment was saved, this one has no set_state(); load with training=False")
            agent.observation = agent.batch.blank()  # so that all is asked for
        _check(_beside_optimizers(agent), {key: value for key, value in tensors.items() if not key.startswith((_OPTIMIZER, _EXTRA))})
        agent.generator.set_state(tensors["generator"])
        agent.statistics.set_state({key: tensors[f"episodes.{key}"].to(agent.device) for key in agent.statistics.get_state()})
        if "observation" in tensors:
            agent.batch.set_state(tensors)
            agent.observation = agent.batch.from_tensor(tensors["observation"])
        agent._restore_extra_state({key.removeprefix(_EXTRA): value for key, value in tensors.items() if key.startswith(_EXTRA)})
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the state of learning cannot be taken up: {' '.join(str(error).split())[:160]}") from None


def _check(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    for key in expected.keys() ^ found.keys():
        raise CheckpointError(f"'{key}' is only in {'the environment or agent' if key in expected else 'what was saved'}: another version?")
    for key, value in expected.items():
        if (value.shape, value.dtype) != (found[key].shape, found[key].dtype):
            shapes = [f"{tuple(tensor.shape)} {tensor.dtype}".replace("torch.", "") for tensor in (value, found[key])]
            raise CheckpointError(f"expected '{key}' of {shapes[0]}, found {shapes[1]}; is it another environment?")


def _restore_optimizer(optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor], rates: list[float]) -> None:
    content = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    content["state"] = {}
    for name, value in tensors.items():
        if not name.startswith(prefix):
            continue
        index, _, key = name.removeprefix(prefix).partition(".")
        if value.shape not in (parameters[int(index)].shape, ()):
            raise ValueError(f"'{name}' has shape {tuple(value.shape)}")
        content["state"].setdefault(int(index), {})[key] = value
    for group, rate in zip(content["param_groups"], rates, strict=True):
        if not (0 <= float(rate) < math.inf):
            raise ValueError(f"a learning rate of {rate}")
        group["lr"] = float(rate)
    optimizer.load_state_dict(content)
