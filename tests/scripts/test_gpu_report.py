"""Every section runs, as small as can be, on Warp's CPU device; what it finds there is written nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mprl.errors import DeviceError, SettingError
from mprl.scripts import gpu_report
from mprl.scripts.benchmarks import parity
from mprl.scripts.benchmarks.report import Figure, Report


def test_the_page_of_the_checkout_has_a_place_for_every_section(root: Path):
    page = (root / "docs" / "benchmarks-gpu.md").read_text(encoding="utf-8")
    assert page.startswith(gpu_report.HEADER)
    for section in gpu_report.SECTIONS:
        assert f"<!-- {section}: begin -->" in page and f"python scripts/gpu_report.py --section {section}" in page
    assert "Warp's CPU device" not in page  # no figure of a CPU stands there


def test_a_section_is_written_into_its_place(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(gpu_report.template(), encoding="utf-8")
    Report("ppo", [Figure("worlds_8", "8 worlds", "samples/s", 5.0)], {"device": "a GPU"}, "command").write_markdown(page)
    text = page.read_text(encoding="utf-8")
    assert (
        text.count("Not measured on a GPU yet.") == len(gpu_report.SECTIONS) - 1
        and "| 8 worlds | samples/s | 5 |" in text
        and "a GPU" in text
    )


def test_what_cannot_be_measured_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="no CUDA device was found"):
        gpu_report.main(["--section", "bare"])
    with pytest.raises(SettingError, match="add --toy"):
        gpu_report.main(["--section", "bare", "--device", "cpu"])
    with pytest.raises(SettingError, match="expected one of"):
        gpu_report.main(["--section", "naked"])
    with pytest.raises(SettingError, match="--episodes"):
        gpu_report.main(["--section", "parity", "--episodes", "1"])
    assert gpu_report.command(["--section", "bare"]) == 2


def test_samples_of_one_distribution_are_told_from_others():
    random = np.random.default_rng(0)
    sample = lambda shift: {name: random.normal(100.0 + shift, 10.0, 200) for name in parity.METRICS}  # noqa: E731
    same, shifted = parity.compare(sample(0.0), sample(0.0)), parity.compare(sample(0.0), sample(6.0))
    assert all(figure.met for figure in same.figures) and not any(figure.met for figure in shifted.figures)
    assert same.overview.rows[0][0] == "return" and abs(float(same.overview.rows[0][3])) < 3


@pytest.mark.slow
@pytest.mark.parametrize("section", ["bare", "environment", "ppo", "walk", "parity", "paper", "mjx", "environment-smpl"])
def test_every_section_runs_on_a_cpu(section, tmp_path: Path, monkeypatch, capsys, request):
    pytest.importorskip("mujoco_warp")
    if section == "mjx":
        pytest.importorskip("mujoco.mjx", reason="MJX is not installed")
    if section == "paper":
        monkeypatch.setenv("MPRL_MOCAP", str(request.getfixturevalue("mocap_folder")))
    monkeypatch.chdir(tmp_path)
    words = ["--section", section, "--device", "cpu", "--toy", "--motion", "walk", "--episodes", "3", "--time-limit", "0.5"]
    assert gpu_report.main([*words, "--json", "found.json", "--page", "page.md"]) == 0
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert found["benchmark"] == section and found["settings"]["device"] == "Warp's CPU device"
    assert found["figures"] and all(np.isfinite(figure["ours"]) and figure["ours"] >= 0 for figure in found["figures"].values())
    assert not Path("page.md").exists() and "not written" in capsys.readouterr().out
