"""Every agent with settings small enough for a test, those included that come later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from mprl.agents.agent import Agent

SMALL = dict(
    n_steps=8, batch_size=16, hidden=(8,), iteration_steps=16, buffer_size=300, learning_starts=16, n_episodes=6, max_steps=40,
    n_epochs=2, target_update_interval=32, train_freq=4, planning_steps=2,
)  # fmt: skip


@pytest.fixture(scope="session")
def small() -> Callable[..., dict[str, Any]]:
    """`small(kind)`: settings of an agent's class with which an iteration takes milliseconds."""

    def settings(kind: type[Agent], **others: Any) -> dict[str, Any]:
        known = {field.name for field in dataclasses.fields(kind.Settings)}
        return {name: value for name, value in SMALL.items() if name in known} | others

    return settings
