"""Pictures and videos: what is seen is what was posed, and every failure says what to do."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import imageio_ffmpeg
import mujoco
import numpy as np
import pytest

from mprl.errors import MprlError, RenderingError, SettingError
from mprl.simulation import rendering
from mprl.simulation.rendering import SceneRenderer, opengl_backend
from mprl.simulation.video import caption, write_video

ROOT = Path(__file__).parents[2]
HUMANOID = ROOT / "motion" / "characters" / "humanoid.xml"
SMALL = {"width": 160, "height": 120}


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    try:
        opengl_backend()
    except RenderingError as error:
        pytest.skip(str(error))
    return mujoco.MjModel.from_xml_path(str(HUMANOID))


def standing(model: mujoco.MjModel, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    pose = model.qpos0.copy()
    pose[:3] = x, y, 0.88
    return pose


def blue(picture: np.ndarray) -> np.ndarray:
    """Where the character's blue is: the floor is grey, the sky much lighter."""
    red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (blue > 1.5 * red) & (red < 110)


# ------------------------------------------------------------------------------------------------------------------- the picture


def test_a_picture_shows_sky_above_floor_and_the_whole_character(model):
    with SceneRenderer(model) as renderer:
        picture = renderer.render(standing(model))
    assert picture.shape == (480, 640, 3) and picture.dtype == np.uint8
    assert picture[:40].mean() > picture[-40:].mean() + 20
    rows, columns = np.nonzero(blue(picture))
    assert rows.size > 3000
    assert rows.min() > 20 and rows.max() < 460 and columns.min() > 20 and columns.max() < 620
    assert rows.max() - rows.min() > 240  # and not a small figure in a wide field


def test_the_same_pose_gives_the_same_picture(model):
    with SceneRenderer(model, **SMALL) as renderer:
        assert np.array_equal(renderer.render(standing(model)), renderer.render(standing(model)))


def test_rendering_leaves_the_model_as_it_was(model):
    before = model.geom_rgba.copy(), model.geom_size.copy()
    with SceneRenderer(model, ghost=True, **SMALL) as renderer:
        renderer.render(standing(model), standing(model, 0.5))
    assert np.array_equal(before[0], model.geom_rgba) and np.array_equal(before[1], model.geom_size)


def test_the_character_casts_a_shadow(model):
    with SceneRenderer(model, **SMALL) as renderer:
        picture = renderer.render(standing(model)).astype(int)
        renderer._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        without = renderer.render(standing(model)).astype(int)
    assert (without.sum(-1) - picture.sum(-1) > 60).sum() > 60


@pytest.mark.slow
def test_a_ghost_is_orange_and_translucent(model):
    with SceneRenderer(model, ghost=True, **SMALL) as renderer:
        alone = renderer.render(standing(model)).astype(int)
        both = renderer.render(standing(model), standing(model, 0.0, 0.9)).astype(int)
    changed = np.abs(both - alone).sum(-1) > 20
    assert 100 < changed.sum() < 0.2 * changed.size
    color = both[changed].mean(axis=0)
    assert color[0] > color[1] + 20 > color[2] + 20
    opaque = SceneRenderer(model, ghost=True, ghost_color=(1.0, 0.55, 0.12, 1.0), **SMALL)
    assert both[changed].mean() > opaque.render(standing(model), standing(model, 0.0, 0.9))[changed].mean() - 60
    opaque.close()


def test_a_character_that_follows_perfectly_covers_its_ghost(model):
    with SceneRenderer(model, ghost=True, **SMALL) as renderer:
        alone = renderer.render(standing(model)).astype(int)
        both = renderer.render(standing(model), standing(model)).astype(int)
    assert (np.abs(both - alone).sum(-1) > 20).sum() < 0.1 * blue(alone).sum()


def test_a_ghost_beside_stands_where_the_offset_says(model):
    offset = (0.0, 1.2, 0.0)
    with SceneRenderer(model, ghost=True, ghost_offset=offset, **SMALL) as beside:
        picture = beside.render(standing(model), standing(model))
        moved = beside.render(standing(model), standing(model, 0.0, -1.2))  # the offset undone: both in one place
    assert blue(picture).sum() > 200
    assert not np.array_equal(picture, moved)


# -------------------------------------------------------------------------------------------------------------------- the camera


@pytest.mark.slow
def test_the_camera_stays_with_a_character_that_runs(model):
    with SceneRenderer(model, **SMALL) as renderer:
        share = blue(renderer.render(standing(model))).mean()
        for step in range(1, 21):  # 4 m at 4 m/s
            picture = renderer.render(standing(model, 0.2 * step, 0.05 * step))
    rows, columns = np.nonzero(blue(picture))
    assert blue(picture).mean() == pytest.approx(share, rel=0.25)
    assert columns.min() > 3 and columns.max() < 156 and rows.max() < 117


def test_the_camera_moves_smoothly(model):
    with SceneRenderer(model, **SMALL) as renderer:
        renderer.render(standing(model))
        renderer.render(standing(model, 0.2))
        assert 0 < renderer._camera.lookat[0] < 0.1


def test_the_camera_jumps_with_a_new_episode(model):
    with SceneRenderer(model, **SMALL) as renderer:
        first = renderer.render(standing(model))
        renderer.render(standing(model, 20.0))
        again = renderer.render(standing(model))
    assert (np.abs(again.astype(int) - first) > 8).mean() < 0.005  # the endless floor is laid out anew, so not to the last bit


# -------------------------------------------------------------------------------------------------------------- other characters


@pytest.mark.slow
def test_any_model_is_drawn_from_its_text_its_spec_or_its_meshes(model):
    tetrahedron = 'vertex="0 0 0  1 0 0  0 1 0  0 0 1"'
    text = f"""<mujoco><asset><mesh name="m" {tetrahedron}/></asset><worldbody>
        <body pos="0 0 .5"><freejoint/><geom type="mesh" mesh="m" rgba=".1 .2 .9 1"/></body></worldbody></mujoco>"""
    pose = [0, 0, 0.5, 1, 0, 0, 0]
    with SceneRenderer(text, **SMALL) as one, SceneRenderer(mujoco.MjSpec.from_string(text), **SMALL) as two:
        picture = one.render(pose)
        assert np.array_equal(picture, two.render(pose))  # two contexts, taking turns
    assert 300 < blue(picture).sum() < 8000


@pytest.mark.parametrize(
    ("body", "pose"),
    [
        ('<body pos="0 0 2"><joint type="slide" axis="1 0 0"/><geom type="box" size=".2 .1 .1"/></body>', [0.3]),  # fixed, high up
        ('<body pos="0 0 .3"><freejoint/><geom type="ellipsoid" size=".4 .2 .3"/></body>', [0, 0, 0.3, 1, 0, 0, 0]),  # wide
        ('<body><freejoint/><geom type="sphere" size=".01"/></body>', [0, 0, 0.01, 1, 0, 0, 0]),  # small, at rest in the floor
    ],
)
def test_characters_of_other_shapes_are_seen_whole(model, body, pose):
    with SceneRenderer(f"<mujoco><worldbody>{body}</worldbody></mujoco>", **SMALL) as renderer:
        rows, columns = np.nonzero(blue(renderer.render(pose)))
    assert rows.size > 300
    assert rows.min() > 3 and rows.max() < 116 and columns.min() > 3 and columns.max() < 156


@pytest.mark.slow
def test_a_somersault_stays_in_the_picture(model):
    pose = standing(model)
    with SceneRenderer(model, **SMALL) as renderer:
        for rise in 0.75 * np.sin(np.linspace(0, np.pi / 2, 12)):  # root at 1.63 m after .4 s, as in free flight
            pose[2] = 0.88 + rise
            rows, _ = np.nonzero(blue(renderer.render(pose)))
            assert rows.min() > 2


def test_the_floor_is_where_the_model_has_it(model):
    spec = mujoco.MjSpec.from_file(str(HUMANOID))
    spec.geom("floor").pos = [0, 0, 3]
    high = standing(model)
    high[2] += 3
    with SceneRenderer(model, **SMALL) as low, SceneRenderer(spec, **SMALL) as raised:
        difference = low.render(standing(model)).astype(int) - raised.render(high)
    assert np.abs(difference).mean() < 1


# ------------------------------------------------------------------------------------------------------------------------ errors


def test_mistakes_are_named(model):
    renderer = SceneRenderer(model, **SMALL)
    with pytest.raises(SettingError, match=r"qpos must have shape \(43,\), got \(7,\)"):
        renderer.render(np.zeros(7))
    with pytest.raises(SettingError, match="qpos is not finite at index 2"):
        renderer.render([0, 0, np.nan] + [0] * 40)
    with pytest.raises(SettingError, match="ghost=True"):
        renderer.render(standing(model), standing(model))
    renderer.close()
    renderer.close()
    with pytest.raises(RenderingError, match="closed"):
        renderer.render(standing(model))
    with pytest.raises(SettingError, match="no model to render"):
        SceneRenderer("nowhere.xml")


def test_another_thread_is_refused(model):
    errors = []

    def draw() -> None:
        try:
            renderer.render(standing(model))
        except RenderingError as error:
            errors.append(str(error))

    with SceneRenderer(model, **SMALL) as renderer:
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
    assert errors and "thread" in errors[0]


@pytest.mark.slow
def test_many_renderers_leak_nothing(model):
    def memory() -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        raise AssertionError

    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")

    def make_some() -> None:
        for _ in range(5):
            SceneRenderer(model, **SMALL).render(standing(model))  # not closed: the collector does it
        gc.collect()

    make_some()
    before = memory()
    make_some()
    make_some()
    assert memory() - before < 40_000  # kB; ten contexts kept would be 150 000


# ---------------------------------------------------------------------------------------------------------------------- back end


@pytest.fixture
def machine(monkeypatch):
    """A pretended Linux machine: sets the environment and which back ends work there."""

    def pretend(works: str, **environment: str) -> None:
        for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(rendering, "_works", lambda backend: backend in works.split())
        monkeypatch.setattr(sys, "platform", "linux")
        rendering._choose.cache_clear()

    yield pretend
    rendering._choose.cache_clear()


@pytest.mark.parametrize(
    ("works", "environment", "chosen"),
    [
        ("egl osmesa glfw", {}, "egl"),
        ("osmesa", {}, "osmesa"),
        ("egl osmesa glfw", {"DISPLAY": ":0"}, "glfw"),
        ("egl", {"WAYLAND_DISPLAY": "wayland-0"}, "egl"),
        ("egl", {"MUJOCO_GL": "osmesa"}, "osmesa"),
        ("egl", {"MUJOCO_GL": "GLX"}, "glfw"),
    ],
)
def test_the_first_back_end_that_works_is_taken_and_said_once(machine, caplog, works, environment, chosen):
    machine(works, **environment)
    with caplog.at_level("INFO", logger="mprl"):
        assert opengl_backend() == chosen
        assert opengl_backend() == chosen
    assert [record.message for record in caplog.records if chosen in record.message] == [caplog.records[0].message]


def test_without_opengl_the_error_says_what_to_install(machine):
    machine("")
    with pytest.raises(RenderingError, match="apt-get install libegl1") as caught:
        opengl_backend()
    assert "\n" not in str(caught.value)


def test_rendering_can_be_switched_off(machine):
    machine("egl", MUJOCO_GL="off")
    with pytest.raises(RenderingError, match="MUJOCO_GL=off"):
        opengl_backend()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere MuJoCo chooses")
def test_a_back_end_that_is_broken_is_found_out():
    assert rendering._works.__wrapped__("no_such_back_end") is False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere MuJoCo chooses")
def test_mujoco_gl_is_obeyed_even_where_it_cannot_work(tmp_path):
    code = "from mprl.simulation.rendering import SceneRenderer as S\nS('<mujoco/>').render([])"
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"MUJOCO_GL": "glfw", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert "RenderingError: no OpenGL context through glfw" in run.stderr.splitlines()[-1]


# ------------------------------------------------------------------------------------------------------------------------ videos


def pictures(count: int, height: int = 48, width: int = 64):
    for index in range(count):
        yield np.full((height, width, 3), 10 * index, dtype=np.uint8)


@pytest.mark.parametrize(("suffix", "size"), [(".mp4", (64, 48)), (".gif", (63, 47))])
def test_a_video_is_read_back_with_its_frames_and_rate(tmp_path, suffix, size):
    path = tmp_path / f"video{suffix}"
    assert write_video(path, pictures(20, size[1], size[0]), fps=25) == path
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    brightness = [np.frombuffer(frame, dtype=np.uint8).mean() for frame in reader]
    assert facts["fps"] == 25 and tuple(facts["size"]) == size
    assert len(brightness) == 20
    assert brightness == pytest.approx([10 * index for index in range(20)], abs=3)
    assert os.listdir(tmp_path) == [path.name]


def test_mp4_is_what_every_player_shows(tmp_path):
    write_video(tmp_path / "video.mp4", pictures(3, 47, 63), fps=30)
    facts = next(imageio_ffmpeg.read_frames(str(tmp_path / "video.mp4")))
    assert facts["codec"] == "h264" and facts["pix_fmt"].startswith("yuv420p") and tuple(facts["size"]) == (64, 48)


def test_a_missing_folder_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(MprlError, match="runs/no does not exist; make it first"):
        write_video(tmp_path / "runs" / "no" / "video.mp4", pictures(3), fps=30)
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MprlError, match="cannot be written to"):
        write_video(tmp_path / "video.mp4", pictures(3), fps=30)


def test_a_folder_in_the_files_place_is_named(tmp_path):
    (tmp_path / "video.mp4").mkdir()
    with pytest.raises(MprlError, match="cannot be written to"):
        write_video(tmp_path / "video.mp4", pictures(3), fps=30)
    assert os.listdir(tmp_path) == ["video.mp4"]


@pytest.mark.parametrize(
    ("name", "frames", "fps", "message"),
    [
        ("video.avi", list(pictures(2)), 30, "written as .mp4 or .gif"),
        ("video.mp4", [], 30, "no frames"),
        ("video.mp4", list(pictures(2)), 0, "fps must be a positive number"),
        ("video.mp4", [np.zeros((48, 64, 3))], 30, "expected .* uint8"),
        ("video.mp4", [*pictures(2), *pictures(1, 50)], 30, "frame 2: expected"),
        ("video.mp4", [np.zeros((48, 64), dtype=np.uint8)], 30, "height, width, 3"),
    ],
)
def test_wrong_frames_are_named_and_the_older_video_stays(tmp_path, name, frames, fps, message):
    (tmp_path / name).write_bytes(b"older")
    with pytest.raises(SettingError, match=message):
        write_video(tmp_path / name, frames, fps)
    assert (tmp_path / name).read_bytes() == b"older"
    assert os.listdir(tmp_path) == [name]


def test_an_error_of_the_frames_passes_and_leaves_no_file(tmp_path):
    def failing():
        yield from pictures(2)
        raise ZeroDivisionError("the simulation's")

    with pytest.raises(ZeroDivisionError):
        write_video(tmp_path / "video.mp4", failing(), fps=30)
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------------------------------------------------------- captions


def test_a_caption_is_light_on_dark_in_the_lower_left_and_fits():
    frame = np.full((240, 320, 3), 128, dtype=np.uint8)
    picture = caption(frame, "walk · 0.8 s · reference (translucent)")
    assert picture.shape == frame.shape and picture.dtype == np.uint8
    assert (frame == 128).all()
    rows, columns = np.nonzero((picture != frame).any(axis=-1))
    assert rows.min() > 200 and rows.max() < 240 and columns.max() < 319
    assert picture.max() > 230 and picture.min() < 80
    long = caption(frame, "a long line that would not fit into a picture of this size, were it not made smaller")
    assert (long[:, -2:] == 128).all()
