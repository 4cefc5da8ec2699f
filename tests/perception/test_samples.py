"""Recorded observations as what a model trains on, and what a linear map tells of the state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprl.errors import DatasetError, UnknownNameError
from mprl.perception.datasets import Dataset, DatasetWriter
from mprl.perception.probe import linear_probe
from mprl.perception.samples import Samples
from mprl.perception.spec import Spec

SPEC = Spec((4, 4, 1))


@pytest.fixture(params=[(), (2,)], ids=["number", "vector"])
def dataset(request, tmp_path) -> Dataset:
    random, shape = np.random.default_rng(0), request.param
    with DatasetWriter(tmp_path / "data", {"image": ("uint8", (4, 4, 1)), "state": ("int64", shape)}) as writer:
        writer.add({"image": random.integers(0, 256, (50, 4, 4, 1), np.uint8), "state": random.integers(3, 9, (50, *shape))})
    return Dataset(tmp_path / "data")


def test_pictures_are_preprocessed_and_states_standardised(dataset):
    batch = next(Samples(dataset, SPEC, 50, state="state").with_statistics().batches())
    raw = next(dataset.batches(50))
    torch.testing.assert_close(batch["input"], raw["image"].permute(0, 3, 1, 2) / 255)
    states = raw["state"].float().view(50, -1)
    torch.testing.assert_close(batch["state"], (states - states.mean(0)) / states.std(0))


def test_what_a_model_does_not_read_is_one_line(dataset):
    with pytest.raises(DatasetError, match=r"'image' is uint8 \(4, 4, 1\), the perception model reads uint8 \(4, 4, 2\)$"):
        Samples(dataset, Spec((4, 4, 2)))
    with pytest.raises(DatasetError, match=r"'image' is uint8 \(4, 4, 1\), the perception model reads float32 \(4, 4, 1\)$"):
        Samples(dataset, Spec((4, 4, 1), "float32"))
    for column, state in (("imag", None), ("image", "stat")):
        with pytest.raises(
            UnknownNameError, match=r"^no column named '(imag|stat)'; did you mean '(image|state)'\? \(of .*: image, state\)$"
        ):
            Samples(dataset, SPEC, column=column, state=state)


def test_a_probe_tells_what_depends_linearly_on_features_and_nothing_of_what_does_not():
    features, noise = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).split((2, 1), 1)
    state = torch.cat((features @ torch.tensor([[1.0], [-2.0]]), features[:, :1] + noise, noise), 1)
    state = torch.cat((state, features[:, :1].clone()), 1)
    state[2000:, 3] = 0.1  # never changes where it is judged: there is nothing to tell
    told = linear_probe(features[:2000], state[:2000], features[2000:], state[2000:])
    torch.testing.assert_close(told, torch.tensor([1.0, 0.5, 0.0, torch.nan], dtype=torch.float64), atol=0.05, rtol=0, equal_nan=True)
