"""`mprl perception COMMAND`: train models that see, on what environments show, and measure them."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/perception.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["perception", *sys.argv[1:]]))

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mprl.errors import CheckpointError, SettingError, unknown_name
from mprl.scripts import environments
from mprl.scripts.options import json_object, parse, settings_of_a_model
from mprl.scripts.tables import table

if TYPE_CHECKING:
    from mprl.envs.wrappers import Source
    from mprl.perception.datasets import Dataset
    from mprl.perception.plug import Perception
    from mprl.perception.samples import Samples

WORLDS = 16
ALONE = (  # models that learn from recorded pictures, without labels
    "autoencoder", "denoising_autoencoder", "vae", "conditional_vae", "vq_vae", "image_state", "curl", "masked_autoencoder", "dino",
)  # fmt: skip
ASKED = "run.json"
STATISTICS = "states.json"  # by which true states were standardised, where a model learned from them


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a perception model on pictures of an environment.

    Pictures are recorded first, beside the environment's own observations, which say what features are worth. The same command again goes
    on where it was stopped.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """autoencoder, vae, vq_vae, image_state, curl, masked_autoencoder, dino, ..."""
    env: Annotated[str, tyro.conf.arg(metavar="ENV_ID")]
    """whose pictures"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """folder for the model"""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """recorded pictures, made where missing; by default in the model's folder"""
    samples: int = 20_000
    """pictures to record"""
    policy: Annotated[str, tyro.conf.arg(metavar="DIR|random")] = "random"
    """who acts while they are recorded: an agent's run folder, or at random"""
    camera: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """of a MuJoCo environment: a camera's name, tracking or head; by default what the environment renders"""
    pixels: int = 64
    """side of a picture"""
    stack: int = 2
    """pictures in one observation, so that speeds can be seen"""
    grey: bool = False
    """without colours"""
    crop: Annotated[tuple[int, int, int, int] | None, tyro.conf.arg(metavar="L T R B", help_behavior_hint="")] = None
    """left, top, right and bottom of the part of the picture that is seen, pixels before it is shrunk"""
    features: int = 32
    """numbers that the model makes of a picture"""
    settings: Annotated[str, tyro.conf.arg(metavar="JSON")] = "{}"
    """further settings of the model: '{"beta": 4}'"""
    batch_size: int = 128
    """pictures in a minibatch"""
    epochs: int = 20
    """passes over the data"""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="")] = None
    """end earlier, with the epoch in which so much time is spent"""
    learning_rate: str = "1e-3"
    """a number or a schedule: "cosine 1e-3 1e-5 5000" """
    averaging: str = "none"
    """of the weights: "ema 0.999", "swa 3000" """
    seed: int = 0
    """of everything random"""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Measure a perception model on pictures that it was not trained on."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """a model of `mprl perception train`"""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """recorded pictures; by default those that it was trained on, of which a tenth of the episodes was held out"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl perception`."""
    commands: dict[str, tuple[Any, Any]] = {"train": (TrainOptions, train), "evaluate": (EvaluateOptions, evaluate)}
    if not argv or argv[0] in ("-h", "--help"):
        from mprl.perception import models

        rows = "\n".join(f"  {name:<9} {kind.__doc__.splitlines()[0]}" for name, (kind, _) in commands.items())
        print(f"usage: mprl perception COMMAND [OPTIONS]\n\ncommands:\n{rows}\n\nmodels: {', '.join(models.NAMES)}")
        return 0
    if argv[0] not in commands:
        raise unknown_name("perception command", argv[0], commands, "mprl perception --help")
    kind, run = commands[argv[0]]
    run(parse(kind, f"mprl perception {argv[0]}", argv[1:]))
    return 0


# --- training ----------------------------------------------------------------------------------------------------------------


def train(options: TrainOptions) -> None:
    """Record, train, save, measure."""
    import torch

    from mprl import files
    from mprl.envs.wrappers import Source
    from mprl.perception import models
    from mprl.perception.plug import Perception
    from mprl.perception.spec import Spec
    from mprl.perception.trainer import Trainer, TrainerSettings

    kind = models.kind(options.model)
    if options.model not in ALONE:
        raise SettingError(f"{kind.__name__} does not learn from pictures alone, {', '.join(ALONE)} do (others: mprl train --perception)")
    source = Source(options.camera, options.pixels, options.stack, options.grey, options.crop)
    settings, spec = json_object("--settings", options.settings), Spec(_shape(options, source))
    with settings_of_a_model("--settings", options.settings):  # before anything is recorded or written
        models.build(options.model, spec.input_shape, options.features, **settings)
    trainer_settings = TrainerSettings(
        epochs=options.epochs,
        learning_rate=_rate(options.learning_rate),
        averaging=options.averaging,
        seed=options.seed,
        minutes=float("inf") if options.minutes is None else options.minutes,
    )
    samples, held_out = parts(recorded(options, source), spec, options.batch_size)
    if options.model in ("image_state", "conditional_vae"):
        settings["state_size" if options.model == "image_state" else "condition_size"] = len(samples.state_mean)
    else:
        samples, held_out = (dataclasses.replace(part, state=None) for part in (samples, held_out))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = models.build(options.model, spec.input_shape, options.features, **settings)
    Trainer(network, samples, trainer_settings, held_out, options.out, progress=True).fit(resume=True)
    Perception(network, spec, source.to_json()).save(options.out)  # frozen from now on
    known = {"format": "mprl-perception-states", "version": files.VERSION, "mean": samples.state_mean, "std": samples.state_std}
    files.write_atomically(options.out / STATISTICS, json.dumps(known).encode())
    evaluate(EvaluateOptions(folder=options.out))
    print(f"Try next:\n  mprl train {options.env} --agent ppo --perception {options.out}")


def recorded(options: Any, source: Source) -> Dataset:
    """The pictures, recorded where they are not there yet; what was asked for is kept beside them."""
    from mprl.envs.recording import record

    both = dataclasses.replace(source, state=True)
    env = environments.make(options.env, WORLDS, None, both)
    try:
        policy: Any = "random"
        if options.policy != "random":
            from mprl.agents import load_agent

            policy = _OnState(load_agent(options.policy))
        env.reset(seed=options.seed)  # a crop beyond the picture, say, shows itself before anything is written
        _remember(options)
        about = {"source": source.to_json()}  # pictures of the same size may show something else
        return record(env, policy, options.data or options.out / "data", options.samples, seed=options.seed, about=about)
    finally:
        env.close()


class _OnState:
    """An agent that acts on the environment's own observations, beside which there are pictures."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> Any:
        return self._agent.predict(observation["state"], state, episode_start, deterministic)


def parts(dataset: Dataset, spec: Any, batch_size: int) -> tuple[Samples, Samples]:
    """What is learned from, and a tenth of the episodes, which is not."""
    from mprl.perception.samples import Samples

    learned, kept = dataset.split(0.1)
    samples = Samples(learned, spec, batch_size, state="state").with_statistics()
    return samples, samples.of(kept)


def _shape(options: TrainOptions, source: Source) -> tuple[int, int, int]:
    return options.pixels, options.pixels, (1 if source.grey else 3) * source.stack


def _rate(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _remember(options: TrainOptions) -> None:
    """Keep what was asked for, so that the same command goes on and another one does not."""
    from mprl import files

    asked = {key: os.fspath(value) if isinstance(value, Path) else value for key, value in dataclasses.asdict(options).items()}
    asked = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asked.items() if key not in ("out", "epochs", "minutes")
    }
    path = options.out / ASKED
    if path.exists():
        before = files.read_json(path, "mprl-perception-run", "a training of a perception model")["asked"]
        for key in sorted(asked):
            if before.get(key) != asked[key]:
                found = f"{key} {before.get(key)!r}, not {asked[key]!r}"
                raise SettingError(f"{options.out} holds a training with {found}; choose another --out")
        return
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise SettingError(f"{options.out} is there and holds something else; choose another --out")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        content = {"format": "mprl-perception-run", "version": files.VERSION, "asked": asked}
        files.write_atomically(path, json.dumps(content, indent=2).encode())
    except OSError as error:
        raise CheckpointError(f"{error.filename or path}: cannot be written: {error.strerror or error}") from None


# --- measuring ---------------------------------------------------------------------------------------------------------------


def evaluate(options: EvaluateOptions) -> None:
    """Print a model's metrics on held-out pictures and what its features tell of the state; leave them and pictures in its folder."""
    from mprl import files
    from mprl.perception.datasets import Dataset
    from mprl.perception.plug import Perception

    model = Perception.load(options.folder)
    asked = files.read_json(options.folder / ASKED, "mprl-perception-run", "a training of a perception model")["asked"]
    data = options.data or (Path(asked["data"]) if asked["data"] else options.folder / "data")
    samples, held_out = parts(Dataset(data), model.spec, asked["batch_size"])
    if (options.folder / STATISTICS).exists():
        known = files.read_json(options.folder / STATISTICS, "mprl-perception-states", "what states were standardised by")
        statistics: dict[str, Any] = {f"state_{name}": tuple(known.get(name, ())) for name in ("mean", "std")}
        if len(statistics["state_mean"]) != len(samples.state_mean):
            found = f"{data} has states of {len(samples.state_mean)} numbers"
            raise SettingError(f"{found}, the model learned from {len(statistics['state_mean'])}; is it of another environment?")
        samples, held_out = (dataclasses.replace(part, **statistics) for part in (samples, held_out))
    results = measure(model, samples, held_out)
    files.write_atomically(options.folder / "evaluation.json", (json.dumps(results, indent=2) + "\n").encode())
    rows = [(name.replace("_", " "), f"{value:.4g}") for name, value in results.items() if not isinstance(value, list)]
    told = ("-" if value is None else f"{value:.2f}" for value in results["probe_r2"])
    rows.append(("state told by the features, R²", ", ".join(told)))
    table((f"{asked['model']}, {asked['env']}, held-out pictures", ""), rows)
    for path in pictures(model, held_out, options.folder):
        print(f"wrote {path}")


def measure(model: Perception, samples: Samples, held_out: Samples) -> dict[str, Any]:
    """Loss and metrics on held-out samples, and the R² of a linear probe for each number of the state; None of one that never changes."""
    from mprl.perception.probe import linear_probe
    from mprl.perception.samples import features_and_states
    from mprl.perception.trainer import evaluate as judge

    found: dict[str, Any] = judge(model.network, held_out.batches())
    told = linear_probe(*features_and_states(model, samples), *features_and_states(model, held_out))
    r2 = [None if math.isnan(value) else value for value in told.tolist()]  # JSON knows no NaN
    return {**found, "probe_r2_mean": float(told.nanmean()), "probe_r2": r2}


def pictures(model: Perception, held_out: Samples, folder: Path) -> list[Path]:
    """What can be seen of a model (reconstructions, attention), as PNG files in its folder."""
    import torch
    from PIL import Image

    if not hasattr(model.network, "pictures"):
        return []
    network: Any = model.network
    batch = {name: values[:8] for name, values in next(iter(held_out.batches(torch.Generator()))).items()}
    written = []
    with torch.no_grad():
        for name, rows in network.pictures(batch).items():
            strip = torch.cat(list(rows), dim=1)[:3]
            strip = strip if len(strip) == 3 else strip[:1].expand(3, -1, -1)
            image = (strip.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
            path = folder / f"{name}.png"
            Image.fromarray(image).resize((image.shape[1] * 2, image.shape[0] * 2), Image.Resampling.NEAREST).save(path)
            written.append(path)
    return written
