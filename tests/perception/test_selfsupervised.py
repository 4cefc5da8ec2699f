"""Self-supervised learning: losses of known similarities, exact shifts, patches that stay hidden, what keeps DINO from collapse."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.selfsupervised import augmentation, dino
from mprl.perception.selfsupervised.contrastive import Curl, ImageState, clip_loss, follow, found_share, info_nce
from mprl.perception.selfsupervised.dino import DINO
from mprl.perception.selfsupervised.masked import MaskedAutoEncoder


def images(count=4, shape=(3, 16, 16), seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


SMALL = dict(channels=(8, 8), kernels=(4, 4), strides=(2, 2))


def test_info_nce_of_known_similarities():
    for count, scale in ((8, 0.0), (8, 3.0), (5, 20.0)):
        expected = math.log(1 + (count - 1) * math.exp(-scale))  # own pair s, all others 0
        assert info_nce(scale * torch.eye(count)).item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
    skewed = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    rows = (math.log(1 + math.e) + math.log(2)) / 2
    assert info_nce(skewed).item() == pytest.approx(rows)
    assert clip_loss(skewed).item() == pytest.approx((rows + (math.log(2) + math.log(math.e + 1)) / 2) / 2)
    assert found_share(torch.tensor([[2.0, 1.0], [3.0, 0.0]])).item() == 0.5


def test_a_similarity_is_a_cosine_over_the_temperature():
    torch.manual_seed(0)
    network = ImageState((3, 16, 16), 8, state_size=2, **SMALL)
    states = torch.randn(4, 2)
    found = network.similarity(images(), states) * 0.07
    assert found.abs().max() <= 1 + 1e-6
    peer = functional.cosine_similarity(network.project(network(images()))[1], network.state_encoder(states)[2], dim=0)
    assert found[1, 2].item() == pytest.approx(peer.item(), abs=1e-5)
    with torch.no_grad():
        network.log_scale.fill_(99)
    assert network.loss({"input": images(), "state": states})[1]["temperature"].item() == pytest.approx(0.01)  # CLIP's bound


def test_pictures_find_their_states():
    torch.manual_seed(0)
    network = ImageState((1, 16, 16), 16, state_size=1, **SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(40):
        states = torch.rand(16, 1, generator=torch.Generator().manual_seed(step))
        bars = (torch.arange(16) <= 16 * states).float()[:, None, None, :].expand(-1, 1, 16, -1)
        loss, metrics = network.loss({"input": bars, "state": states})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.6 * math.log(16) and metrics["found"] > 0.3  # of neighbours that look the same, one is taken for the other


def test_a_shift_moves_every_pixel_and_repeats_the_border():
    batch = images(3, (2, 6, 7))
    moved = augmentation.shift(batch, torch.tensor([[0, 0], [2, 0], [-1, 3]]))
    assert torch.equal(moved[0], batch[0])
    assert torch.equal(moved[1, :, 2:], batch[1, :, :-2]) and torch.equal(moved[1, :, :2], batch[1, :, :1].expand(-1, 2, -1))
    assert torch.equal(moved[2, :, :-1, 3:], batch[2, :, 1:, :-3]) and torch.equal(moved[2, :, -1], moved[2, :, -2])


def test_a_random_shift_is_a_crop_of_the_padded_picture():  # Kostrikov et al. 2020, as they write it
    batch = images(64, (1, 5, 5))
    found = augmentation.random_shift(batch, 2, torch.Generator().manual_seed(0))
    padded = functional.pad(batch, (2, 2, 2, 2), mode="replicate")
    seen = set()
    for picture, whole in zip(found, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(picture, whole[:, y : y + 5, x : x + 5])]
        assert places
        seen |= set(places)
    assert len(seen) > 15  # of 25, in 64 draws


def test_a_crop_of_the_whole_is_the_picture_and_light_keeps_differences():
    batch = images()
    assert torch.allclose(augmentation.random_crop(batch, 1.0, 1.0), batch, atol=1e-5)
    lit = augmentation.random_light(batch, 0.2, torch.Generator().manual_seed(0))
    scale = (lit - lit.mean((1, 2, 3), keepdim=True)) / (batch - batch.mean((1, 2, 3), keepdim=True))
    assert torch.allclose(scale, scale[:, :1, :1, :1], atol=1e-2) and 0.8 <= scale.min() <= scale.max() <= 1.2
    ramp = torch.linspace(0, 1, 16).expand(8, 1, 16, 16)
    part = augmentation.random_crop(ramp, 0.5, 0.5, torch.Generator().manual_seed(0))
    slope = part[:, 0, 8, 10] - part[:, 0, 8, 5]
    assert torch.allclose(slope, torch.full((8,), 0.5 * 5 / 15), atol=1e-4)  # twice as large


def test_the_copy_follows_and_gets_no_gradient():
    torch.manual_seed(0)
    network = Curl((3, 16, 16), 8, momentum=0.75, **SMALL)
    loss, _ = network.loss({"input": images()}, torch.Generator().manual_seed(0))
    loss.backward()
    assert all(parameter.grad is None for parameter in network.slow.parameters())
    before = network.slow.linear[0].weight.clone()
    with torch.no_grad():
        network.encoder.linear[0].weight += 1
    network.after_step()
    assert torch.allclose(network.slow.linear[0].weight, before + 0.25, atol=1e-6)
    follow(network.slow, network.encoder, 0.0)
    assert torch.equal(network.slow.linear[0].weight, network.encoder.linear[0].weight)


def test_what_cannot_tell_pictures_apart_has_the_loss_of_guessing():
    network = Curl((3, 16, 16), 8, **SMALL)
    torch.nn.init.zeros_(network.bilinear)
    assert network.loss({"input": images(10)}, torch.Generator().manual_seed(0))[0].item() == pytest.approx(math.log(10))


def test_patches_are_cut_and_joined():
    network = MaskedAutoEncoder((3, 16, 24), 8, patch=8)
    batch = images(2, (3, 16, 24))
    patches = network.cut(batch)
    assert patches.shape == (2, 6, 192) and torch.equal(network.join(patches), batch)
    assert torch.equal(patches[0, 4].view(3, 8, 8), batch[0, :, 8:, 8:16])  # row by row


def test_of_hidden_patches_nothing_is_known_and_only_they_count():
    torch.manual_seed(0)
    network = MaskedAutoEncoder((3, 16, 16), 8, patch=4, hidden=0.75).eval()
    order = network.order(2, torch.Generator().manual_seed(0))
    assert network.shown == 4 and torch.equal(order.sort(1).values, torch.arange(16).expand(2, -1))
    batch = images(2)
    patches = network.cut(batch)
    for part, changes in ((order[:, 4:], False), (order[:, :4], True)):
        changed = patches.clone().scatter_(1, part.unsqueeze(-1).expand(-1, -1, 48), 9.0)
        assert torch.equal(network.tell(network.join(changed), order), network.tell(batch, order)) != changes
    loss, _ = network.loss({"input": batch}, torch.Generator().manual_seed(0))
    errors = (network.tell(batch, order) - patches).square().mean(-1)
    assert loss.item() == pytest.approx(sum(errors[n, order[n, 4:]].mean().item() for n in range(2)) / 2, rel=1e-5)


def test_pictures_for_a_person():
    shown = MaskedAutoEncoder((3, 16, 16), 8, patch=4, normalized=True).pictures({"input": images(2)})
    assert shown["reconstruction"].shape == (2, 3, 16, 48) and shown["attention"].shape == (2, 3, 16, 32)
    assert ((shown["reconstruction"][..., 16:32] - 0.5).abs().amax(1) == 0).float().mean() == 0.75  # grey where hidden
    assert "attention" in DINO((3, 16, 16), 8).pictures({"input": images(2)})


def test_the_cross_entropy_of_known_answers():
    logits = torch.randn(5, 7)
    nothing = dino.targets(torch.ones(5, 7), torch.zeros(7), 0.04)  # all the same: uniform
    assert torch.allclose(nothing, torch.full((5, 7), 1 / 7))
    assert dino.cross_entropy(nothing, torch.zeros(5, 7), 0.1).item() == pytest.approx(math.log(7))
    sure = functional.one_hot(logits.argmax(-1), 7).float()
    assert dino.cross_entropy(sure, logits, 0.5).item() == pytest.approx(functional.cross_entropy(logits / 0.5, logits.argmax(-1)).item())


def test_centring_ends_the_reign_of_one_answer_and_sharpening_that_of_none():
    logits = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    logits[:, 3] += 1  # one answer wins everywhere
    one = dino.targets(logits, torch.zeros(8), 0.04)
    centred = dino.targets(logits, logits.mean(0), 0.04)
    assert dino.entropy(one.mean(0)) < 0.01 and dino.entropy(centred.mean(0)) > 0.95 * math.log(8)
    blunt = dino.targets(logits, logits.mean(0), 10.0)
    assert dino.entropy(blunt).mean() > 0.999 * math.log(8) and dino.entropy(centred).mean() < 0.6 * math.log(8)


@pytest.mark.slow
@pytest.mark.parametrize(("centre_momentum", "survives"), [(0.9, True), (1.0, False)])
def test_without_centring_all_pictures_get_one_answer(centre_momentum, survives):
    torch.manual_seed(0)
    settings = dict(encoder="cnn", output="norm", local=0, momentum=0.96, **SMALL)
    network = DINO((1, 16, 16), 16, prototypes=16, centre_momentum=centre_momentum, **settings)
    optimizer = torch.optim.AdamW(network.student.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        rows, columns = torch.randint(0, 4, (2, 32, 1), generator=generator)
        cells = (torch.arange(16) == 4 * rows + columns).float().view(32, 1, 4, 4)
        squares = functional.interpolate(cells, 16)
        loss, metrics = network.loss({"input": squares}, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        network.after_step()
    assert (metrics["marginal_entropy"] > 1.5) == survives


def test_the_teacher_gives_the_features_and_only_the_student_learns():
    network = DINO((3, 16, 16), 8, patch=4)
    loss, _ = network.loss({"input": images()}, torch.Generator().manual_seed(0))
    loss.backward()
    assert all(parameter.grad is None for parameter in network.teacher.parameters())
    assert torch.equal(network(images()), network.teacher[0](images())) and len(network.views(images())) == 4
    assert network.centre.abs().sum() > 0
    centre = network.centre.clone()
    network.eval().loss({"input": images()})
    assert torch.equal(network.centre, centre)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Curl((3, 16, 16), 8, momentum=1.0, **SMALL), "momentum in"),
        (lambda: ImageState((3, 16, 16), 8, state_size=0, **SMALL), "state_size and embedding"),
        (lambda: MaskedAutoEncoder((3, 16, 16), 8, hidden=1.0), "some must be hidden and some shown"),
        (lambda: DINO((3, 16, 16), 8, local_side=0.9), "local_side <= global_side"),
        (lambda: DINO((3, 16, 16), 8, teacher_temperature=0.0), "temperatures must be positive"),
        (lambda: DINO((3, 16, 16), 8, prototypes=1), "at least 2 prototypes"),
    ],
)
def test_settings_that_cannot_be_are_one_line(make, part):
    with pytest.raises(SettingError, match=part):
        make()


def test_what_was_hidden_is_told_and_the_rest_is_kept():
    network = MaskedAutoEncoder((1, 16, 16), 8, patch=4, hidden=0.75)
    shown, filled = network.filled(images(3)[:, :1], torch.Generator().manual_seed(0), blank=-7.0)
    is_hidden = shown == -7.0
    assert is_hidden.float().mean() == 0.75
    assert torch.equal(filled[~is_hidden], images(3)[:, :1][~is_hidden]) and (filled[is_hidden] != -7.0).all()
