"""Gymnasium environments: those of Sutton & Barto's book, and the physically simulated characters. `import mprl` registers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mprl.envs.interop import to_sb3

__all__ = ["to_sb3"]


def __getattr__(name: str) -> Any:
    if name == "to_sb3":  # Stable-Baselines3 is imported only where it is used: it takes a second
        from mprl.envs.interop import to_sb3

        return to_sb3
    raise AttributeError(f"module 'mprl.envs' has no attribute '{name}'")
