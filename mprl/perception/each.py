"""One network that looks at each of several stacked pictures, so that a model that learned from single pictures shows what moves.

A model of stacked pictures has to find speeds itself, and what learns without labels rarely cares for them: between two pictures little
changes. Side by side, the features of each picture tell them by their differences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mprl.errors import PerceptionError, SettingError, number
from mprl.perception import models
from mprl.perception.network import Network, check_image
from mprl.perception.plug import Perception


class EachPicture(Network):
    """Features of each of the pictures of a stack, oldest first.

    Args:
        shape: of the stack, (pictures x C, H, W).
        features: of all pictures together.
        network: what looks at one picture, as `models.recipe` describes it.
        pictures: how many.

    Raises:
        SettingError: shape or features are not so many times those of the network.
    """

    def __init__(self, shape: Sequence[int], features: int, network: dict[str, Any], pictures: int) -> None:
        super().__init__(shape, features)
        channels, height, width = check_image(shape, "each_picture")
        self.network = models.build(**network)
        self.pictures = pictures
        wanted = (pictures * self.network.shape[0], *self.network.shape[1:]), pictures * self.network.features
        if ((channels, height, width), features) != wanted:
            raise SettingError(f"{pictures} pictures make a shape {wanted[0]} and {wanted[1]} features, found {self.shape} and {features}")

    def forward(self, inputs: Tensor) -> Tensor:
        single = inputs.unflatten(1, (self.pictures, -1)).flatten(0, 1)
        features = self.network(single.contiguous(memory_format=torch.channels_last))  # as a single picture comes: the same bits
        return features.unflatten(0, (-1, self.pictures)).flatten(1)


def each_picture(perception: Perception, pictures: int) -> Perception:
    """A model of stacked pictures that sees each of them as the given one sees a single picture, with its weights (shared, not copied).

    Args:
        perception: reads an image (H, W, C), with a network of ours.
        pictures: in a stack, as `FrameStack` makes it, (H, W, pictures x C).

    Raises:
        PerceptionError: it reads something else, or has a network of one's own.
    """
    number("pictures", pictures, 1, whole=True)
    spec, network = perception.spec, perception.network
    if not spec.image:
        raise PerceptionError(f"a stack is of pictures, the perception model reads {spec.shape}")
    if not isinstance(network, Network):
        raise PerceptionError(f"{type(network).__name__} is none of our networks; wrap it yourself in one that sees each picture")
    stacked = dataclasses.replace(
        spec,
        shape=(*spec.shape[:2], pictures * spec.shape[2]),
        mean=spec.mean * pictures if len(spec.mean) > 1 else spec.mean,
        std=spec.divisor * pictures if len(spec.divisor) > 1 else spec.divisor,
    )
    made = EachPicture(stacked.input_shape, pictures * network.features, models.recipe(network), pictures)
    made.network = network
    source = None if perception.source is None else {**perception.source, "stack": pictures}
    return Perception(made, stacked, source)
