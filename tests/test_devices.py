"""A device that is not there, or cannot be used, is one line that says what to do."""

from __future__ import annotations

import sys

import gymnasium as gym
import pytest
import torch

import mprl  # noqa: F401
from mprl.devices import available
from mprl.errors import DeviceError, MprlError, SettingError, UnknownNameError


def without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("cuda", "device 'cuda': no CUDA device was found"),
        ("cuda:3", "device 'cuda:3': no CUDA device was found"),
        ("cudda", "no device named 'cudda'; known are cpu, cuda, cuda:0"),
        ("mps", "device 'mps': mprl runs on cpu and cuda"),
        (None, "no device named 'None'"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(device, says, monkeypatch):
    without_cuda(monkeypatch)
    with pytest.raises(DeviceError) as caught:
        available(device)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_a_driver_that_is_too_old_is_named(monkeypatch):
    def refuse():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver.")

    without_cuda(monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", refuse)
    with pytest.raises(DeviceError, match=r"was found \(The NVIDIA driver on your system is too old \(found version 11040\)\); use --dev"):
        available("cuda")


def test_devices_are_counted_and_numbered(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert available("cuda:0") == torch.device("cuda", 0) and available("cuda") == torch.device("cuda", 1)
    assert available("cpu") == available(torch.device("cpu", 0)) == torch.device("cpu")
    with pytest.raises(DeviceError, match="device 'cuda:2': 2 CUDA devices were found"):
        available("cuda:2")


def test_a_gpu_environment_without_a_gpu_is_one_line(monkeypatch):
    without_cuda(monkeypatch)
    with pytest.raises(MprlError, match=r"^device 'cuda': no CUDA device was found.*; use --device cpu$"):
        gym.make_vec("mprl/DeepMimic-v0", num_envs=8192, device="cuda", output="torch")


def test_without_mujoco_warp_the_line_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("mprl.simulation.gpu")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(DeviceError, match=r"needs mujoco_warp .*pip install mprl\[gpu\]"):
        gym.make_vec("mprl/DeepMimic-v0", num_envs=1, backend="warp")


def test_a_back_end_that_is_not_known_or_cannot_is_named():
    from mprl.motion import HUMANOID
    from mprl.simulation.backends import make_simulation

    with pytest.raises(UnknownNameError, match="did you mean 'warp'"):
        gym.make_vec("mprl/DeepMimic-v0", num_envs=1, backend="wrap")
    with pytest.raises(SettingError, match="'mujoco' simulates on the CPU, and the device is cuda:0; use backend='warp'"):
        make_simulation(HUMANOID.spec(), 1, torch.device("cuda", 0), "mujoco")
