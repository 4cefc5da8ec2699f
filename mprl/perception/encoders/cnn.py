"""Plain convolutional networks. As they come, the one of DQN's Atari agents, which is Stable-Baselines3's `NatureCNN`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception.encoders import layers, sizes
from mprl.perception.network import Network, check_image


class CNN(Network):
    """Convolutions, then a linear layer over all that they found.

    The default settings are Mnih et al. 2015 (Nature 518). Its weights have Stable-Baselines3's names, so that
    `cnn.load_state_dict(nature_cnn.state_dict())` and the way back work while `norm` is "none".

    Args:
        shape: (channels, height, width).
        features: outputs.
        channels, kernels, strides: of each convolution.
        paddings, dilations: of each; one number is for all.
        activation: behind each convolution.
        norm: between the two, "none", "batch" or "group".
        output: what comes behind the linear layer, "relu", "none" or "norm".

    Attributes:
        map_shape: channels, height and width of the last convolution's output.
        receptive_field: pixels along one axis that one number there depends on.

    Raises:
        SettingError: a setting that cannot be, or images too small for the kernels.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        channels: Sequence[int] = (32, 64, 64),
        kernels: Sequence[int] = (8, 4, 3),
        strides: Sequence[int] = (4, 2, 1),
        paddings: int | Sequence[int] = 0,
        dilations: int | Sequence[int] = 1,
        activation: str = "relu",
        norm: str = "none",
        output: str = "relu",
    ) -> None:
        super().__init__(shape, features)
        found, *size = check_image(self.shape, "a CNN")
        count = len(channels)
        paddings = (paddings,) * count if isinstance(paddings, int) else tuple(paddings)
        dilations = (dilations,) * count if isinstance(dilations, int) else tuple(dilations)
        if not count or {len(kernels), len(strides), len(paddings), len(dilations)} != {count}:
            raise SettingError(
                f"a CNN needs channels, kernels, strides, paddings and dilations for the same number of layers, found "
                f"{count}, {len(kernels)}, {len(strides)}, {len(paddings)} and {len(dilations)}"
            )
        height, width = (sizes.stack(pixels, kernels, strides, paddings, dilations)[-1] for pixels in size)
        self.map_shape = channels[-1], height, width
        self.receptive_field = sizes.receptive_field(kernels, strides, dilations)
        stack: list[nn.Module] = []
        for made, kernel, stride, padding, dilation in zip(channels, kernels, strides, paddings, dilations, strict=True):
            stack.append(nn.Conv2d(found, made, kernel, stride, padding, dilation))
            if norm != "none":
                stack.append(layers.norm(norm, made))
            stack.append(layers.activation(activation))
            found = made
        self.cnn = nn.Sequential(*stack, nn.Flatten())
        self.linear = nn.Sequential(nn.Linear(found * height * width, features), layers.output(output, features))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.cnn(images))
