"""All models of perception by name, imported when they are asked for.

network = models.build("vae", (3, 64, 64), 32, beta=4.0)
again = models.build(**models.recipe(network))  # the same architecture; weights are safetensors' business
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from mprl.errors import SettingError, nearest, unknown_name
from mprl.perception.network import Network

_PLACES = {
    "mlp": "encoders.mlp:MLPEncoder",
    "cnn": "encoders.cnn:CNN",
    "resnet": "encoders.resnet:ResNet",
    "fcn": "encoders.segmentation:FCN",
    "unet": "encoders.segmentation:UNet",
    "vit": "encoders.vit:ViT",
    "autoencoder": "autoencoders.autoencoder:AutoEncoder",
    "denoising_autoencoder": "autoencoders.autoencoder:DenoisingAutoEncoder",
    "vae": "autoencoders.vae:VAE",
    "conditional_vae": "autoencoders.vae:ConditionalVAE",
    "vq_vae": "autoencoders.vq_vae:VQVAE",
    "rnn": "histories.recurrent:RNN",
    "lstm": "histories.recurrent:LSTM",
    "gru": "histories.recurrent:GRU",
    "tcn": "histories.tcn:TCN",
    "causal_transformer": "histories.transformer:CausalTransformer",
    "history_regression": "histories.regression:HistoryRegression",
    "image_state": "selfsupervised.contrastive:ImageState",
    "curl": "selfsupervised.contrastive:Curl",
    "masked_autoencoder": "selfsupervised.masked:MaskedAutoEncoder",
    "dino": "selfsupervised.dino:DINO",
    "pose_regression": "pose2d.regression:PoseRegression",
    "cpm": "pose2d.cpm:CPM",
    "paf": "pose2d.paf:PAF",
    "vitpose": "pose2d.vitpose:ViTPose",
}
NAMES = tuple(_PLACES)
_PLACES["each_picture"] = "each:EachPicture"  # made of another one: mprl.perception.each


def kind(name: str) -> type[Network]:
    """The class of a model.

    Raises:
        UnknownNameError: no such model.
    """
    if name not in _PLACES:
        raise unknown_name("perception model", name, NAMES, "mprl.perception.models.NAMES")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(importlib.import_module(f"mprl.perception.{module}"), attribute)


def build(name: str, shape: Sequence[int], features: int, **settings: Any) -> Network:
    """A new model with fresh weights.

    Args:
        name: one of `NAMES`.
        shape: of one preprocessed observation.
        features: how many numbers it makes of it.
        settings: what else its constructor takes.

    Raises:
        UnknownNameError: no such model.
        SettingError: a setting that it does not have, or a value that cannot be.
    """
    made = kind(name)
    known = inspect.signature(made.__init__).parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        for setting in settings.keys() - known.keys():
            offered = [key for key in known if key not in ("self", "shape", "features")]
            raise SettingError(f"{name} has no setting '{setting}'{nearest(setting, offered)} ({', '.join(offered)})")
    return made(shape, features, **settings)


def name_of(network: Network) -> str:
    """The name under which a network's class is known.

    Raises:
        UnknownNameError: it is none of these.
    """
    place = f"{type(network).__module__.removeprefix('mprl.perception.')}:{type(network).__name__}"
    for name, known in _PLACES.items():
        if known == place:
            return name
    raise unknown_name("perception model", type(network).__name__, NAMES, "mprl.perception.models.NAMES")


def recipe(network: Network) -> dict[str, Any]:
    """What `build` makes another one of the same architecture from; fit for JSON."""
    return {"name": name_of(network), **network.arguments}
