"""The examples of docs/perception.md, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "perception.md"


@pytest.mark.skipif(not PAGE.exists(), reason="docs are not installed")
def test_the_examples_run_one_after_the_other():
    pytest.importorskip("pygame")
    plug, *others = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, object] = {}
    exec(compile(plug, PAGE.name, "exec"), found)
    assert found["features"].shape == (4, 16)  # type: ignore[attr-defined]
    assert found["seen"].single_observation_space.shape == (16,)  # type: ignore[attr-defined]
    assert found["agent"].observation_size == 16  # type: ignore[attr-defined]
    assert found["settings"]["normalize_images"] is False  # type: ignore[index]
    for example in others:
        exec(compile(example.replace("num_envs=256", "num_envs=2"), PAGE.name, "exec"), found)
    assert found["agent"].eyes.size == 219 + 32  # type: ignore[attr-defined]
