"""Products of matrices without gradient, by the faster of two libraries that are in torch.

On a processor with AVX-512 the kernels of oneDNN take half to two thirds of the time of torch's own choice for float32, MKL, which on
AMD's keeps to AVX2 (256 × 256 × 256 on one core of Zen 5: 155 µs beside 320 µs; 64 × 256 × 256: 50 µs beside 83 µs).
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 2**21  # multiplications from which it pays: a call of oneDNN costs 10 µs more
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
if not torch.cpu._is_avx512_supported():
    _onednn = None


def linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """inputs (m, k), weight (n, k), bias (n,): inputs @ weight.T + bias, (m, n)."""
    if _pays(inputs, weight.shape[0]):
        return _onednn(inputs, weight, bias, "none", [], "")  # type: ignore[misc]
    return torch.addmm(bias, inputs, weight.t())


def product(left: Tensor, right: Tensor) -> Tensor:
    """left (m, k) @ right (k, n), (m, n)."""
    if _pays(left, right.shape[1]):
        return _onednn(left, right.t(), None, "none", [], "")  # type: ignore[misc]
    return torch.mm(left, right)


def product_of_columns(left: Tensor, right: Tensor) -> Tensor:
    """left (k, m), right (k, n): left.T @ right, (m, n); of a layer, the gradient for its weights."""
    if left.shape[1] > right.shape[1] and not _pays(left, right.shape[1]):
        return torch.mm(right.t(), left).t()  # MKL is slow where the result is a tall one
    return product(left.t(), right)


def _pays(left: Tensor, columns: int) -> bool:
    return left.numel() * columns >= _LEAST and _onednn is not None and left.dtype == torch.float32 and not left.is_cuda
