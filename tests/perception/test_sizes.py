"""The formulas for output sizes are torch's, for all settings; receptive fields are what the gradient reaches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from mprl.errors import SettingError
from mprl.perception.encoders import sizes

LAYER = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))  # kernel, stride, padding, dilation


def _fits(size, kernel, padding, dilation):
    return size + 2 * padding > dilation * (kernel - 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), LAYER)
def test_a_convolution_has_torchs_size(size, layer):
    kernel, stride, padding, dilation = layer
    assume(_fits(size, kernel, padding, dilation))
    found = nn.Conv1d(1, 1, kernel, stride, padding, dilation)(torch.zeros(1, 1, size)).shape[-1]
    assert sizes.convolution(size, kernel, stride, padding, dilation) == found


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), LAYER, st.integers(0, 2))
def test_a_transposed_convolution_has_torchs_size(size, layer, added):
    kernel, stride, padding, dilation = layer
    assume(added < max(stride, dilation))  # torch's condition
    expected = sizes.transposed_convolution(size, kernel, stride, padding, dilation, added)
    assume(expected > 0)
    assert nn.ConvTranspose1d(1, 1, kernel, stride, padding, added, dilation=dilation)(torch.zeros(1, 1, size)).shape[-1] == expected


@given(st.integers(1, 60), LAYER)
def test_output_padding_leads_back_to_the_size_before(size, layer):
    kernel, stride, padding, dilation = layer
    assume(_fits(size, kernel, padding, dilation))
    smaller = sizes.convolution(size, kernel, stride, padding, dilation)
    added = sizes.output_padding(size, kernel, stride, padding, dilation)
    assert 0 <= added < stride
    assert sizes.transposed_convolution(smaller, kernel, stride, padding, dilation, added) == size


@given(st.integers(1, 60), st.sampled_from([1, 3, 5, 7]), st.integers(1, 4))
def test_same_padding_keeps_the_size(size, kernel, dilation):
    assert sizes.convolution(size, kernel, 1, sizes.same_padding(kernel, dilation), dilation) == size


def test_worked_examples():
    assert sizes.stack(84, (8, 4, 3), (4, 2, 1), (0, 0, 0), (1, 1, 1)) == [84, 20, 9, 7]  # Mnih et al. 2015
    assert sizes.receptive_field((8, 4, 3), (4, 2, 1)) == 36  # 8, then 4 + 4 · 3 + ..., as often quoted for it
    assert sizes.receptive_field([3] * 5) == 11
    assert sizes.receptive_field([2] * 10, dilations=[2**n for n in range(10)]) == 1024  # a WaveNet block (van den Oord et al. 2016)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3))
def test_the_receptive_field_is_as_far_as_the_gradient_reaches(stack):
    kernels, strides, dilations = zip(*stack, strict=True)
    field = sizes.receptive_field(kernels, strides, dilations)
    layers = [nn.Conv1d(1, 1, kernel, stride, dilation=dilation, dtype=torch.float64) for kernel, stride, dilation in stack]
    for layer in layers:
        nn.init.ones_(layer.weight)
    inputs = torch.zeros(1, 1, field + 7, dtype=torch.float64, requires_grad=True)
    nn.Sequential(*layers)(inputs)[0, 0, 0].backward()
    reached = inputs.grad.flatten().nonzero().flatten()
    assert reached[0] == 0 and reached[-1] == field - 1


def test_a_kernel_that_does_not_fit_is_refused_with_what_to_do():
    with pytest.raises(SettingError, match=r"a kernel of 8 .* does not fit into 5 pixels padded by 0; use larger images"):
        sizes.convolution(5, 8)
