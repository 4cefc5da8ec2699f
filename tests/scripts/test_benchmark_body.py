"""The benchmark of the body measures what it says."""

from __future__ import annotations

import pytest

from mprl.scripts.benchmarks import body


@pytest.mark.slow
def test_every_figure_is_measured(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("smplx")
    monkeypatch.setattr(body, "BATCHES", (1, 2))
    found = body.measure(seconds=0.0, threads=1)
    figures = {figure.key: figure for figure in found.figures}
    assert list(figures) == ["difference", "joints_1", "mesh_1", "joints_2", "mesh_2", "pose_error", "pose_error_99", "joint_error", "file"]
    assert figures["difference"].met
    assert figures["file"].met
    assert all(min(figures[key].ours, figures[key].peer, figures[key].limit) > 0 for key in ("joints_1", "mesh_2"))
    assert figures["pose_error"].ratio_to_peer > 3
    assert len(found.overview.rows[0]) == 1 + len(body.COMPONENTS)
