"""A folder of motions is a library like any other, but nothing of it is read before it is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mprl.errors import SettingError
from mprl.motion import HUMANOID, FolderLibrary, MotionLibrary, SmplBody, edit, load
from mprl.motion.formats import npz
from mprl.motion.retarget import retarget

NAMES = ("walk", "jump", "punch")


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(NAMES):
        place = tmp_path / "motions" / f"{number}"
        place.mkdir(parents=True)
        npz.write(edit.trim(load(name), 0, 0.3) if name != "walk" else edit.resample(load(name), 15.0), place / f"{name}.npz")
    return tmp_path / "motions"


def both(folder):
    clips = [load(folder / f"{number}" / f"{name}.npz") for number, name in enumerate(NAMES)]
    return FolderLibrary(folder, HUMANOID), MotionLibrary(clips, HUMANOID)


def draw(library, count: int = 200, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(library), (count,), generator=generator), 3 * torch.rand(count, generator=generator)


def test_it_gives_bit_for_bit_what_a_library_gives(folder):
    lazy, plain = both(folder)
    ids, times = draw(plain)
    for name, value in vars(plain.sample(ids, times)).items():
        assert torch.equal(getattr(lazy.sample(ids, times), name), value), name
    for shape in ((200,), (40, 5)):
        at = ids.reshape(shape), times.reshape(shape)
        for ours, theirs in zip(lazy.sample_targets(*at), plain.sample_targets(*at), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(lazy.phase(ids, times), plain.phase(ids, times)) and torch.equal(lazy.cycle(ids, times), plain.cycle(ids, times))
    assert [clip.name for clip in lazy.clips] == [clip.name for clip in plain.clips] and len(lazy) == 3


def test_only_what_is_sampled_is_laid_out_and_it_stays(folder):
    lazy, _ = both(folder)
    assert not lazy._there.any()
    before = lazy.sample(torch.tensor([1, 1]), torch.tensor([0.0, 0.1]))
    assert lazy._there.tolist() == [False, True, False]
    again = FolderLibrary(folder, HUMANOID)
    assert again._there.tolist() == [False, True, False]
    assert torch.equal(again.sample(torch.tensor([1, 1]), torch.tensor([0.0, 0.1])).qpos, before.qpos)
    again.lay_out()
    assert again._there.all()


def test_another_file_or_setting_makes_another_table(folder):
    lazy, _ = both(folder)
    lazy.lay_out([0])
    assert not FolderLibrary(folder, HUMANOID, velocity_cutoff=None)._there.any()
    npz.write(replace(load("walk"), frame_rate=50.0), folder / "0" / "walk.npz")
    changed = FolderLibrary(folder, HUMANOID)
    assert not changed._there.any() and changed.durations[0] == pytest.approx(64 / 50)


def test_broken_and_unfitting_files_are_told_and_left_out(folder, caplog, heard):
    (folder / "broken.npz").write_bytes(b"PK nothing")
    npz.write(retarget(load("walk"), SmplBody.default().skeleton(), clean=False), folder / "other.npz")
    with caplog.at_level("WARNING", "mprl"):
        assert len(FolderLibrary(folder, HUMANOID)) == 3
    assert "broken.npz" in caplog.text and "retarget it first" in caplog.text


def test_a_folder_without_motions_is_one_line(tmp_path):
    with pytest.raises(SettingError, match="holds no motion that fits the character 'humanoid'"):
        FolderLibrary(tmp_path, HUMANOID)
    with pytest.raises(SettingError, match="there is none"):
        FolderLibrary(tmp_path / "nowhere", HUMANOID)


def test_a_cut_off_table_is_made_anew(folder):
    lazy, plain = both(folder)
    lazy.lay_out()
    for file in (folder / ".mprl").glob("*.rows"):
        file.write_bytes(file.read_bytes()[:1000])
    ids, times = draw(plain)
    assert torch.equal(FolderLibrary(folder, HUMANOID).sample(ids, times).qpos, plain.sample(ids, times).qpos)


def test_four_thousand_states_are_sampled_in_as_many_calls_as_forty(folder, calls):
    """No state is gone through by itself; docs/benchmarks.md has the milliseconds."""
    lazy, _ = both(folder)
    lazy.lay_out()
    states = [draw(lazy, count) for count in (40, 4096)]
    few, many = (calls(lambda at=at: lazy.sample(*at)) for at in states)
    assert many < 2 * few
