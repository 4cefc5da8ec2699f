"""Encoders: each has the outputs, the symmetries and the peers that its source gives it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.encoders.cnn import CNN
from mprl.perception.encoders.resnet import Block, ResNet
from mprl.perception.encoders.segmentation import FCN, UNet, mean_iou
from mprl.perception.encoders.vit import ViT


def images(count=2, shape=(3, 32, 32), seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def test_the_plain_cnn_is_stable_baselines3s_nature_cnn():
    from stable_baselines3.common.torch_layers import NatureCNN

    space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    theirs, ours = NatureCNN(space, 512), CNN((4, 84, 84), 512)
    ours.load_state_dict(theirs.state_dict())  # by the same names
    batch = images(3, (4, 84, 84))
    assert torch.equal(ours(batch), theirs(batch))
    theirs.load_state_dict(ours.state_dict())
    assert ours.map_shape == (64, 7, 7) and ours.receptive_field == 36


def test_a_cnn_sees_as_far_as_it_says():
    network = CNN((1, 40, 40), 4, channels=(4, 4), kernels=(3, 3), strides=(2, 1), dilations=(1, 2), activation="elu")
    assert network.receptive_field == 3 + 2 * 2 * 2
    batch = images(1, (1, 40, 40)).requires_grad_()
    (network.cnn[:-1](batch)[0, :, 0, 0] ** 2).sum().backward()
    rows = batch.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert rows.max() == network.receptive_field - 1


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_a_residual_block_begins_as_its_shortcut(norm):
    block = Block(8, 8, 1, norm)
    if norm == "none":
        nn.init.zeros_(block.second.weight)
        nn.init.zeros_(block.second.bias)
    batch = images(2, (8, 6, 6))
    assert torch.equal(block(batch), batch)  # which is positive, so that the ReLU behind it changes nothing


def test_group_norm_sees_one_picture_at_a_time_and_batch_norm_all():
    batch = images(4)
    for norm, alone in (("group", True), ("batch", False)):
        network = ResNet((3, 32, 32), 8, channels=(8, 8), norm=norm).train()
        assert torch.allclose(network(batch)[:2], network(batch[:2]), atol=1e-5) == alone


def test_average_pooling_forgets_where_and_flattening_does_not():
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 24:40, 16:32] = 1
    moved = picture.roll(16, -1)  # by a whole number of strides, away from the borders
    for pool, same in (("average", True), ("flatten", False)):
        torch.manual_seed(0)
        network = ResNet((1, 64, 64), 8, channels=(8,), norm="none", pool=pool)
        assert torch.allclose(network(picture), network(moved), atol=1e-5) == same


def test_a_vit_does_not_know_an_order_that_no_place_tells_it():
    torch.manual_seed(0)
    network = ViT((3, 32, 32), 16, patch=8, width=32, depth=2)
    batch = images(2)
    patches = batch.unflatten(3, (4, 8)).unflatten(2, (4, 8))  # (B, C, 4, 8, 4, 8)
    order = torch.randperm(4)
    shuffled = patches[:, :, order].flatten(4, 5).flatten(2, 3)
    assert not torch.allclose(network(batch), network(shuffled), atol=1e-5)
    nn.init.zeros_(network.places)
    assert torch.allclose(network(batch), network(shuffled), atol=1e-5)


def test_a_vits_attention_is_what_its_blocks_use():
    network = ViT((3, 32, 32), 16, patch=8, width=32, depth=2)
    found = network.attention(images(2))
    assert found.shape == (2, 2, 4, 17, 17) and torch.allclose(found.sum(-1), torch.ones(()), atol=1e-5)
    assert network.attention_maps(images(2)).shape == (2, 4, 4, 4)
    block, tokens = network.blocks[0], network.tokens(images(2))
    values = block.attention._split(block.attention_norm(tokens))[2]
    by_weights = block.attention.output((found[:, 0] @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(by_weights, block.attention(block.attention_norm(tokens)), atol=1e-5)


def test_attention_is_torchs():
    torch.manual_seed(0)
    block = ViT((3, 8, 8), 16, patch=4, width=16, heads=2, depth=1).blocks[0]
    peer = nn.MultiheadAttention(16, 2, batch_first=True)
    peer.in_proj_weight.data, peer.in_proj_bias.data = block.attention.queries_keys_values.weight, block.attention.queries_keys_values.bias
    peer.out_proj.load_state_dict(block.attention.output.state_dict())
    tokens = torch.randn(2, 5, 16)
    values, weights = peer(tokens, tokens, tokens, average_attn_weights=False)
    assert torch.allclose(block.attention(tokens), values, atol=1e-6)
    assert torch.allclose(block.attention.weights(tokens), weights, atol=1e-6)


@pytest.mark.parametrize("kind", [FCN, UNet])
@pytest.mark.parametrize("size", [(32, 32), (21, 30)])
def test_segmentation_scores_every_pixel_whatever_the_size(kind, size):
    network = kind((3, *size), 16, classes=5, channels=(8, 8, 8))
    batch = images(2, (3, *size))
    assert network.logits(batch).shape == (2, 5, *size) and network(batch).shape == (2, 16)
    assert torch.equal(network(batch), network.maps(batch)[-1].mean((2, 3)))


def test_the_loss_of_scores_that_know_nothing_is_log_classes_and_unknown_pixels_do_not_count():
    network = UNet((1, 16, 16), 8, classes=4, channels=(8,))
    nn.init.zeros_(network.score.weight)
    nn.init.zeros_(network.score.bias)
    target = torch.randint(0, 4, (2, 16, 16))
    target[:, :8] = -1
    loss, _ = network.loss({"input": images(2, (1, 16, 16)), "target": target})
    assert loss.item() == pytest.approx(np.log(4), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FCN, UNet])
def test_segmentation_learns_what_a_threshold_tells(kind):
    torch.manual_seed(0)
    network = kind((1, 16, 16), 8, classes=2, channels=(8, 8), norm="none")  # an absolute value tells
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(25):
        smooth = functional.interpolate(torch.rand(8, 1, 4, 4, generator=generator), 16, mode="bilinear")
        loss, metrics = network.loss({"input": smooth, "target": smooth[:, 0] > 0.5})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert metrics["accuracy"] > 0.85 and metrics["iou"] > 0.7


def test_mean_intersection_over_union_by_hand():
    found, target = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert mean_iou(found, target, 3).item() == pytest.approx((1 / 2 + 2 / 3) / 2)  # the third class is nowhere


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: CNN((84, 84), 8), "takes images"),
        (lambda: CNN((3, 20, 20), 8), "does not fit into"),
        (lambda: CNN((3, 84, 84), 8, channels=(8, 8)), "same number of layers"),
        (lambda: CNN((3, 84, 84), 8, activation="rleu"), "activation must be one of"),
        (lambda: ResNet((3, 32, 32), 8, norm="layer"), "norm must be one of none, batch, group"),
        (lambda: UNet((3, 4, 4), 8), "cannot be halved 3 times"),
        (lambda: ViT((3, 30, 32), 8), "patches of 8"),
        (lambda: ViT((3, 32, 32), 30), "divisible by its heads"),
        (lambda: ViT((3, 32, 32), 0), "at least one feature"),
    ],
)
def test_settings_that_cannot_be_are_one_line(make, part):
    with pytest.raises(SettingError, match=part) as caught:
        make()
    assert "\n" not in str(caught.value)
