"""The DeepMimic environment with the SMPL body: one shape, a different one in each world, and physics that differs too."""

from __future__ import annotations

import warnings

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import mprl  # noqa: F401  registers the environments
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.randomisation import RANGES
from mprl.errors import SettingError, UnknownNameError
from mprl.motion import MotionClip, MotionLibrary, SmplCharacter, load
from mprl.motion.contacts import body_clearance
from mprl.motion.retarget import retarget
from mprl.motion.shapes import Shapes

ID = "mprl/DeepMimic-v0"
SHAPES = np.array([[1.0, *[0.0] * 9], [-0.8, *[0.3] * 9], [0.0, 1.0, -1.0, *[0.0] * 7]])


@pytest.fixture(scope="module")
def walk() -> MotionClip:
    return retarget(load("walk"), SmplCharacter())


@pytest.fixture
def make(walk):
    def made(worlds: int = 4, **settings) -> DeepMimicVectorEnv:
        return DeepMimicVectorEnv(worlds, **{"motion": walk, "character": "smpl", "num_threads": 1, **settings})

    return made


def zero(env: DeepMimicVectorEnv) -> np.ndarray:
    return np.zeros((env.num_envs, env.single_action_space.shape[0]), np.float32)


# --------------------------------------------------------------------------------------------------------------------------- one shape


@pytest.mark.slow
def test_it_is_the_same_environment():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*infinity", module="gymnasium")
        env = gym.make(ID, character="smpl", motion="walk")
        check_env(env.unwrapped, skip_render_check=True)
    assert type(env.unwrapped) is type(gym.make(ID).unwrapped)
    assert env.action_space.shape == (69,)


@pytest.mark.slow
def test_the_shipped_walk_is_retargeted_and_zero_actions_follow_it():
    env = DeepMimicVectorEnv(32, character="smpl", autoreset_mode="DISABLED", num_threads=1)
    env.reset(seed=0, options={"phase": np.arange(32) / 32})
    for _ in range(10):
        _, reward, terminated, *_ = env.step(zero(env))
        assert not terminated.any()
    assert reward.mean() > 0.9


@pytest.mark.slow
def test_betas_shape_the_body(make):
    tall, short = make(1, betas=SHAPES[0]), make(1, betas=SHAPES[1])
    assert tall.model.body_mass.sum() > short.model.body_mass.sum()
    reference = [env.reference() for env in (tall, short)]
    assert reference[0].root_position[0, 2] > reference[1].root_position[0, 2]
    for env in (tall, short):
        qpos = env.library.all_rows().qpos.double().numpy()
        assert abs(body_clearance(env.character, qpos).min()) < 0.003  # its feet reach the floor and no further


# ------------------------------------------------------------------------------------------------------- different shapes in one batch


@pytest.mark.slow
def test_the_reference_fits_every_world_s_own_body(make):
    """Against MuJoCo's kinematics of each world's model: bodies, centre of mass and its velocity."""
    env = make(6, betas=SHAPES)
    env.reset(seed=3)
    reference, plain = env.reference(), env.library.sample(env._clip, env.times)
    for world in range(6):
        model = env._models[world]
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = reference.qpos[world].numpy(), reference.qvel[world].numpy()
        mujoco.mj_forward(model, data)
        mujoco.mj_subtreeVel(model, data)
        np.testing.assert_allclose(reference.body_position[world], data.xpos[1:], atol=2e-4)
        np.testing.assert_allclose(reference.com[world], data.subtree_com[1], atol=2e-4)
        np.testing.assert_allclose(reference.com_velocity[world], data.subtree_linvel[1], atol=2e-3)
        other = env.bodies.others[world % 3]
        there, here = (
            body_clearance(other, data.qpos[None]).min(),
            body_clearance(env.character, plain.qpos[world : world + 1].numpy()).min(),
        )
        assert there == pytest.approx(here, abs=1e-3)  # as far above the floor as the mean body


@pytest.mark.slow
def test_worlds_take_the_shapes_in_turn_and_see_their_own(make):
    env = make(5, betas=SHAPES)
    observation, _ = env.reset(seed=0)
    assert observation.shape[1] == make(1).single_observation_space.shape[0] + 10
    np.testing.assert_allclose(observation[:, -10:], SHAPES[[0, 1, 2, 0, 1]], atol=1e-6)
    mass = env.simulation.expand("body_mass").sum(dim=1)
    expected = [other.model.body_mass.sum() for other in SmplCharacter().others(SHAPES)]
    np.testing.assert_allclose(mass, [expected[i] for i in (0, 1, 2, 0, 1)], rtol=1e-9)


@pytest.mark.slow
def test_random_shapes_are_the_same_each_time_and_within_bounds(make):
    first, second = make(3, betas="random 2"), make(2, betas="random 2")
    assert torch.equal(first._betas[:2], second._betas) and not torch.equal(first._betas[0], first._betas[1])
    assert first._betas.abs().max() <= 3


def test_perfect_imitation_earns_everything_on_every_body(make):
    env = make(3, betas=SHAPES, autoreset_mode="DISABLED")
    env.reset(seed=0)
    everyone = torch.ones(3, dtype=torch.bool)

    def step(substeps: int) -> None:
        reference = env._sampled(slice(None), env.times + env.control_step)
        env.simulation.reset(everyone, reference.qpos.double(), reference.qvel.double())

    env.simulation.step = step  # type: ignore[method-assign]
    for _ in range(5):
        _, reward, *_ = env.step(zero(env))
    np.testing.assert_allclose(reward, 1.0, atol=1e-3)


def test_zero_actions_follow_the_walk_on_every_body(make):
    env = make(24, betas=SHAPES, autoreset_mode="DISABLED", contact_termination=False)
    env.reset(seed=0, options={"phase": np.arange(24) / 24})
    for _ in range(8):
        _, reward, *_ = env.step(zero(env))
    assert reward.mean() > 0.9


def test_a_library_of_one_s_own_body_is_left_as_it_is(walk):
    """The mean body among the shapes gets the library's own reference."""
    character = SmplCharacter()
    library = MotionLibrary([walk], character)
    shapes = Shapes(library, [character], torch.zeros(3, dtype=torch.long))
    clip, times = torch.zeros(3, dtype=torch.long), torch.tensor([0.1, 0.5, 2.3])
    plain, fitted = library.sample(clip, times), shapes.fit(library.sample(clip, times), clip, times, slice(None))
    for name in ("root_position", "qvel", "body_position", "com", "com_velocity"):
        torch.testing.assert_close(getattr(fitted, name), getattr(plain, name), rtol=0, atol=2e-4, msg=name)


# ------------------------------------------------------------------------------------------------------------------ randomised physics


def physics(env: DeepMimicVectorEnv) -> list[torch.Tensor]:
    return [env.simulation.expand(field).clone() for field in ("body_mass", "geom_friction", "actuator_gainprm", "actuator_forcerange")]


@pytest.mark.slow
def test_physics_is_drawn_from_its_ranges_and_from_the_seed(make):
    env, nominal = make(64, randomize=True), make(1)
    env.reset(seed=1)
    first = physics(env)
    mass, friction, gain, _ = (a[:, 1:2].flatten(1)[:, 0] / b[0, 1:2].flatten()[0] for a, b in zip(first, physics(nominal), strict=True))
    for name, factor in (("mass", mass), ("friction", friction), ("gain", gain)):
        low, high = RANGES[name]
        assert low <= factor.min() < low + 0.3 * (high - low) and high - 0.3 * (high - low) < factor.max() <= high
    env.reset()
    assert all(map(torch.equal, first, physics(env)))  # a world keeps its physics
    env.reset(seed=2)
    assert not any(map(torch.equal, first, physics(env)))
    env.reset(seed=1)
    assert all(map(torch.equal, first, physics(env)))


def test_nothing_else_is_drawn(make):
    env = make(4, randomize={"friction": (0.5, 0.6)})
    env.reset(seed=0)
    assert torch.equal(env._randomisation.factors[:, [0, 2, 3]], torch.ones(4, 3))


def test_a_state_holds_the_physics(make):
    """A second environment goes on bit for bit."""
    env, other = (make(3, betas=SHAPES, randomize=True, output="torch") for _ in range(2))
    env.reset(seed=5)
    actions = 0.1 * torch.randn(12, 3, 69, generator=torch.Generator().manual_seed(0))
    for action in actions[:6]:
        env.step(action)
    other.reset(seed=9)
    other.set_state(env.get_state())
    for action in actions[6:]:
        one, two = env.step(action), other.step(action)
        assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_a_weaker_body_is_held_to_its_own_torque_limit(make):
    env = make(2, randomize={"strength": (0.5, 0.5)})
    env.reset(seed=0)
    centre = env._actuator_length.float() + env.layout.lag * env._actuator_velocity.float()
    reach = (env._within_torque_limits(centre + 100.0) - centre) / env.layout.reach
    torch.testing.assert_close(reach, torch.full_like(reach, 0.5), rtol=1e-4, atol=0)


# --------------------------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"betas": [0.0] * 11}, SettingError, "betas: expected 10 numbers for a body, found 11"),
        ({"betas": [[0.0] * 9] * 2}, SettingError, "betas: expected 10 numbers for a body, found 9"),
        ({"betas": [float("nan")] * 10}, SettingError, "betas: expected finite numbers, found NaN or infinity"),
        ({"betas": "fat"}, SettingError, "betas: expected 10 numbers, rows of them, 'random' or 'random SPREAD' (0 to 3), found 'fat'"),
        ({"gender": "mael"}, UnknownNameError, "no gender named 'mael'; did you mean 'male'? (known: neutral, female, male)"),
        ({"character": "smlp"}, UnknownNameError, "no character named 'smlp'; did you mean 'smpl'? (known: humanoid, smpl, or the path of"),
        ({"character": "humanoid", "betas": [0.0] * 10}, SettingError, "betas: the character 'humanoid' has one shape"),
        ({"character": 7}, SettingError, "character must be a name, an MJCF file or a Character, found 7"),
        (
            {"randomize": {"colour": (0, 1)}},
            UnknownNameError,
            "no randomised quantity named 'colour' (known: mass, friction, gain, strength)",
        ),
        ({"randomize": {"mass": (2, 1)}}, SettingError, "randomize: mass must be two rising factors above 0"),
        ({"randomize": "mass"}, SettingError, "randomize: expected True or a dictionary"),
    ],
)
def test_mistakes_are_told_in_one_line(make, settings, error, message):
    with pytest.raises(error) as caught:
        make(1, **settings)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
