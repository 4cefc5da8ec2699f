"""A network that looks at each picture of a stack: the features of single pictures, side by side, saved and loaded with its own name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mprl.errors import PerceptionError, SettingError
from mprl.perception import models
from mprl.perception.each import each_picture
from mprl.perception.plug import Perception, build
from mprl.perception.spec import Spec

SPEC = Spec((36, 36, 3), mean=(10.0, 20.0, 30.0), std=(50.0, 60.0, 70.0))


@pytest.fixture(scope="module")
def single() -> Perception:
    return build("cnn", SPEC, 5, source={"stack": 1, "size": 36})


def test_features_are_those_of_each_picture_oldest_first(single):
    three = torch.randint(256, (2, 36, 36, 9), dtype=torch.uint8)
    stacked = each_picture(single, 3)
    assert stacked.spec.shape == (36, 36, 9) and stacked.features == 15 and stacked.source == {"stack": 3, "size": 36}
    expected = torch.cat([single(three[..., 3 * at : 3 * at + 3]) for at in range(3)], dim=1)
    torch.testing.assert_close(stacked(three), expected, rtol=0, atol=1e-6)


def test_it_shares_the_weights_and_keeps_them_frozen(single):
    stacked = each_picture(single, 2)
    assert list(map(id, stacked.parameters())) == list(map(id, single.parameters()))
    assert not any(parameter.requires_grad for parameter in stacked.parameters()) and not stacked.train().training


def test_it_is_saved_and_loaded(single, tmp_path):
    stacked = each_picture(single, 2)
    stacked.save(tmp_path)
    pictures = torch.randint(256, (3, 36, 36, 6), dtype=torch.uint8)
    assert torch.equal(Perception.load(tmp_path)(pictures), stacked(pictures))
    assert models.recipe(stacked.network)["network"]["name"] == "cnn"


def test_what_cannot_be_is_one_line(single):
    with pytest.raises(PerceptionError, match=r"^a stack is of pictures, the perception model reads \(4,\)$"):
        each_picture(build("mlp", Spec((4,), "float32"), 2), 2)
    with pytest.raises(PerceptionError, match=r"^Sequential is none of our networks"):
        each_picture(Perception(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), Spec((4, 4, 3))), 2)
    with pytest.raises(SettingError, match=r"^2 pictures make a shape \(6, 36, 36\) and 10 features, found"):
        models.build("each_picture", (9, 36, 36), 10, network=models.recipe(single.network), pictures=2)
    with pytest.raises(SettingError, match="pictures"):
        each_picture(single, 0)
