"""Every model of perception, by its name: what all of them promise."""

from __future__ import annotations

import json

import pytest
import torch

from mprl.errors import SettingError, UnknownNameError
from mprl.perception import models

IMAGE, HISTORY = (3, 40, 40), (12, 5)
SHAPES = dict.fromkeys(models.NAMES, IMAGE)
SHAPES |= dict.fromkeys(("rnn", "lstm", "gru", "tcn", "causal_transformer", "history_regression"), HISTORY)


SIZES = dict.fromkeys(models.NAMES, 16) | {"vq_vae": 50}  # 5 x 5 cells of 2 numbers
SIZES |= dict.fromkeys(("pose_regression", "cpm", "paf", "vitpose"), 51)  # 17 keypoints


def made(name):
    torch.manual_seed(0)
    return models.build(name, SHAPES[name], SIZES[name]).eval()


@pytest.mark.parametrize("name", models.NAMES)
def test_a_model_is_rebuilt_from_its_recipe_by_way_of_json(name):
    network = made(name)
    again = models.build(**json.loads(json.dumps(models.recipe(network)))).eval()
    again.load_state_dict(network.state_dict())
    inputs = torch.rand(3, *SHAPES[name])
    found = network(inputs)
    assert (
        found.shape == (3, SIZES[name])
        and found.dtype == torch.float32
        and (network.shape, network.features) == (SHAPES[name], SIZES[name])
    )
    assert torch.equal(found, again(inputs)) and models.name_of(network) == name


@pytest.mark.parametrize("name", models.NAMES)
def test_in_eval_mode_what_is_beside_it_in_the_batch_changes_nothing(name):
    network = made(name)
    inputs = torch.rand(4, *SHAPES[name])
    # heatmaps that have learned nothing are so flat that the last bit of a sum moves their peaks by some 1e-5
    assert torch.allclose(network(inputs)[1:2], network(inputs[1:2]), atol=1e-4)


def test_what_is_unknown_is_one_line():
    with pytest.raises(UnknownNameError, match="no perception model named 'resent'; did you mean 'resnet'"):
        models.kind("resent")
    with pytest.raises(SettingError, match="cnn has no setting 'chanels'; did you mean 'channels'"):
        models.build("cnn", IMAGE, 16, chanels=(1,))
