"""Makes the networks that ship: `python -m mprl.motion.fitting.regression.training [FOLDER]`.

It takes some twenty minutes of one core; `weights/README.md` says what comes out. Nothing but our own clips goes in.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from mprl import files
from mprl.motion.fitting.priors.learn import clip_frames
from mprl.motion.fitting.regression.estimate import WEIGHTS
from mprl.motion.fitting.regression.examples import batches
from mprl.motion.fitting.regression.network import KINDS, Steps
from mprl.perception.trainer import Trainer, TrainerSettings

EPOCHS, BATCHES, SIZE = 20, 250, 256


def train(
    kind: str,
    epochs: int = EPOCHS,
    size: int = SIZE,
    leave_out: Collection[str] = (),
    seed: int = 0,
    progress: bool = False,
    **settings: Any,
) -> Steps:
    """A network that has learned.

    Args:
        kind: one of `KINDS`.
        epochs: of `BATCHES` updates.
        size: of a batch.
        leave_out: clips that it must not know.
        seed: of everything.
        progress: show how it goes.
        settings: of `Steps`.
    """
    torch.manual_seed(seed)
    network = Steps(**{**KINDS[kind], **settings})
    made = batches(clip_frames(leave_out), network.figures, BATCHES, size)
    rule = TrainerSettings(epochs, f"cosine 2e-3 2e-5 {epochs * BATCHES}", averaging="ema 0.995", seed=seed)
    Trainer(network, made, rule, progress=progress).fit()
    return network


def write(network: Steps, path: Path) -> None:
    """The weights in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.half() for key, value in network.state_dict().items()}
    files.write_atomically(path, files.tensor_chunks(state))


def main(folder: Path = WEIGHTS) -> None:
    """Train all and write them."""
    for kind in KINDS:
        write(train(kind, progress=True), folder / f"{kind}.safetensors")
        print(f"wrote {folder / kind}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*(Path(word) for word in sys.argv[1:]))
