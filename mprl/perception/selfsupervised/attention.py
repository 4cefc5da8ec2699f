"""Where a vision transformer looks, as pictures for a person."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mprl.perception.autoencoders.trunks import side_by_side
from mprl.perception.encoders.vit import ViT


@torch.no_grad()
def attention_picture(network: ViT, images: Tensor) -> Tensor:
    """Each picture, and its class token's attention (mean over heads, brightest = 1): (B, 3, H, 2 W)."""
    maps = network.attention_maps(images).mean(1, keepdim=True)
    maps = maps / maps.amax((2, 3), keepdim=True)
    return side_by_side(images, functional.interpolate(maps, size=images.shape[2:]))
