"""Products of large sparse matrices with vectors: added to what is there already, in as many threads as torch has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

try:  # what `matrix @ vector` calls, without a new array for every product: private, but the same since SciPy's first years
    from scipy.sparse._sparsetools import csr_matvec
except ImportError:

    def csr_matvec(n, m, begins, columns, data, vector, out):
        out += sp.csr_array((data[begins[0] : begins[-1]], columns[begins[0] : begins[-1]], begins - begins[0]), shape=(n, m)) @ vector


LARGE = 2_000_000  # entries; a product with fewer is done before a second thread has begun


def add_product(out: NDArray[np.float64], matrix: sp.csr_array, vector: NDArray[np.float64], first: int = 0) -> None:
    """out (n,) += rows first…first + n − 1 of the matrix · vector; the same, bit for bit, with any number of threads."""

    def add(begin: int, end: int) -> None:
        begins = matrix.indptr[first + begin : first + end + 1]
        csr_matvec(end - begin, matrix.shape[1], begins, matrix.indices, matrix.data, vector, out[begin:end])

    n = len(out)
    threads = torch.get_num_threads() if matrix.indptr[first + n] - matrix.indptr[first] >= LARGE else 1
    if threads == 1:
        return add(0, n)
    cuts = np.linspace(0, n, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:  # SciPy lets go of Python's lock
        list(pool.map(lambda cut: add(*cut), pairwise(cuts)))
