"""A NumPy generator goes on from an array exactly where it was."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mprl.generators import generator_state, set_generator_state


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_a_generator_goes_on_where_it_was(before):
    generator, other = np.random.default_rng(1), np.random.default_rng(2)
    generator.integers(100, size=before, dtype=np.uint32)  # 32-bit numbers are drawn in pairs: half of one may be left
    state = generator_state(generator)
    assert (state.shape, state.dtype) == ((6,), np.int64)
    set_generator_state(other, state)
    for draw in ("random", "standard_normal"):
        assert_array_equal(getattr(other, draw)(50), getattr(generator, draw)(50))
    assert_array_equal(other.integers(100, size=7, dtype=np.uint32), generator.integers(100, size=7, dtype=np.uint32))


def test_the_state_is_a_copy():
    generator = np.random.default_rng(0)
    state = generator_state(generator)
    before = state.copy()
    generator.random(10)
    assert_array_equal(state, before)
