"""How large the output of a convolution is, and how much of the input one number of it sees (Dumoulin & Visin 2016, arXiv 1603.07285)."""

from __future__ import annotations

from collections.abc import Sequence

from mprl.errors import SettingError


def convolution(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Output size of a convolution, or of a pooling, along one axis: ⌊(n + 2p − d (k − 1) − 1) / s⌋ + 1.

    Raises:
        SettingError: the kernel does not fit into the padded input.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise SettingError(
            f"a kernel of {kernel} (dilation {dilation}) does not fit into {size} pixels padded by {padding}; "
            "use larger images or smaller or fewer kernels"
        )
    return room // stride + 1


def transposed_convolution(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0) -> int:
    """Output size of a transposed convolution along one axis: (n − 1) s − 2p + d (k − 1) + output padding + 1."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


def output_padding(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """What a transposed convolution must add for its output to have the size that the convolution began from.

    A stride maps several sizes to one, so that the way back needs to be told which: (n + 2p − d (k − 1) − 1) mod s.

    Args:
        size: before the convolution, which is the size wanted.
    """
    convolution(size, kernel, stride, padding, dilation)  # must fit
    return (size + 2 * padding - dilation * (kernel - 1) - 1) % stride


def same_padding(kernel: int, dilation: int = 1) -> int:
    """Padding with which a convolution of stride 1 keeps the size; for an odd kernel, or one whose dilation is even."""
    return dilation * (kernel - 1) // 2


def stack(size: int, kernels: Sequence[int], strides: Sequence[int], paddings: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Sizes along one axis through a stack of convolutions: the input's, then the output's of each layer."""
    sizes = [size]
    for layer in zip(kernels, strides, paddings, dilations, strict=True):
        sizes.append(convolution(sizes[-1], *layer))
    return sizes


def receptive_field(kernels: Sequence[int], strides: Sequence[int] | None = None, dilations: Sequence[int] | None = None) -> int:
    """How many neighbouring inputs one output of a stack of convolutions depends on, along one axis.

    1 + Σ_l d_l (k_l − 1) Π_{i<l} s_i (Araujo et al. 2019, "Computing receptive fields of convolutional neural networks").
    """
    field, jump = 1, 1
    for kernel, stride, dilation in zip(kernels, strides or [1] * len(kernels), dilations or [1] * len(kernels), strict=True):
        field += dilation * (kernel - 1) * jump
        jump *= stride
    return field
