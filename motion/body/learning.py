"""Learning SMPL from registered bodies (Loper et al. 2015, section 4).

Registrations in one pose give the mean body and its directions of shape (principal components); the joints are regressed from
the surface, sparse and non-negative; posed registrations give the corrections that linear blend skinning needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def shape_space(bodies: Floats, components: int) -> tuple[Floats, Floats]:
    """Mean (V, 3) and principal directions, each scaled to one standard deviation, most variance first: (N, V, 3) -> (V, 3, S).

    Directions have no sign of their own: each points to where the body grows taller, or, if it hardly does, wider.
    """
    mean = bodies.mean(axis=0)
    offsets = (bodies - mean).reshape(len(bodies), -1)
    variance, vectors = np.linalg.eigh(offsets @ offsets.T / (len(bodies) - 1))  # of the smaller matrix: bodies, not vertices
    order = np.argsort(-variance)[:components]
    directions = (offsets.T @ vectors[:, order] / np.sqrt(len(bodies) - 1)).reshape(*mean.shape, components)
    height = directions[mean[:, 1].argmax(), 1] - directions[mean[:, 1].argmin(), 1]
    width = (directions * np.sign(mean)[..., None])[:, [0, 2]].mean(axis=(0, 1))
    return mean, directions * np.where(np.abs(height) > 0.01, np.sign(height), np.sign(width))


def joint_regressor(bodies: Floats, joints: Floats, near: Ints, mirror: Ints, joint_mirror: Ints) -> Floats:
    """Joints as weighted means of a few vertices: non-negative least squares, each row summing to 1.

    Args:
        bodies: (N, V, 3) m, and `joints` of each, (N, J, 3) m.
        near: vertices that may take part in each joint, (J, K).
        mirror: of each vertex, and `joint_mirror` of each joint: the regressor is made symmetric.

    Returns:
        (J, V).
    """
    regressor = np.zeros((joints.shape[1], bodies.shape[1]))
    heavy = 10.0  # of the row that asks for a sum of 1
    for joint, vertices in enumerate(near):
        places = bodies[:, vertices].transpose(0, 2, 1).reshape(-1, len(vertices))
        matrix = np.vstack((places, np.full((1, len(vertices)), heavy), 1e-3 * np.eye(len(vertices))))
        target = np.concatenate((joints[:, joint].reshape(-1), [heavy], np.zeros(len(vertices))))
        weight, _ = nnls(matrix, target)
        weight[weight < 1e-3 * weight.max()] = 0
        regressor[joint, vertices] = weight / weight.sum()
    regressor = (regressor + regressor[joint_mirror][:, mirror]) / 2
    return regressor / regressor.sum(axis=1, keepdims=True)


def few_weights(weights: Floats, most: int = 4) -> Floats:
    """Keep the largest influences of each vertex, (V, J); of two equal ones both or none, so that a symmetric body stays symmetric."""
    fifth = -np.sort(-weights, axis=1)[:, most : most + 1]
    kept = np.where((weights > fifth + 1e-9) & (weights > 0.005), weights, 0)
    return kept / kept.sum(axis=1, keepdims=True)


def shape_errors(bodies: Floats, mean: Floats, directions: Floats) -> Floats:
    """Mean distance of vertices, m, when bodies are rebuilt from their first 0, 1, ... S components, (S + 1,)."""
    basis = directions.reshape(-1, directions.shape[-1])
    basis = basis / np.linalg.norm(basis, axis=0)
    left = (bodies - mean).reshape(len(bodies), -1)
    errors = []
    for k in range(basis.shape[1] + 1):
        errors.append(np.linalg.norm(left.reshape(bodies.shape), axis=-1).mean())
        if k < basis.shape[1]:
            left = left - (left @ basis[:, k : k + 1]) * basis[:, k]
    return np.array(errors)
