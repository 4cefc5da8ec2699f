"""The trainer: its steps are AdamW's, a run that was killed goes on bit for bit, averages and ensembles are what their sources say."""

from __future__ import annotations

import copy
import csv
import math

import pytest
import torch
from torch import nn

from mprl.errors import CheckpointError, DivergenceError, SettingError
from mprl.perception.autoencoders.autoencoder import AutoEncoder
from mprl.perception.autoencoders.vae import VAE
from mprl.perception.autoencoders.vq_vae import VQVAE
from mprl.perception.trainer import Trainer, TrainerSettings, evaluate
from mprl.perception.training.averages import Ensemble, load_ensemble, recompute_batch_norm, snapshots


class Line(nn.Module):
    """y = w x + b, with dropout and batch normalisation where asked for."""

    def __init__(self, dropout=0.0, batch_norm=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(1) if batch_norm else nn.Identity()
        self.layer = nn.Linear(1, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs):
        return self.layer(self.dropout(self.norm(inputs)))

    def loss(self, batch, generator=None):
        error = (self(batch["input"]) - batch["target"]).square().mean()
        return error, {"mae": error.detach().sqrt()}


class Points:
    """Noisy points of a line, in an order of the generator's."""

    def __init__(self, count=64, size=16, slope=2.0):
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(count, 1, generator=generator)
        self.target = slope * self.inputs + 1 + 0.1 * torch.randn(count, 1, generator=generator)
        self.size = size

    def batches(self, generator):
        for indices in torch.randperm(len(self.inputs), generator=generator).split(self.size):
            yield {"input": self.inputs[indices], "target": self.target[indices]}


class Killed(Exception):
    pass


def line(**settings):
    torch.manual_seed(0)
    return Line(**settings)


def weights(network):
    return torch.cat([value.detach().flatten().double() for value in network.state_dict().values()])


def test_a_step_is_adamws_with_the_gradients_norm_clipped():
    network, peer = line(), line()
    batch = {"input": torch.randn(8, 1), "target": 100 * torch.randn(8, 1)}
    Trainer(network, [batch] * 5, TrainerSettings(epochs=1, learning_rate="linear 0.1 0 10", weight_decay=0.3, max_gradient_norm=0.5)).fit()
    groups = [{"params": [peer.layer.weight], "weight_decay": 0.3}, {"params": [peer.layer.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups)
    for step in range(5):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / 10)
        optimizer.zero_grad()
        peer.loss(batch)[0].backward()
        norm = torch.sqrt(peer.layer.weight.grad.square().sum() + peer.layer.bias.grad.square().sum())
        assert norm > 0.5
        for parameter in peer.parameters():
            parameter.grad *= 0.5 / norm
        optimizer.step()
    assert torch.allclose(weights(network), weights(peer), atol=1e-5)


def test_it_finds_the_least_squares_line():
    points = Points()
    network = line()
    result = Trainer(network, points, TrainerSettings(epochs=40, learning_rate="cosine 0.1 0 160", weight_decay=0.0)).fit()
    design = torch.cat([points.inputs, torch.ones_like(points.inputs)], 1)
    best = torch.linalg.lstsq(design, points.target).solution.flatten()
    assert torch.allclose(torch.stack([network.layer.weight.squeeze(), network.layer.bias.squeeze()]), best, atol=2e-3)
    assert result.updates == 160 and len(result.history) == 40 and result.history[-1]["learning_rate"] < 1e-3


def test_a_learning_rate_may_follow_something_else_than_updates():
    at = iter((0.0, 0.5, 1.0))
    settings = TrainerSettings(epochs=1, learning_rate="linear 1 0 1", max_gradient_norm=0)
    trainer = Trainer(line(), Points(48), settings, steps=lambda _: next(at))
    trainer.fit()
    assert trainer.at.history[-1]["learning_rate"] == pytest.approx(0.5)  # the mean of 1, .5 and 0


def image_batches(generator):
    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    for indices in torch.randperm(12, generator=generator).split(4):
        yield {"input": images[indices]}


RUNS = {
    "dropout, batch norm, ema": (
        lambda: line(dropout=0.3, batch_norm=True), Points(), dict(averaging="ema 0.9"), Points(32, slope=2.1)
    ),
    "vae, swa of cycles": (
        lambda: VAE((1, 8, 8), 2, layers=(4,)), image_batches, dict(averaging="swa 4", learning_rate="restarts 1e-2 0 3"), None
    ),
    "vq_vae": (lambda: VQVAE((1, 8, 8), 16, layers=(4,), codes=8), image_batches, dict(learning_rate="step 1e-2 0.5 4"), image_batches),
    "batches in a list": (lambda: line(), list(Points().batches(torch.Generator().manual_seed(0))), dict(patience=2), Points(32)),
}  # fmt: skip


QUICK = {("dropout, batch norm, ema", 7), ("vae, swa of cycles", 8), ("batches in a list", 8)}  # amid an epoch, and behind its last step
CASES = [
    pytest.param(name, at, id=f"{name}, {at}", marks=() if (name, at) in QUICK else pytest.mark.slow) for name in RUNS for at in (7, 8, 11)
]


@pytest.mark.parametrize(("name", "killed_at"), CASES)
def test_a_run_that_was_killed_goes_on_bit_for_bit(tmp_path, name, killed_at):
    make, batches, settings, validation = RUNS[name]
    settings = TrainerSettings(**({"learning_rate": 1e-2} | settings), epochs=4, checkpoint_every=2, pictures_every=9)

    def trainer(folder):
        torch.manual_seed(3)
        return Trainer(make(), batches, settings, validation, tmp_path / folder)

    whole = trainer("whole")
    expected = whole.fit()

    killed = trainer("killed")
    update = killed._update

    def until(batch):
        if killed.at.updates == killed_at:
            raise Killed
        return update(batch)

    killed._update = until
    with pytest.raises(Killed):
        killed.fit()
    torch.rand(5)  # whatever else happens to the program's own generator
    resumed = trainer("killed")
    result = resumed.fit(resume=True)
    assert torch.equal(weights(resumed.network), weights(whole.network))
    rows = [[{key: value for key, value in row.items() if key != "time_seconds"} for row in found.history] for found in (result, expected)]
    assert rows[0] == rows[1] and (result.best, result.best_epoch) == (expected.best, expected.best_epoch)
    for key, value in resumed.optimizer.state_dict()["state"].items():
        assert torch.equal(value["exp_avg"], whole.optimizer.state_dict()["state"][key]["exp_avg"])


def test_the_programs_own_random_numbers_are_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    network = line(dropout=0.5)
    torch.manual_seed(1)
    Trainer(network, Points(), TrainerSettings(epochs=1)).fit()
    assert torch.equal(torch.rand(3), expected)


def test_it_ends_when_nothing_gets_better_and_keeps_the_best():
    network, validation = line(), list(Points(32).batches(torch.Generator()))
    with torch.no_grad():
        network.layer.weight.fill_(2)
        network.layer.bias.fill_(1)
    away = [{"input": torch.randn(8, 1), "target": torch.full((8, 1), 50.0)}]  # each epoch leads further from the truth
    result = Trainer(network, away * 3, TrainerSettings(epochs=50, learning_rate=0.1, patience=4), validation).fit()
    assert result.stopped_early and result.epochs == 5 and result.best_epoch == 0
    assert evaluate(network, validation)["loss"] == pytest.approx(result.best, rel=1e-6)
    assert [row["validation_loss"] for row in result.history] == sorted(row["validation_loss"] for row in result.history)


def test_swa_is_the_mean_of_the_weights_at_the_lowest_points_of_the_cycles():  # Izmailov et al. 2018
    network, seen = line(), []
    network.after_step = lambda: seen.append(copy.deepcopy(network.layer.state_dict()))
    trainer = Trainer(network, Points(), TrainerSettings(epochs=5, learning_rate="restarts 0.1 0.01 3", averaging="swa 6"))
    trainer.fit()
    lows = [seen[at] for at in (8, 11, 14, 17)]  # the updates before the restarts, from update 6 on
    for key in ("weight", "bias"):
        assert torch.allclose(network.layer.state_dict()[key], torch.stack([low[key] for low in lows]).mean(0), atol=1e-6)


def test_ema_follows_its_recursion():
    network, seen = line(), [line().layer.weight.detach().clone()]
    network.after_step = lambda: seen.append(network.layer.weight.detach().clone())
    Trainer(network, Points(), TrainerSettings(epochs=2, learning_rate=0.1, averaging="ema 0.8")).fit()
    expected = seen[0]
    for value in seen[1:]:
        expected = 0.8 * expected + 0.2 * value
    assert torch.allclose(network.layer.weight, expected, atol=1e-6)


def test_batch_norm_of_averaged_weights_has_the_datas_statistics():
    network, points = line(batch_norm=True), Points(64, 16)
    network.norm.running_mean.fill_(9)
    recompute_batch_norm(network, points.batches(torch.Generator()))
    assert torch.allclose(network.norm.running_mean, points.inputs.mean(), atol=1e-6)
    variances = [batch["input"].var() for batch in points.batches(torch.Generator())]
    assert torch.allclose(network.norm.running_var, torch.stack(variances).mean(), atol=1e-6)
    assert network.norm.momentum == 0.1 and network.training


def test_validating_averaged_weights_leaves_the_learning_ones_statistics_alone():
    statistics = []
    for validation in (None, Points(32)):
        network = line(batch_norm=True)
        trainer = Trainer(network, Points(), TrainerSettings(epochs=3, learning_rate=1e-2, averaging="ema 0.9"), validation)
        trainer._take_final_weights = lambda: None
        trainer.fit()
        statistics.append(network.norm.running_mean.clone())
    assert torch.equal(*statistics)


def test_snapshots_are_the_weights_at_the_lowest_points_and_their_ensemble_is_the_mean(tmp_path):
    network, seen = line(), []
    network.after_step = lambda: seen.append(copy.deepcopy(network.layer.state_dict()))
    settings = TrainerSettings(epochs=3, learning_rate="constant 0.1 0.1 4 then triangle 0.1 0.01 4", snapshots=True)
    Trainer(network, Points(), settings, folder=tmp_path).fit()
    assert [path.stem for path in snapshots(tmp_path)] == ["update_000000007", "update_000000011"]
    ensemble = load_ensemble(network, tmp_path)
    inputs = torch.randn(5, 1)
    each = [inputs * seen[at]["weight"] + seen[at]["bias"] for at in (6, 10)]
    assert torch.allclose(ensemble(inputs), (each[0] + each[1]) / 2, atol=1e-6)
    assert torch.allclose(load_ensemble(network, tmp_path, last=1)(inputs), each[1], atol=1e-6)
    with pytest.raises(CheckpointError, match="another architecture"):
        load_ensemble(nn.Linear(2, 1), tmp_path)
    assert Ensemble([nn.Identity()])(inputs).equal(inputs)


def test_metrics_and_pictures_are_written(tmp_path):
    network = AutoEncoder((1, 8, 8), 2, layers=(4,))
    Trainer(network, image_batches, TrainerSettings(epochs=3), image_batches, tmp_path, progress=True).fit()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["0.0", "1.0", "2.0"] and float(rows[-1]["validation_loss"]) > 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path)).Reload()
    assert {"train/loss", "train/gradient_norm", "validation/mse"} <= set(board.Tags()["scalars"])
    assert board.Tags()["images"] == ["reconstruction"]
    assert [event.step for event in board.Scalars("train/loss")] == [3, 6, 9]


def test_evaluation_weighs_batches_by_their_size():
    network, points = line(), Points(20, 16)  # 16 and 4
    batches = list(points.batches(torch.Generator().manual_seed(0)))
    whole = {"input": torch.cat([batch["input"] for batch in batches]), "target": torch.cat([batch["target"] for batch in batches])}
    assert evaluate(network, batches)["loss"] == pytest.approx(network.loss(whole)[0].item(), rel=1e-5)


class NotANumber(Line):
    def loss(self, batch, generator=None):
        return super().loss(batch)[0] * math.nan, {}


def test_mistakes_are_one_line(tmp_path):
    for make, part in [
        (lambda: TrainerSettings(epochs=0), "epochs must be at least 1"),
        (lambda: TrainerSettings(learning_rate="cosin 1 0 5"), "did you mean 'cosine'"),
        (lambda: TrainerSettings(snapshots=True), "expected cycles"),
        (lambda: TrainerSettings(averaging="mean"), "averaging must be"),
        (lambda: Trainer(line(), [], TrainerSettings(patience=1)), "needs validation data"),
        (lambda: Trainer(line(), []).fit(), "had no batches"),
        (lambda: Trainer(line().requires_grad_(False), []), "nothing to train"),
        (lambda: Trainer(line(), Points(), TrainerSettings(monitor="accuracy"), Points()).fit(), "monitor must be one of loss, mae"),
    ]:
        with pytest.raises(SettingError, match=part):
            make()
    with pytest.raises(DivergenceError, match="no longer a number by update 4"):
        Trainer(NotANumber(), Points()).fit()


def test_a_checkpoint_that_does_not_fit_or_is_broken_is_one_line(tmp_path):
    Trainer(line(), Points(), TrainerSettings(epochs=1), folder=tmp_path).fit()
    with pytest.raises(CheckpointError, match="another architecture"):
        Trainer(line(batch_norm=True), Points(), TrainerSettings(epochs=2), folder=tmp_path).fit(resume=True)
    with pytest.raises(CheckpointError, match="trained with seed 0, found 1"):
        Trainer(line(), Points(), TrainerSettings(epochs=2, seed=1), folder=tmp_path).fit(resume=True)
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut off"):
        Trainer(line(), Points(), TrainerSettings(epochs=2), folder=tmp_path).fit(resume=True)
