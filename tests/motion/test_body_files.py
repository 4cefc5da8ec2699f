"""Official body files: SMPL, SMPL-H and SMPL-X in every layout that is handed round, and what is said where they are missing or broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mprl.errors import MotionFormatError, SettingError, UnknownNameError
from mprl.motion import SmplBody
from mprl.motion.body import body_files
from mprl.motion.body.joints import PARENTS
from mprl.motion.formats import pickles

# The trees of the official files. A hand has five fingers of three joints; SMPL-X has jaw and eyes before them.
SMPLH = [*PARENTS[:22], *(22 + 15 * hand + 3 * f + k - 1 if k else 20 + hand for hand in (0, 1) for f in range(5) for k in range(3))]
SMPLX = [
    *PARENTS[:22],
    15,
    15,
    15,
    *(25 + 15 * hand + 3 * f + k - 1 if k else 20 + hand for hand in (0, 1) for f in range(5) for k in range(3)),
]


def official(parents: list[int] | tuple[int, ...], shapes: int = 10, vertices: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    """A made-up body in the official layout: each vertex near a joint, fingers moving only vertices of their own hand."""
    rng = np.random.default_rng(seed)
    joints = len(parents)
    places = np.zeros((joints, 3))
    for joint, parent in enumerate(parents[1:], start=1):
        places[joint] = places[parent] + rng.normal(0, 0.1, 3)
    owner = np.arange(vertices) % joints
    weights = np.zeros((vertices, joints))
    weights[np.arange(vertices), owner] = 0.7
    weights[np.arange(vertices), [max(parents[j], 0) for j in owner]] += 0.3
    regressor = np.where(np.arange(vertices) % joints == np.arange(joints)[:, None], rng.random((joints, vertices)), 0)
    content = {
        "v_template": places[owner] + rng.normal(0, 0.03, (vertices, 3)),
        "f": rng.integers(0, vertices, (2 * vertices - 4, 3)).astype(np.uint32),
        "weights": weights,
        "shapedirs": rng.normal(0, 0.01, (vertices, 3, shapes)),
        "posedirs": rng.normal(0, 0.001, (vertices, 3, 9 * (joints - 1))),
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "kintree_table": np.stack((np.array(parents) % 2**32, np.arange(joints))).astype(np.uint32),
    }
    if joints > 24:
        for side in "lr":
            content |= {f"hands_components{side}": np.eye(45), f"hands_mean{side}": rng.normal(0, 0.3, 45)}
    return content


_SMALL = official(PARENTS, shapes=1, vertices=24)


def write_pickle(content: dict[str, np.ndarray], path: Path, chumpy: bool) -> None:
    """As the official downloads are: pickled by another program, SMPL's with chumpy arrays and a sparse regressor, protocol 2."""
    program = """
import pickle, sys, types
import numpy as np, scipy.sparse
content = dict(np.load(sys.argv[1]))
if sys.argv[3] == "chumpy":
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        sys.modules[name] = types.ModuleType(name)
    Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    Select = type("Select", (Ch,), {"__module__": "chumpy.reordering"})
    sys.modules["chumpy.ch"].Ch, sys.modules["chumpy.reordering"].Select = Ch, Select
    def ch(kind, **state):
        made = kind()
        made.__dict__.update(state, _dirty_vars=set(), _itr=None)
        return made
    shapes = content["shapedirs"]
    wide = np.concatenate((shapes, 0 * shapes), axis=2)
    chosen = np.arange(wide.size).reshape(wide.shape)[:, :, : shapes.shape[2]]
    content["v_template"] = ch(Ch, x=content["v_template"])
    content["shapedirs"] = ch(Select, a=ch(Ch, x=wide), idxs=chosen.ravel(), preferred_shape=chosen.shape)
    content["J_regressor"] = scipy.sparse.csc_matrix(content["J_regressor"])
    content |= {"bs_style": "lbs", "bs_type": "lrotmin", "vert_sym_idxs": np.arange(len(content["weights"]))}
pickle.dump(content, open(sys.argv[2], "wb"), protocol=2)
"""
    arrays = path.with_suffix(".arrays.npz")
    np.savez(arrays, **content)
    subprocess.run([sys.executable, "-c", program, arrays, path, "chumpy" if chumpy else "plain"], check=True)
    arrays.unlink()


def agrees(body: SmplBody, vertices: torch.Tensor, joints: torch.Tensor, *inputs: torch.Tensor) -> bool:
    posed = body(*inputs)
    return bool((posed.vertices - vertices).abs().max() < 1e-5 and (posed.joints - joints).abs().max() < 1e-5)


def test_an_official_pickle_with_chumpy_arrays_is_read(tmp_path: Path):
    content = official(PARENTS)
    path = tmp_path / "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    write_pickle(content, path, chumpy=True)
    body = SmplBody.load("smpl", gender="female", folder=tmp_path)
    for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        assert np.abs(getattr(body, key).numpy() - content[key]).max() < 1e-6
    assert (body.name, body.gender, body.num_betas) == ("SMPL", "female", 10)
    assert "non-commercial" in body.licence


@pytest.mark.parametrize(
    ("layout", "gender"),
    [
        ("SMPL_FEMALE.npz", "female"),
        ("basicmodel_m_lbs_10_207_0_v1.1.0.npz", "male"),
        ("smplh/female/model.npz", "female"),
        ("my.npz", "neutral"),
    ],
)
def test_the_gender_is_what_the_name_says_unless_it_is_given(tmp_path: Path, layout: str, gender: str):
    path = tmp_path / layout
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **_SMALL)
    assert SmplBody.load(path).gender == gender
    assert SmplBody.load(path, gender="neutral").gender == "neutral"


def test_a_saved_body_loads_in_smplx_and_poses_the_same(tmp_path: Path):
    smplx = pytest.importorskip("smplx")
    body = SmplBody.default()
    path = body.save(tmp_path / "free.pkl")
    model = smplx.SMPL(model_path=str(path))
    generator = torch.Generator().manual_seed(1)
    betas, pose, translation = (torch.randn(4, *shape, generator=generator) * 0.5 for shape in ((10,), (24, 3), (3,)))
    said = model(betas=betas, global_orient=pose[:, 0], body_pose=pose[:, 1:].flatten(1), transl=translation)
    assert agrees(body, said.vertices.detach(), said.joints[:, :24].detach(), betas, pose, translation)
    again = SmplBody.load(path)
    assert agrees(again, said.vertices.detach(), said.joints[:, :24].detach(), betas, pose, translation)
    assert (again.licence, again.name) == (body.licence, body.name)


def test_a_body_saved_as_npz_is_the_same_body(tmp_path: Path):
    body = SmplBody.default()
    again = SmplBody.load(body.save(tmp_path / "free.npz"))
    assert all(torch.equal(getattr(again, key), getattr(body, key)) for key in ("v_template", "faces", "shapedirs", "posedirs", "weights"))


@pytest.mark.parametrize(
    ("kind", "parents", "shapes", "ending"), [("smplh", SMPLH, 16, ".pkl"), ("smplx", SMPLX, 20, ".npz"), ("smplx", SMPLX, 400, ".pkl")]
)
def test_smplh_and_smplx_stand_with_their_hands_at_rest_as_smplx_has_them(tmp_path: Path, kind, parents, shapes, ending):
    smplx = pytest.importorskip("smplx")
    content = official(parents, shapes, vertices=330)
    path = tmp_path / f"{kind.upper()}_MALE{ending}"
    np.savez(path, **content) if ending == ".npz" else write_pickle(content, path, chumpy=False)
    body = SmplBody.load(kind, gender="male", folder=tmp_path, num_betas=10)

    generator = torch.Generator().manual_seed(2)
    betas, pose, translation = (torch.randn(3, *shape, generator=generator) * 0.5 for shape in ((10,), (24, 3), (3,)))
    pose[:, 22:] = 0  # the hands at rest
    full = torch.zeros(3, len(parents), 3)
    full[:, :22] = pose[:, :22]
    for start, side in ((len(parents) - 30, "l"), (len(parents) - 15, "r")):
        full[:, start : start + 15] = torch.from_numpy(content[f"hands_mean{side}"]).reshape(15, 3)
    arrays = {key: torch.from_numpy(np.asarray(value, dtype=np.float32)) for key, value in content.items()}
    vertices, joints = smplx.lbs.lbs(
        betas, full.flatten(1), arrays["v_template"], arrays["shapedirs"][..., :10], arrays["posedirs"].flatten(0, 1).T,
        arrays["J_regressor"], torch.tensor(parents), arrays["weights"],
    )  # fmt: skip
    rows = [*range(22), len(parents) - 30 + 3, len(parents) - 15 + 3]
    assert agrees(body, vertices + translation[:, None], joints[:, rows] + translation[:, None], betas, pose, translation)


@pytest.mark.parametrize(
    ("layout", "kind", "gender"),
    [
        ("models/smpl/SMPL_NEUTRAL.pkl", "smpl", "neutral"),
        ("smpl/models/basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "smpl", "male"),
        ("smpl/models/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "smpl", "neutral"),
        ("smplh/female/model.npz", "smplh", "female"),
        ("models/smplh/SMPLH_MALE.pkl", "smplh", "male"),
        ("smplx/SMPLX_NEUTRAL.npz", "smplx", "neutral"),
    ],
)
def test_files_are_found_in_the_usual_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, kind: str, gender: str):
    path = tmp_path / layout
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / "smplx_locked_head.txt").touch()
    monkeypatch.setenv("MPRL_SMPL", str(tmp_path))
    assert body_files.find(kind, gender) == path
    with pytest.raises(SettingError, match=r"no .* there or below"):
        body_files.find(kind, "male" if gender != "male" else "female")


def test_a_missing_file_says_where_to_get_it_and_what_works_meanwhile(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MPRL_SMPL", raising=False)
    with pytest.raises(SettingError) as error:
        SmplBody.load("smpl", gender="female")
    assert str(error.value) == (
        "SMPL_FEMALE: get it from https://smpl.is.tue.mpg.de and set MPRL_SMPL to its folder; "
        "the free body works meanwhile: SmplBody.default()"
    )
    with pytest.raises(UnknownNameError, match=r"no body named 'smlp'; did you mean 'smpl'\?"):
        SmplBody.load("smlp")
    with pytest.raises(UnknownNameError, match="no gender named 'woman'"):
        SmplBody.load("smpl", gender="woman")
    with pytest.raises(MotionFormatError, match="no such file"):
        SmplBody.load("nowhere.pkl")
    with pytest.raises(SettingError, match="the free body is neutral, found gender='female'"):
        SmplBody.load(gender="female")


def test_the_free_body_has_as_many_shapes_as_asked_for():
    assert SmplBody.load(num_betas=3).num_betas == 3


def _changed(key: str, value: object) -> dict[str, object]:
    return official(PARENTS) | {key: value}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({k: v for k, v in official(PARENTS).items() if k != "weights"}, 'the key "weights" is missing'),
        (_changed("posedirs", np.zeros((200, 3, 93))), r'key "posedirs": expected \(200, 3, 207\), found \(200, 3, 93\)'),
        (_changed("v_template", np.full((200, 3), np.nan)), 'key "v_template": expected finite numbers'),
        (_changed("v_template", np.array(["a", "b"])), 'key "v_template": expected finite numbers, found <U1'),
        (_changed("kintree_table", np.zeros((2, 16))), r'key "kintree_table": expected \(2, 24\), \(2, 52\) or \(2, 55\), found \(2, 16\)'),
        (_changed("kintree_table", np.zeros((2, 24))), 'key "kintree_table": expected SMPL\'s tree'),
        (_changed("f", np.full((9, 3), 200)), 'key "f": expected indices of 200 vertices, found 200'),
        (_changed("f", np.zeros(())), 'key "f": expected'),
    ],
)
def test_a_broken_body_is_one_line_that_names_the_key(tmp_path: Path, content: dict[str, np.ndarray], message: str):
    path = tmp_path / "broken.npz"
    np.savez(path, **content)
    with pytest.raises(MotionFormatError, match=message) as error:
        SmplBody.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("J_regressor", scipy.sparse.csc_matrix((2**20, 2**20)), r"expected \(joints, 24\), found a sparse matrix \(1048576, 1048576\)"),
        ("J_regressor", scipy.sparse.csr_matrix((24, 2**30)), r"expected \(joints, 24\), found a sparse matrix"),
        ("J_regressor", scipy.sparse.csc_matrix((2**15, 24)), r"expected \(joints, 24\), found a sparse matrix"),
        ("weights", scipy.sparse.csc_matrix((2**20, 2**20)), "found a csc_matrix"),
        ("weights", ["a" * 10**6] * 10**5, "found a list"),  # as an array, 400 GB
    ],
)
def test_what_claims_to_be_huge_is_refused_before_it_is_laid_out(tmp_path: Path, key: str, value: object, message: str):
    path = pickles.save(_SMALL | {key: value}, tmp_path / "huge.pkl")
    with pytest.raises(MotionFormatError, match=message) as error:
        SmplBody.load(path)
    assert f'key "{key}"' in str(error.value) and "\n" not in str(error.value)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/evil'\ntR.")
    with pytest.raises(MotionFormatError, match="system"):
        SmplBody.load(path)


def test_a_file_that_is_no_archive_is_one_line(tmp_path: Path):
    path = tmp_path / "text.npz"
    path.write_text("hello")
    with pytest.raises(MotionFormatError, match=r"expected a \.npz body file"):
        SmplBody.load(path)
    with pytest.raises(MotionFormatError, match=r"ends in .pkl or .npz"):
        SmplBody.default().save(tmp_path / "body.obj")


_ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.lists(st.floats(), max_size=3), max_size=3),
)
_ARRAYS = arrays(
    st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, "U1"]), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=25)
)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_file_holds_it_is_a_body_or_one_line(tmp_path: Path, data: st.DataObject):
    content: dict[str, object] = dict(_SMALL)
    for key in data.draw(st.sets(st.sampled_from(sorted(content)), max_size=3)):
        content[key] = data.draw(st.one_of(_ANY, _ARRAYS))
    path = pickles.save(content, tmp_path / "any.pkl")
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed[: data.draw(st.one_of(st.none(), st.integers(0, len(changed))))])
    try:
        body = SmplBody.load(path)
    except MotionFormatError as error:
        assert "\n" not in str(error)
    else:
        assert torch.isfinite(body(None, torch.zeros(1, 24, 3)).vertices).all()
