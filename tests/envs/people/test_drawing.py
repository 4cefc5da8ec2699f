"""Cameras and triangles: where points are in a picture, and what each pixel shows, against geometry worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mprl.envs.people.camera import Camera, looking_at
from mprl.envs.people.rasteriser import rasterise

FLOAT = np.float32


def test_a_point_is_where_similar_triangles_put_it():
    camera = looking_at(np.zeros(3), azimuth=0.0, elevation=0.0, distance=4.0)  # on +x, looking along -x
    camera = Camera(camera.position, camera.rotation, 100.0, (32.0, 24.0))
    points = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [2, 1, 0]], FLOAT)  # +y is to its right
    places, depth = camera.project(points)
    assert places == pytest.approx(np.array([[32, 24], [57, 24], [32, -1], [82, 24]]), abs=1e-4)
    assert depth == pytest.approx([4, 4, 4, 2])


def test_rays_go_through_the_pixels_that_points_on_them_are_in():
    camera = looking_at(np.array([0.3, -0.2, 1.0]), 0.7, 0.4, 3.0, roll=0.2).framed(
        np.random.default_rng(0).normal(size=(20, 3)).astype(FLOAT), 48, 64, 0.9
    )
    rays = camera.rays(48, 64)
    places, depth = camera.project(camera.position + 2.5 * rays[[3, 40], [60, 7]])
    assert places == pytest.approx(np.array([[60.5, 3.5], [7.5, 40.5]]), abs=1e-3)
    assert depth == pytest.approx([2.5, 2.5], abs=1e-4)


def test_what_is_framed_takes_the_share_of_the_picture_that_was_asked_for():
    points = np.random.default_rng(1).normal(size=(50, 3)).astype(FLOAT)
    places, _ = looking_at(np.zeros(3), 1.0, 0.2, 8.0).framed(points, 60, 80, 0.5, (0.1, 0.0)).project(points)
    low, high = places.min(axis=0), places.max(axis=0)
    assert ((high - low) / [80, 60]).max() == pytest.approx(0.5, abs=1e-4)
    assert (low + high) / 2 == pytest.approx([48, 30], abs=1e-3)


def test_a_triangle_covers_the_pixels_whose_centres_are_in_it():
    points = np.array([[0, 0], [0, 8], [8, 8]], FLOAT)  # counter-clockwise as one looks at it, y down
    face, depth = rasterise(points, np.full(3, 2.0, FLOAT), np.array([[0, 1, 2]]), 10, 10)
    rows, columns = np.mgrid[:10, :10]
    assert np.array_equal(face == 0, (columns <= rows) & (rows < 8))
    assert np.array_equal(np.isfinite(depth), face == 0)
    assert (rasterise(points, np.full(3, 2.0, FLOAT), np.array([[0, 2, 1]]), 10, 10).face == -1).all(), "seen from behind"


def test_the_nearer_of_two_triangles_is_seen_in_whatever_order_they_come():
    points = np.array([[0, 0], [0, 20], [20, 0]] * 2, FLOAT)
    depth = np.array([3, 3, 3, 1, 1, 1], FLOAT)
    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        shown = rasterise(points, depth, np.array(faces), 8, 8)
        assert (shown.depth == 1).all()


def test_depth_is_that_of_the_plane_the_triangle_lies_in():
    camera = Camera(np.zeros(3, FLOAT), np.eye(3, dtype=FLOAT), 10.0, (8.0, 8.0))
    corners = np.array([[-2, -2, 2], [-2, 6, 2], [6, -2, 10]], FLOAT)  # in the plane depth = x + 4
    places, depth = camera.project(corners)
    shown = rasterise(places, depth, np.array([[0, 1, 2]]), 16, 16)
    row, column = np.argwhere(shown.face == 0).T
    across = (column + 0.5 - 8) / 10
    assert len(row) > 50
    assert shown.depth[row, column] == pytest.approx(4 / (1 - across), rel=1e-4)


def test_a_triangle_that_reaches_behind_the_camera_is_not_drawn():
    points = np.array([[0, 0], [0, 8], [8, 8]], FLOAT)
    assert (rasterise(points, np.array([2, -1, 2], FLOAT), np.array([[0, 1, 2]]), 10, 10).face == -1).all()
