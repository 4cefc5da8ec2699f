"""Makes the network and the pose prior that ship: `python -m mprl.motion.fitting.imu.training [FOLDER]`.

It takes some ten minutes of one core; `weights/README.md` says what comes out. Nothing but our own clips goes in.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from mprl import files
from mprl.motion.body.joints import rotations_to_pose
from mprl.motion.body.smpl import SmplBody
from mprl.motion.fitting.imu import corpus as motions
from mprl.motion.fitting.imu.network import ImuNetwork
from mprl.perception.trainer import Trainer, TrainerSettings

WEIGHTS = Path(__file__).with_name("weights")
EPOCHS, BATCHES, SIZE, FRAMES = 14, 50, 96, 64
_LEAST = 0.05  # rad: standard deviation of joints that our clips do not turn


def prior(corpus: motions.Corpus, pieces: int = 4096, seed: int = 0) -> dict[str, Tensor]:
    """Mean (69,) and covariance (69, 69) of varied poses: rotation vectors of SMPL's 23 joints in its frame, rad."""
    rotations, _ = motions.motions(corpus, pieces, 2, torch.Generator().manual_seed(seed))
    vectors = rotations_to_pose(rotations[:, 0, 1:]).flatten(1).double()
    covariance = torch.cov(vectors.T) + _LEAST**2 * torch.eye(vectors.shape[1], dtype=torch.float64)
    return {"mean": vectors.mean(dim=0).float(), "covariance": covariance.float()}


def train(
    corpus: motions.Corpus, causal: bool = False, epochs: int = EPOCHS, batches: int = BATCHES, hidden: int = 64, seed: int = 0
) -> ImuNetwork:
    """A network that has learned from the corpus.

    Args:
        corpus: what from.
        causal: for use step by step.
        epochs, batches: how long; `batches` updates an epoch.
        hidden: see `ImuNetwork`.
        seed: of everything.
    """
    torch.manual_seed(seed)
    network = ImuNetwork(hidden=hidden, causal=causal)
    made = motions.batches(corpus, batches, SIZE, FRAMES, SmplBody.default())
    settings = TrainerSettings(epochs, f"cosine 4e-3 4e-5 {epochs * batches}", averaging="ema 0.99", seed=seed)
    Trainer(network, made, settings, progress=True).fit()
    return network


def main(folder: Path = WEIGHTS) -> None:
    """Train both networks, and write them and the prior."""
    corpus = motions.Corpus.of(motions.shipped())
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomically(folder / "prior.safetensors", files.tensor_chunks(prior(corpus)))
    for name, causal in (("network", False), ("causal", True)):
        network = train(corpus, causal, EPOCHS // 2 if causal else EPOCHS)
        state = {key: value.half() for key, value in network.state_dict().items()}
        files.write_atomically(folder / f"{name}.safetensors", files.tensor_chunks(state))
        print(f"wrote {folder / name}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*(Path(word) for word in sys.argv[1:]))
