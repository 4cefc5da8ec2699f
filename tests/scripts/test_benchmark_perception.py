"""The benchmark of perception: its own yardsticks have known answers, and every part runs, as small as can be."""

from __future__ import annotations

import pytest
import torch

from mprl.nn import schedules
from mprl.perception.spec import Spec
from mprl.scripts.benchmarks import perception_judged as judged
from mprl.scripts.benchmarks import perception_learning as learning
from mprl.scripts.benchmarks import perception_pictures


def test_a_model_is_beside_the_one_that_it_would_replace():
    found = {"simple": 0.2, "better": [0.1, 0.3, 0.19], "A like": 0.198}
    simple, better, alike = judged.beside("key", "what", "error", found, {"better": "simple", "A like": "simple"}, less=True)
    assert (simple.ours, simple.peer, simple.met) == (0.2, None, None)
    assert (better.ours, better.peer, better.against, better.met) == (0.19, 0.2, "peer simple", True)
    assert alike.key == "key_a_like" and alike.met is False  # better by a hundredth


def test_the_most_frequent_class_of_each_place():
    target = torch.tensor([[[0, 1], [6, 2]], [[0, 1], [5, 2]], [[3, 4], [5, 2]]])
    assert judged.majority(target).tolist() == [[0, 1], [5, 2]]


def test_a_humanoids_bodies_are_limbs():
    names = {"world": "ground", "root": "trunk and head", "neck": "trunk and head", "right_wrist": "right arm", "left_shoulder": "left arm"}
    names |= {"right_hip": "right leg", "left_knee": "left leg", "left_ankle": "left leg"}
    assert {name: judged.CLASSES[judged.class_of(name)] for name in names} == names


@pytest.mark.usefixtures("can_render")
def test_each_pixel_of_a_humanoids_picture_has_its_class():
    pictures, classes, legs = judged.bodies(3, seed=0, worlds=2)
    assert pictures.shape == (3, 48, 48, 3) and classes.shape == (3, 48, 48) and legs.shape == (3, 4)
    assert set(classes.unique().tolist()) == set(range(len(judged.CLASSES)))
    sky, ground = ((classes == judged.CLASSES.index(name)).float().mean((0, 2)) for name in ("sky", "ground"))
    assert sky[0] > 0.8 and sky[-1] == 0 and ground[0] == 0 and ground[-1] > 0.5  # rows from above
    blue = pictures.float()[..., 2] - pictures.float()[..., 0]
    assert blue[classes == 0].mean() > blue[classes == 1].mean() + 20
    assert legs[:, :2].abs().max() < 0.6 and legs[:, 2:].max() < 0.2  # a hip's sine of half its angle; knees bend one way


def test_a_linear_map_learns_classes_that_colours_tell():
    images = torch.rand(20, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    target = (images[:, 0] > images[:, 1]).long()
    torch.manual_seed(0)
    network = judged.Linear(2, side=3)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(150):
        optimizer.zero_grad()
        network.loss({"input": images, "target": target})[0].backward()
        optimizer.step()
    assert (network.logits(images).argmax(1) == target).float().mean() > 0.97


def test_principal_components_make_again_what_has_few():
    samples = torch.randn(50, 2) @ torch.randn(2, 3 * 4) + 5.0
    encode, decode = learning.principal_components(samples.view(50, 1, 3, 4))
    assert torch.allclose(decode(encode(samples)), samples.view(50, 1, 3, 4), atol=1e-3)


def test_the_nearest_state():
    known = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    assert judged.nearest(torch.tensor([[0.9, 0.3], [0.0, 1.1], [-1.0, 0.0]]), known).tolist() == [1, 2, 0]


def test_a_picture_is_drawn_as_it_was_seen():
    pictures = torch.randint(0, 256, (3, 5, 4, 1), dtype=torch.uint8)
    spec = Spec((5, 4, 1), mean=(200.0,), std=(31.0,))
    shown = learning.drawn(spec, spec.prepare(pictures))
    assert torch.allclose(shown * 255, pictures.expand(3, 5, 4, 3).float(), atol=1e-3)


def test_strips_are_joined_with_a_gap():
    black = torch.zeros(4, 4, 3)
    found = perception_pictures.joined([black, black], 1)
    assert found.shape == (4, 11, 3) and found[:, :4].max() == found[:, 7:].max() == 0 and (found[:, 4:7] == 0.75).all()


@pytest.mark.parametrize("updates", [20, 99, 103, 1500])
def test_an_ensemble_has_five_snapshots(updates):
    ways = judged.ways_to_average(updates)
    for name in ("snapshots", "fast geometric ensemble"):
        lowest = [step for step in range(updates) if schedules.is_lowest(ways[name]["learning_rate"], step)]
        assert len(lowest) == 5 and schedules.value(ways[name]["learning_rate"], lowest[-1]) < 0.5 * judged.RATE
    assert schedules.value(ways["cosine to 0"]["learning_rate"], updates) == 0.0


def test_batches_are_all_samples_before_any_comes_again_and_at_least_as_many_as_said():
    samples = torch.arange(10.0)
    found = [batch["input"] for batch in learning.some(6, samples, samples, torch.Generator().manual_seed(0), 4)]
    assert [sorted(torch.cat(found[at : at + 3]).tolist()) for at in (0, 3)] == [list(range(10))] * 2
    assert len(list(learning.lasting(0.0, samples, samples, torch.Generator(), 4, least=7))) == 7


@pytest.fixture
def few_pictures(monkeypatch):
    """60 pictures to learn from, in place of CartPole's; others show what some of these do."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(60, 2, generator=generator)
    inputs = (states @ torch.randn(2, 64 * 64, generator=generator)).view(60, 1, 64, 64)
    found = Spec((64, 64, 1), mean=(128.0,), std=(40.0,)), inputs, states, inputs[:20], states[:20]
    for module in (learning, judged):
        monkeypatch.setattr(module, "pictures", lambda: found)


@pytest.mark.usefixtures("few_pictures")
def test_what_needs_no_learning_is_perfect_on_pictures_that_are_linear_in_the_state():
    found = {figure.what: figure for figure in judged.noise(0.0, 0)}
    share = 2 * judged.NOISE**2 / 64**2 / 2  # of the noise two components are left, of the 4096 numbers' variance of 2
    assert found["clean of noisy pictures: PCA"].ours < 40 * share
    assert found["pole from features of noisy pictures: PCA"].ours < 0.05
    assert found["clean of noisy pictures: denoising autoencoder"].against == "peer autoencoder"
    given = judged.given_states(0.0, 0)
    assert given[0].ours == 0.0 and given[1].met is False and given[2].peer == given[1].ours


@pytest.mark.usefixtures("few_pictures")
@pytest.mark.slow
def test_pictures_for_a_person(tmp_path):
    pages: perception_pictures.Pages = {}
    rows = [*learning.made_again(0.0, 0, pages), *learning.told(0.0, 0, pages)]
    assert len(rows) == 1 + len(learning.LEARNED) + len(learning.TAUGHT)
    assert list(pages["attention"]) == ["held-out picture", "masked autoencoder", "DINO of a ViT", "ViT, taught the state"]
    assert {"held-out picture", "PCA", "autoencoder", "VAE", "VQ-VAE", "a quarter of it"} < set(pages["reconstructions"])
    for strips in pages.values():
        assert {tuple(strip.shape) for strip in strips.values()} == {(learning.SHOWN, 64, 64, 3)}
    written = perception_pictures.draw(pages, tmp_path)
    assert [path.name for path in written] == ["perception-reconstructions.png", "perception-attention.png"]


@pytest.mark.slow
def test_averages_of_weights_are_judged_on_one_run(monkeypatch):
    monkeypatch.setattr(judged, "SEEDS", 1)
    last, *others = judged.averages(0.0, 0)
    assert [figure.against for figure in others] == ["peer last weights"] * 3 + ["peer cosine to 0"] * 2
    assert others[1].peer == last.ours != others[1].ours  # the mean of ten weights is not the last one's


def test_the_table_is_written_as_a_whole(mprl):
    done = mprl("benchmark", "perception", "--parts", "noise", "--write")
    assert done.mistake == "--write replaces the whole table: leave out --parts, or --write"
