"""A plain vision transformer whose patches become heatmaps (ViTPose: Xu et al. 2022, arXiv 2204.12484)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception.encoders.vit import ViT
from mprl.perception.pose2d.network import STRIDE, HeatmapNetwork


class ViTPose(HeatmapNetwork):
    """Patches through a transformer, then transposed convolutions up to the heatmaps' size: the paper's classic decoder.

    Args:
        shape: (channels, height, width), divisible by the patch.
        features: 3 K.
        patch: pixels along a patch's side, 4, 8 or 16: each halving to 4 is a transposed convolution.
        width, depth, heads: of the transformer.
        decoder: how peaks are told (`heatmaps.DECODERS`).

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        patch: int = 8,
        width: int = 96,
        depth: int = 4,
        heads: int = 4,
        decoder: str = "dark",
    ) -> None:
        super().__init__(shape, features, decoder)
        if patch not in (STRIDE, 2 * STRIDE, 4 * STRIDE):
            raise SettingError(f"patch must be {STRIDE}, {2 * STRIDE} or {4 * STRIDE}, found {patch}")
        self.vit = ViT(shape, width, patch=patch, depth=depth, heads=heads)
        parts: list[nn.Module] = []
        while patch > STRIDE:
            parts += [nn.ConvTranspose2d(width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            patch //= 2
        self.head = nn.Sequential(*parts, nn.Conv2d(width, self.points, 1))

    def scores(self, images: Tensor) -> list[Tensor]:
        tokens = self.vit.encode(self.vit.tokens(images))[:, 1:]
        return [self.head(tokens.transpose(1, 2).unflatten(2, self.vit.grid))]
