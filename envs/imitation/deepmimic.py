"""The DeepMimic environment: a simulated character learns to imitate reference motion (Peng et al. 2018, arXiv 1804.02717).

`DeepMimicVectorEnv` is the environment, many worlds at once; `DeepMimicEnv` is the same with one world and Gymnasium's
single-environment interface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor
from torch.nn.functional import pad

from mprl.devices import available
from mprl.envs.imitation import by_clip, checks, evaluation, observations, push, terminations
from mprl.envs.imitation.bodies import bodies, fitted, on_the_floor, reshape
from mprl.envs.imitation.ground import Ground
from mprl.envs.imitation.layout import CONTROL_RATE, PHYSICS_RATE, Layout, simulated
from mprl.envs.imitation.metrics import Policy
from mprl.envs.imitation.observations import Targets
from mprl.envs.imitation.perturbations import LONGEST_LATENCY, Latency, Pushes, pushing_of, range_of
from mprl.envs.imitation.randomisation import Randomisation, ranges_of
from mprl.envs.imitation.rewards import REWARDS, Motion
from mprl.envs.imitation.sampling import Starts, adaptive_of
from mprl.envs.imitation.sensor import Worlds
from mprl.envs.imitation.sensors import Sensors, put, settings_of
from mprl.envs.imitation.single import SingleWorld
from mprl.envs.imitation.tasks import Scene, Task
from mprl.envs.imitation.terrain import Terrain
from mprl.errors import ActionError, SettingError, unknown_name
from mprl.motion import MotionClip, MotionLibrary, Reference
from mprl.motion.characters.character import Character
from mprl.simulation.backends import make_simulation
from mprl.simulation.cpu import CpuSimulation
from mprl.simulation.graphs import Captured, CudaRecorder
from mprl.simulation.rendering import Marker

# rad around the clips' mean pose at an action of 1
ABSOLUTE_SCALE = 1.5

# control steps between two looks at what went wrong in the simulation: the only time that a GPU is waited for
CHECK_EVERY = 32

MotionSource = str | Path | MotionClip
_ALL = slice(None)
_RESET_OPTIONS = ("phase", "clip", "joint_noise", "place", "reset_mask")


class DeepMimicVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """Many worlds of a humanoid that imitates one motion or a library of them.

    ## Character
    Physics at 120 Hz, control at 30 Hz. World z up, x forward.

    | `character` | |
    |---|---|
    | `"humanoid"` (default) | DeepMimic's: 15 bodies, 45 kg, 8 ball joints and 4 hinges with 28 actuated degrees of freedom (`motion/characters/humanoid.xml`) |
    | `"smpl"` | the SMPL body of any shape: 24 bodies, 23 ball joints with 69 actuated degrees of freedom (`motion/characters/smpl.py`); clips of other skeletons are retargeted to it when they are loaded |
    | a path | a model of your own (`motion/characters/mjcf.py`), for which `motion` is a clip |
    | a `Character` | as it is: `SmplCharacter(body=SmplBody.load("smpl", gender="female"))`, say |

    **Different bodies in one batch** (`"smpl"` only): `betas` of shape (N, 10) give world w the shape in row w mod N; `"random"`, or
    `"random 1.5"` with another standard deviation, draws up to 256 shapes, the same ones each time. Masses, lengths, shapes, strengths and
    the reference are then each world's own: rotations as in the clip, the root's path scaled with the length of the legs, the feet as
    far above the floor as the mean body's.

    **Randomised physics**: `randomize={"mass": (0.8, 1.2), ...}` multiplies each world's numbers by factors drawn uniformly, when `reset` is
    given a seed and before the first step. They stay as they are from episode to episode, and are part of `get_state`.

    | | multiplied | with `randomize=True` |
    |---|---|---|
    | `mass` | mass and inertia of all bodies | .8 to 1.2 |
    | `friction` | sliding friction and the others of all surfaces | .5 to 1.25 |
    | `gain` | stiffness and damping of the PD controllers | .8 to 1.2 |
    | `strength` | torque limits | .8 to 1.2 |

    **Perturbations** (`perturbations.py`): `latency=.03`, or a range from which each world's is drawn as the factors above are, lets PD targets
    arrive that many seconds late. `pushes=True`, or `{"force": (0, 200), "seconds": .2, "every": (1, 3)}` with other numbers, pushes the root
    with so many newtons in a horizontal direction, for so long and so often, each drawn uniformly for each push.

    ## Action
    `Box(-1, 1, (28,))` ((69,) of the SMPL body), values beyond are clipped. Targets of the PD controllers in the exponential map: rotation
    vectors of the ball joints (of the SMPL body: its axis-angle pose) and angles of the hinges, in the order of the model's actuators.

    | `action_mode` | target, rad |
    |---|---|
    | `"residual"` (default) | the reference one control step ahead, with a lead that makes up for the joints' damping and adds the torque that the motion asks for (target = q + (kd dq/dt + torque) / kp by inverse dynamics, `motion/dynamics.py`), + 0.5 x action (SMPL body: 0.3) |
    | `"absolute"` | the clips' mean pose + 1.5 x action |

    Once a control step each target is moved to where the whole torque of its actuator, kp (target - q) - kd dq/dt, is within the
    limit of the release's table, on each axis of a ball joint.

    ## Observation
    `Box(-inf, inf, (n,))`, float32; n = 108 + 37 x len(`target_frames`) (SMPL body: 241 + 78 x; + 2 with `phase_observation`; + 10 where
    bodies differ: each world's betas), in the heading frame
    (`envs/imitation/observations.py` gives the order): root height, rotation and velocities; ball joints as 6-D rotations, hinge
    angles, joint velocities x .1; hands, feet and head; and for each target frame the reference's root relative to the
    character's and its joints. `phase_observation` adds (sin, cos) of the clip's phase; `velocity_observation=False` leaves out
    the velocities of the root and the joints (34 numbers; SMPL body: 75), which a memory can make up for.

    **Sensors**: with `sensors=("imu", "height_scan")`, or `{"imu": {"gyroscope_noise": 0.02}, ...}` with settings, the observation is a
    `Dict`: `"state"`, as above, and what each sensor reads, `Box(-inf, inf, shape)`, float32. With `flat_observation` it is one
    vector, the readings after the state.

    | sensor | shape | reading | settings, and their defaults |
    |---|---|---|---|
    | `"imu"` | (6, 12) | of each body: orientation (6-D), angular rate, rad/s, and specific force, m/s², gravity included (9.81 upwards at rest), both in the sensor's axes (`imu.py`) | `bodies` (forearms, shanks, head, root); `frame` "heading", "root", "world"; `representation` "6d", "quaternion"; `gyroscope_noise`, `accelerometer_noise`, `orientation_noise`, `gyroscope_drift`, `accelerometer_drift`, `misplacement`, `misalignment` 0 |
    | `"keypoints_3d"` | (15, 4) | x, y, z of each joint, m, and 1; zeros where missed (`keypoints.py`) | `bodies` (all); `frame` "heading", "root", "world"; `noise`, `dropout` 0 |
    | `"keypoints_2d"` | (15, 3) | x to the right and y down, pixels, in a pinhole camera's picture, and 1; zeros where not seen | `bodies` (all); `width`, `height` 256; `fovy` 45; `lookat` (the root: the camera comes along), `azimuth` 90, `elevation` -10, `distance` 3.5; `noise`, `dropout` 0; `occlusion` False |
    | `"height_scan"` | (17, 11) | z of the ground less z of the root, m, on a grid that turns with the heading; row 0 is furthest ahead, column 0 furthest left (`height_scan.py`) | `rows`, `columns`; `spacing` .1; `ahead` .4; `limit` 2; `noise` 0; `rays` False |

    Noise is drawn once a control step, from the environment's own generator; it is part of `get_state`.

    ## Terrain
    One surface of 48 m x 24 m from (0, 0), which all worlds share; they begin at different places (`terrain.py`). At `difficulty` d = 0
    it is level. A `Terrain` of your own does too.

    | `terrain` | |
    |---|---|
    | `"flat"` (default) | the endless floor |
    | `"slopes"` | ramps of 3 to 6 m along x, up and down, half to fully as steep as .35 d |
    | `"stairs"` | flights of 4 to 8 steps, up and down, .35 m deep and .18 d m high, with landings of 1.6 to 2.4 m |
    | `"gaps"` | ditches across the way, .6 d m wide and .5 m deep, every 1.2 to 2.4 m |
    | `"rough"` | heights uniform in 0 to .12 d m, .25 m apart |

    The reference walks on a smooth surface just above the ground, and across gaps, as it would on the floor: its root as high above it as
    in the clip, its feet not bent to the slope. Heights and vertical speeds in observations, rewards and terminations are relative to
    that surface below the root, so that on level ground nothing changes.

    ## Reward
    In [0, 1], 1 for perfect imitation. `reward="release"` (default) is that of the authors' code, `"paper"` the printed one,
    `"mimickit"` that of their later framework (`envs/imitation/rewards.py`). A step that ends in failure earns 0. With `reference_sync` (default, as in the release) the
    reference's horizontal root position is set to the character's at the start of each new cycle.

    ## Start of an episode
    Reference state initialisation: a clip and a phase, uniform over the clips' time. With `clip_weights` clips begin in proportion to
    these, each one still uniform over its time. `adaptive_sampling=True` begins more often where the character fails (`sampling.py`), or
    `{"uniform": .1, "bin_seconds": 1, "decay": .001, "lookahead": 2, "discount": .8}` with other numbers; what it has learned of that is
    part of `get_state`. `reset(options={"phase": p, "clip": c,
    "joint_noise": s, "place": (x, y)})` chooses the phase in [0, 1) and the clip (a number or one per world), adds normal noise of s rad
    to the joints, and says where the root begins, m (for all worlds or one for each); `{"reset_mask": mask}` resets only some worlds (in autoreset mode DISABLED).

    ## End of an episode
    | | when |
    |---|---|
    | terminated | a body other than `contact_bodies` (default: the feet, and what touches it in the world's clip; all where it lies down) touches the ground, unless `contact_termination=False` |
    | terminated | a body is over `tracking_termination` m (default .4; None: never) off its reference |
    | terminated | the physics diverged; the world is reported and reset |
    | truncated | `time_limit` seconds (default 20) have passed |
    | truncated | the root is within 1 m of the terrain's border |
    | truncated | a clip that does not loop has ended (the authors' code calls this a failure; here the value beyond is bootstrapped) |

    ## Info
    Arrays (num_envs,): `reward_<term>` (each in (0, 1], unweighted), `tracking_error` (mean body distance, m),
    `local_tracking_error` (the same relative to the root), `saturation` (share of actuators held at their torque limit), `phase`, `clip`,
    `terminated_contact`, `terminated_tracking`, `terminated_diverged`, `truncated_time`, `truncated_clip_end`, and on terrain `truncated_edge`. Where an episode
    ended under SAME_STEP, `final_obs` (a full array, or a dictionary of them) and the mask `_final_obs`.

    Args:
        num_envs: number of worlds.
        motion: name of a shipped clip (`mprl list motions`), a motion file, a folder of them, "all" shipped clips, a `MotionClip`, or a
            list of these: a library.
        reward: "release", "paper" or "mimickit".
        action_mode: "residual" or "absolute".
        target_frames: how many control steps ahead the reference is shown.
        phase_observation: show the phase.
        contact_termination: end an episode when a body that must not touches the ground.
        contact_bodies: bodies that may touch the ground; by default the feet, and those that touch it in the world's clip (a cartwheel's hands).
        tracking_termination: distance of any body from its reference that ends an episode, m; None: any distance is allowed.
        time_limit: seconds until truncation.
        reference_sync: move the reference below the character at each new cycle.
        output: "numpy", or "torch" for tensors on the device without a copy.
        autoreset_mode: NEXT_STEP (default for numpy), SAME_STEP (default for torch) or DISABLED.
        device: "cpu", "cuda", "cuda:0", ...
        backend: what simulates: "mujoco" on a CPU, "warp" on a GPU (and, slowly, on a CPU); "auto" goes by the device.
        num_threads: of the simulation; 0 for all cores. Results do not depend on it.
        cuda_graphs: on a GPU, capture the whole step after a few. A task or sensor of your own must then keep what lives from step to
            step in tensors, and ask the device nothing.
        render_mode: "rgb_array": `render()` gives frames (height, width, 3) uint8 of the first `render_worlds` worlds, the
            reference as a translucent figure.
        render_worlds: how many worlds `render()` shows; by default all of up to 9, else one.
        width, height: of a frame, pixels.
        max_episode_steps: control steps until truncation, instead of `time_limit`.
        character: "humanoid", "smpl", an MJCF file of your own, or a `Character`.
        betas: shape of the SMPL body: 10 numbers, rows of them for different bodies in one batch, or "random" ("random 1.5").
        gender: "neutral", "female" or "male": of SMPL's own files; the free body is neutral.
        randomize: physics that differs between worlds: {"mass": (0.8, 1.2), ...}, or True for all of the table above.
        terrain: "flat", "slopes", "stairs", "gaps", "rough", or a `Terrain`.
        difficulty: of generated terrain, in [0, 1].
        terrain_seed: of where its steps, ramps and gaps are.
        velocity_observation: show the velocities of the root and the joints.
        sensors: what else is observed: names, or {name: settings}, of the table above.
        flat_observation: one vector in place of a dictionary.
        clip_weights: how often episodes begin in each clip of a library; by default in proportion to its length.
        adaptive_sampling: begin episodes more often where the character fails: True, or a dictionary of settings.
        latency: by how many seconds PD targets are late, or a range of it.
        pushes: push the root at random moments: True, or a dictionary of ranges.

    Raises:
        MprlError: one line, for anything a user can get wrong.

    ## Versions
    v0: first.
    """  # noqa: E501

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_RATE, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        motion: MotionSource | Sequence[MotionSource] = "walk",
        reward: str = "release",
        action_mode: Literal["residual", "absolute"] = "residual",
        target_frames: Sequence[int] = (1, 2, 4),
        phase_observation: bool = False,
        contact_termination: bool = True,
        contact_bodies: Sequence[str] | None = None,
        tracking_termination: float | None = 0.4,
        time_limit: float = 20.0,
        reference_sync: bool = True,
        output: Literal["numpy", "torch"] = "numpy",
        autoreset_mode: AutoresetMode | str | None = None,
        device: str | torch.device = "cpu",
        backend: str = "auto",
        num_threads: int = 0,
        cuda_graphs: bool = True,
        render_mode: str | None = None,
        render_worlds: int | None = None,
        width: int = 640,
        height: int = 480,
        max_episode_steps: int | None = None,
        character: str | Path | Character = "humanoid",
        betas: Any = None,
        gender: str | None = None,
        randomize: Any = None,
        terrain: str | Terrain = "flat",
        difficulty: float = 0.5,
        terrain_seed: int = 0,
        velocity_observation: bool = True,
        sensors: Any = (),
        flat_observation: bool = False,
        clip_weights: Sequence[float] | None = None,
        adaptive_sampling: Any = False,
        latency: float | Sequence[float] = 0.0,
        pushes: Any = None,
    ) -> None:
        settings = {key: value for key, value in dict(locals()).items() if key not in ("self", "__class__")}
        checks.check(settings)
        self.device = available(device)
        randomized, wanted = ranges_of(randomize), settings_of(sensors)
        pushing, late = pushing_of(pushes), range_of("latency", latency, 0.0, LONGEST_LATENCY, "s")
        adaptive = adaptive_of(adaptive_sampling)
        self.terrain = checks.terrain(terrain, difficulty, terrain_seed)
        self.ground = Ground(self.terrain, self.device)
        self.bodies = bodies(character, betas, gender, num_envs)
        self.character: Character = self.bodies.character
        self._settings = settings
        if contact_bodies is not None:
            contact_bodies = (contact_bodies,) if isinstance(contact_bodies, str) else tuple(contact_bodies)
        for body in contact_bodies or ():
            if body not in self.character.body_names:
                raise unknown_name("body", body, self.character.body_names, f"bodies of the {self.character.name}")
        self.library = MotionLibrary([fitted(clip, self.character) for clip in checks.clips(motion)], self.character, self.device)
        self._starts = Starts(self.library, clip_weights, adaptive)

        if contact_bodies is None:
            may_touch = on_the_floor(self.library, self.character)
        else:
            may_touch = np.isin(self.character.body_names, contact_bodies)[None].repeat(len(self.library), axis=0)

        self.num_envs = num_envs
        self.output = output
        self.cuda_graphs = cuda_graphs
        self.render_mode = render_mode
        self._reward = REWARDS[reward]
        self.control_step = 1.0 / CONTROL_RATE
        self.action_mode = action_mode
        self.contact_termination = contact_termination
        self.tracking_termination = tracking_termination
        self.reference_sync = reference_sync
        self.phase_observation, self.velocity_observation = phase_observation, velocity_observation
        self.max_episode_steps = max_episode_steps or max(1, round(time_limit * CONTROL_RATE))
        self._render_size = (width, height)
        self._render_worlds = min(render_worlds or (num_envs if num_envs <= 9 else 1), num_envs)
        self._renderers: list[Any] = []

        self.simulation = make_simulation(simulated(self.character, self.terrain), num_envs, self.device, backend, num_threads)
        self._models, self._shapes = reshape(self.simulation, self.bodies, self.library, self.terrain)
        betas = self.bodies.betas if self.bodies.betas is not None else np.zeros((num_envs, 0))
        self._betas = torch.as_tensor(betas, dtype=torch.float32, device=self.device)
        self._randomisation = Randomisation(self.simulation, randomized) if randomized else None
        self.model = self.simulation.model
        # To ask what a tensor on a GPU holds (is any world to be reset, which?) is to wait for it. There, every world is computed
        # and masks choose; on a CPU it is faster to look and to compute only the worlds in question.
        self._looks = isinstance(self.simulation, CpuSimulation)
        self._unchecked = 0
        self._bad_action = torch.zeros((), dtype=torch.bool, device=self.device)
        bind = self.simulation.bind
        self._qpos, self._qvel, self._ctrl = bind("qpos"), bind("qvel"), bind("ctrl")
        self._actuator_length, self._actuator_velocity = bind("actuator_length"), bind("actuator_velocity")
        self.layout = Layout(self.character, self.simulation, may_touch, self.ground)
        # the PD target of a residual action is the reference one control step ahead, shown or not
        look = tuple(target_frames) if target_frames[0] == 1 else (1, *target_frames)
        self._look = torch.tensor(look, device=self.device) * self.control_step
        self._shown = slice(len(look) - len(target_frames), None)
        everything = torch.arange(len(self.library), device=self.device)
        mean = self.library.sample(everything, 0.5 * self.library.durations).control.mean(dim=0)
        self._absolute_offset = mean if action_mode == "absolute" else None
        self._task = self._make_task()
        self._steering = self._task.steering if self._task is not None else None

        balls, hinges = len(self.character.ball_joints), len(self.character.hinge_joints)
        length = observations.size(
            balls, hinges, self.model.nv, self.model.nu, len(self.layout.key_bodies), len(target_frames), velocity_observation
        )
        length += self._betas.shape[1] + 2 * phase_observation + (self._task.size if self._task is not None else 0)
        self._sensors = Sensors(wanted, Worlds(self.simulation, self.character, self.ground, self.control_step), flat_observation)
        self.single_observation_space = self._sensors.space(gym.spaces.Box(-np.inf, np.inf, (length,), np.float32))
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (self.model.nu,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._random = torch.Generator(self.device)
        self._random.seed()  # by chance, until a reset brings a seed
        self._clip = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._start = torch.zeros(num_envs, device=self.device)
        self._steps = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._cycle = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._offset = torch.zeros(num_envs, 3, device=self.device)
        self._drawn = False  # whether physics has been randomised
        self._pushes = None if pushing is None else Pushes(pushing, num_envs, self.control_step, self.device)
        self._pending = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._next_control = torch.zeros(num_envs, self.model.nu, device=self.device)
        self._latency = Latency(late, self.control_step, self._next_control) if any(late) else None
        self._new_qpos, self._new_qvel = torch.zeros_like(self._qpos), torch.zeros_like(self._qvel)
        self._sense(_ALL)
        default = AutoresetMode.SAME_STEP if output == "torch" else AutoresetMode.NEXT_STEP
        self.set_autoreset_mode(default if autoreset_mode is None else autoreset_mode)

    def _make_task(self) -> Task | None:
        """The goal beside imitation; here none."""
        return None

    # --- Gymnasium ----------------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        options = dict(options or {})
        if seed is not None:
            self._random.manual_seed(seed)
            self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)
        mask = options.pop("reset_mask", None)
        mask = torch.ones_like(self._pending) if mask is None else torch.as_tensor(mask, dtype=torch.bool, device=self.device)
        if mask.shape != self._pending.shape:
            raise SettingError(f"reset_mask must have shape ({self.num_envs},), found {tuple(mask.shape)}")
        for key in options:
            if key not in _RESET_OPTIONS:
                raise unknown_name("reset option", key, _RESET_OPTIONS, f"known: {', '.join(_RESET_OPTIONS)}")
        if seed is not None or not self._drawn:
            for drawn in (self._randomisation, self._latency):
                if drawn is not None:
                    drawn.draw(self._random)
            self._drawn = True
        self._reset_worlds(mask, **options)
        self._pending = self._pending & ~mask
        self._ready = True
        return self._out(self._observe(_ALL)), {"phase": self._out(self.phase), "clip": self._out(self._clip.clone())}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if not self._ready:
            raise gym.error.ResetNeeded("call reset() before step()")
        self._unchecked += 1
        if self._unchecked >= CHECK_EVERY:
            self.check()
        stepped = (self._advance if self._captured is None else self._captured)(self._checked(actions))
        return tuple(map(self._out, stepped))

    def _advance(self, action: Tensor) -> tuple[Any, Tensor, Tensor, Tensor, dict[str, Any]]:
        """`step` in tensors, of actions in [-1, 1]. On a GPU it is captured: it asks the device nothing and keeps nothing in Python."""
        wanted = self._targets(action)
        if self._latency is not None:
            wanted = self._latency.delay(wanted, self._steps == 0)
        if self._pushes is not None:
            self.simulation.apply_force(1, self._pushes.advance(self._random))  # 1 is the root, 0 the world
        control = self._within_torque_limits(wanted)
        self._ctrl.copy_(control)
        self.simulation.step(PHYSICS_RATE // CONTROL_RATE)
        self._steps += 1
        if self._steering is not None:
            self._start += self._steering.advance()
        self._sense(_ALL)
        self._sensors.advance(self._random)
        times = self.times
        reference = self._synchronised(self._sampled(_ALL, times), times)
        reward, values = self._reward(self._character(), self._as_motion(reference), self.layout.joint_weights)
        goal: dict[str, Tensor] = {}
        if self._task is not None:
            scene = self._scene()
            goal = {"reward_goal": self._task.reward(scene), **self._task.info(scene)}
            reward = torch.lerp(reward, goal["reward_goal"], self._task.weight)
            self._task.advance(scene, self._random)

        difference = self._now.bodies - reference.body_position
        error = torch.linalg.vector_norm(difference, dim=-1)
        local_error = torch.linalg.vector_norm(difference - difference[:, :1], dim=-1)
        never = torch.zeros_like(self._pending)
        failures = {"terminated_diverged": self.simulation.diverged.clone(), "terminated_contact": never, "terminated_tracking": never}
        if self.contact_termination:
            touching = self.simulation.contacts(self.layout.fall_bodies)
            failures["terminated_contact"] = terminations.forbidden_contact(touching, self.layout.falls[self._clip])
        if self.tracking_termination is not None:
            failures["terminated_tracking"] = terminations.tracking_lost(error, self.tracking_termination)
        terminated = terminations.any_of(failures)
        ends = {
            "truncated_time": terminations.time_is_up(self._steps, self.max_episode_steps),
            "truncated_clip_end": terminations.clip_ended(
                times, self.library.durations[self._clip], self.library.cyclic[self._clip], self.control_step
            ),
        }
        if not self.ground.flat:
            ends["truncated_edge"] = self.ground.beyond(self._now.root_position)
        truncated = terminations.any_of(ends) & ~terminated
        reward = reward.masked_fill(terminated, 0.0)
        saturation = (control != wanted).float().mean(dim=-1)
        info = dict(zip((f"reward_{name}" for name in self._reward.terms), values.unbind(), strict=True))
        info |= {"tracking_error": error.mean(-1), "local_tracking_error": local_error.mean(-1), "saturation": saturation}
        info |= {"phase": self.library.phase(self._clip, times), "clip": self._clip.clone(), **goal, **failures, **ends}

        self._starts.record(self._clip, info["phase"], terminated, ~self._pending)
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and self._may_hold(self._pending):
            # worlds that ended a step ago do not step, they are reset: nothing is earned, nothing ends
            stepped = ~self._pending
            reward, terminated, truncated = reward * stepped, terminated & stepped, truncated & stepped
            info |= {key: value & stepped if value.dtype == torch.bool else value * stepped for key, value in info.items() if key != "clip"}
            self._reset_worlds(self._pending)
        ended = terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            observation = self._observe(_ALL)
            if self._may_hold(ended):
                info["final_obs"], info["_final_obs"] = observation, ended
                self._reset_worlds(ended)
                worlds = self._where(ended)
                observation = put(observation, worlds, self._observe(worlds))
        else:
            observation = self._observe(_ALL)
            self._pending = ended
        return observation, reward, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            gym.logger.warn('render() needs render_mode="rgb_array" when the environment is made')
            return None
        if not self._renderers:
            from mprl.simulation.rendering import SceneRenderer

            width, height = self._render_size
            self._renderers = [SceneRenderer(model, width, height, ghost=True) for model in self._models[: self._render_worlds]]
        reference = self.reference_qpos()
        return tuple(
            renderer.render(_host(self._qpos[i]), _host(reference[i]), self.markers(i)) for i, renderer in enumerate(self._renderers)
        )

    def close_extras(self, **kwargs: Any) -> None:
        for renderer in self._renderers:
            renderer.close()
        self._renderers = []

    # --- for agents, checkpoints and evaluation -----------------------------------------------------------------------------

    @property
    def times(self) -> Tensor:
        """Where in its clip each world is, counted on over cycles, (W,) s."""
        return self._start + self._steps * self.control_step

    @property
    def clip(self) -> Tensor:
        """Which clip of the library each world imitates, (W,) int64."""
        return self._clip

    @property
    def phase(self) -> Tensor:
        """The clip's phase, (W,) in [0, 1)."""
        return self.library.phase(self._clip, self.times)

    def reference_qpos(self) -> Tensor:
        """The reference as MuJoCo positions, (W, nq): where it is seen, above the terrain."""
        return self.ground.lifted(self.reference()).qpos

    def reference(self) -> Reference:
        """What the characters should be doing now, where they have come to (see `reference_sync`), levelled (`ground.Ground`)."""
        return self._steered(self._sampled(_ALL, self.times)).moved(self._offset)

    def markers(self, world: int) -> list[Marker]:
        """What a picture of a world shows beside the character and its reference."""
        if self._task is None:
            return []
        lift = float(self.ground.guide(self._now.root_position)[0][world])
        raised = lambda point: (point[0], point[1], point[2] + lift)  # noqa: E731
        return [mark._replace(position=raised(mark.position), end=raised(mark.end)) for mark in self._task.markers(self._scene(), world)]

    def body_positions(self) -> tuple[Tensor, Tensor]:
        """Body origins of the characters and of the reference, levelled, (W, B, 3) m each."""
        return self._now.bodies, self.reference().body_position

    def motions(self) -> tuple[Motion, Motion]:
        """What rewards compare: the characters and the reference."""
        return self._character(), self._as_motion(self.reference())

    def set_autoreset_mode(self, mode: AutoresetMode | str) -> None:
        """Change how worlds are reset; the next call must be `reset`."""
        self.autoreset_mode = checks.autoreset(mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self._ready = False
        captures = self.device.type == "cuda" and self.cuda_graphs
        self._captured = Captured(self._advance, self, CudaRecorder(self.device, (self._random,))) if captures else None

    def get_state(self) -> dict[str, Tensor]:
        """Everything that the future depends on, random generator included."""
        state = {name: value.clone() for name, value in self._kept().items()}
        if self._randomisation is not None:
            state["factors"] = self._randomisation.factors.clone()
        return {**state, "simulation": self.simulation.state(), "random": self._random.get_state()}

    def set_state(self, state: dict[str, Tensor]) -> Any:
        """Continue from what `get_state` returned, bit for bit; returns the observation."""
        for name, value in self._kept().items():
            value.copy_(state[name])
        if self._randomisation is not None:
            self._randomisation.set(state["factors"])
        self._drawn = True
        self.simulation.set_state(state["simulation"])
        self._random.set_state(state["random"])
        self._ready = True
        self._sense(_ALL)
        return self._out(self._observe(_ALL))

    def evaluate(self, policy: Policy, episodes: int = 32, seed: int = 0, video: str | Path | None = None) -> dict[str, Any]:
        """Judge a policy by the metrics of imitation in worlds of their own: `envs/imitation/evaluation.py`."""
        return evaluation.evaluate(self, policy, episodes, seed, video)

    def evaluate_clips(self, policy: Policy, repeats: int = 3, seed: int = 0) -> dict[str, Any]:
        """Judge a policy on each clip of the library by PHC's definitions: `envs/imitation/by_clip.py`."""
        return by_clip.judge(self, policy, repeats, seed)

    def evaluate_pushes(self, policy: Policy, most: float = 1000.0, clip: int = 0) -> dict[str, Any]:
        """Find the greatest push that a policy survives in each direction: `envs/imitation/push.py`."""
        return push.push_test(self, policy, most, clip)

    def check(self) -> dict[str, int]:
        """Report what went wrong in the simulation since the last call; `step` does so every 32 control steps.

        Returns:
            See `Simulation.check`.

        Raises:
            ActionError: on a GPU, where to look at every action would be to wait for it: some were not finite.
        """
        self._unchecked = 0
        if not self._looks and self._bad_action:
            self._bad_action.zero_()
            raise ActionError("actions must be finite, found NaN or infinity in one of the last steps")
        return dict(self.simulation.check())

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _kept(self) -> dict[str, Tensor]:
        """The tensors of the environment's own that the future depends on, those of its parts included."""
        names = ("clip", "start", "steps", "cycle", "offset", "pending", "next_control")
        kept = {name: getattr(self, f"_{name}") for name in names}
        kept |= {f"task_{name}": value for name, value in (self._task.state() if self._task is not None else {}).items()}
        parts: dict[str, Any] = {"sensor": self._sensors, "sampling": self._starts, "latency": self._latency, "push": self._pushes}
        return kept | {
            f"{part}_{name}": value for part, owner in parts.items() if owner is not None for name, value in owner.state().items()
        }

    def _checked(self, actions: Any) -> Tensor:
        action = torch.as_tensor(actions, dtype=torch.float32, device=self.device)
        expected = (self.num_envs, self.model.nu)
        if action.shape != expected:
            raise ActionError(f"expected actions of shape {expected}, found {tuple(action.shape)}")
        if not self._looks:
            self._bad_action |= ~torch.isfinite(action).all()
        elif not torch.isfinite(action.sum()):  # one reduction; a sum of finite actions in reach of the clip is finite
            bad = (~torch.isfinite(action)).any(dim=-1).nonzero()
            if len(bad):
                raise ActionError(f"actions must be finite, found NaN or infinity in world {int(bad[0])}")
        return action.clamp(-1.0, 1.0)

    def _targets(self, action: Tensor) -> Tensor:
        if self._absolute_offset is not None:
            return self._absolute_offset + ABSOLUTE_SCALE * action
        return self._next_control + self.character.residual_scale * action

    def _within_torque_limits(self, target: Tensor) -> Tensor:
        """The nearest targets at which kp (target - q) - kd dq/dt, the whole torque of each actuator, is within its limit.

        The model applies kd as joint damping, outside the actuators' own limit, because a saturated actuator would lose it
        (docs/decisions.md); so what damping takes from a moving joint is given back here, once a control step.
        """
        centre = torch.addcmul(self._actuator_length.float(), self.layout.lag, self._actuator_velocity.float())
        reach = self.layout.reach if self._randomisation is None else self.layout.reach * self._randomisation.reach
        return torch.clamp(target, centre - reach, centre + reach)

    def _may_hold(self, mask: Tensor) -> bool:
        """Whether there is anything to do for the masked worlds, as far as that can be known without waiting for a GPU."""
        return not self._looks or bool(mask.any())

    def _where(self, mask: Tensor) -> slice | Tensor:
        """The masked worlds to compute something for: their indices, or all of them where to look would be to wait."""
        return mask.nonzero().squeeze(-1) if self._looks else _ALL

    def _sense(self, worlds: slice | Tensor) -> None:
        """Read the simulation's state, of all worlds or of those at some indices."""
        fresh = self.layout.read(worlds)
        if isinstance(worlds, slice):
            self._now = fresh
        else:
            for mine, new in zip(self._now, fresh, strict=True):
                mine[worlds] = new

    def _character(self) -> Motion:
        return self.layout.motion(self._now)

    def _as_motion(self, reference: Reference) -> Motion:
        return self.layout.motion_of(reference)

    def _scene(self) -> Scene:
        now = self._now
        direction = observations.heading_of(now.rotations[:, 0])
        return Scene(
            now.root_position,
            direction,
            now.bodies,
            now.com_velocity,
            self._clip,
            self.phase,
            self.library.cycle(self._clip, self.times),
            self._offset,
        )

    def _sampled(self, worlds: slice | Tensor, times: Tensor) -> Reference:
        """The clips of some worlds at some times, on their own bodies."""
        clip = self._clip[worlds]
        reference = self.library.sample(clip, times)
        return reference if self._shapes is None else self._shapes.fit(reference, clip, times, worlds)

    def _steered(self, reference: Reference) -> Reference:
        return reference if self._steering is None else self._steering.reference(reference)

    def _synchronised(self, reference: Reference, times: Tensor) -> Reference:
        if self._steering is not None:
            self._steering.turn_about(reference.root_position)
        reference = self._steered(reference)
        if self.reference_sync:
            cycle = self.library.cycle(self._clip, times)
            gap = self._now.root_position - reference.root_position
            gap[:, 2].zero_()
            self._offset = torch.where((cycle > self._cycle).unsqueeze(-1), gap, self._offset)
            self._cycle = cycle
        return reference.moved(self._offset)

    def _observe(self, worlds: slice | Tensor) -> Any:
        """Observations of all worlds, or of those at some indices; keeps the next PD reference of each."""
        clip, times = self._clip[worlds].unsqueeze(-1), self.times[worlds].unsqueeze(-1)
        look = self._look if self._steering is None else self._steering.tempo[worlds].unsqueeze(-1) * self._look
        coming = self.library.sample_targets(clip.expand(-1, len(self._look)), times + look)
        if self._shapes is not None:
            coming = self._shapes.place(coming[0], clip.expand(-1, len(self._look)), times + look, worlds), *coming[1:]
        if self._steering is not None:
            coming = self._steering.coming(*coming, self._look / self.control_step, worlds)
        position, rotation, control, feedforward = coming
        self._next_control[worlds] = feedforward[:, 0]
        shown = self._shown
        targets = Targets(position[:, shown] + self._offset[worlds].unsqueeze(1), rotation[:, shown], control[:, shown])
        now = self._now.of(worlds)
        key_bodies = now.bodies.index_select(1, self.layout.key_bodies)
        observation = observations.observe(
            now.root_position, now.rotations, now.hinges, now.velocity if self.velocity_observation else None, key_bodies, targets
        )
        if self.phase_observation:
            angle = 2 * torch.pi * self.library.phase(clip, times)
            observation = torch.cat((observation, angle.sin(), angle.cos()), dim=1)
        if self._betas.shape[1]:
            observation = torch.cat((observation, self._betas[worlds]), dim=1)
        if self._task is not None:
            observation = torch.cat((observation, self._task.observe(self._scene())[worlds]), dim=1)
        return self._sensors.observe(observation, worlds)

    def _reset_worlds(self, mask: Tensor, phase: Any = None, clip: Any = None, joint_noise: Any = None, place: Any = None) -> None:
        """Put the masked worlds onto the reference; random numbers are drawn for all worlds, so that none depends on another."""
        count = self.num_envs
        uniform = torch.rand(2, count, generator=self._random, device=self.device)
        if clip is None:
            chosen, uniform[1] = self._starts.draw(uniform)
        else:
            chosen = checks.per_world("clip", clip, (count,), self._clip)
            if chosen.min() < 0 or chosen.max() >= len(self.library):
                raise SettingError(f"clip must be in 0 to {len(self.library) - 1}, found {chosen.min()} to {chosen.max()}")
        if phase is not None:
            uniform[1] = checks.per_world("phase", phase, (count,), self._start)
            if not ((uniform[1] >= 0) & (uniform[1] < 1)).all():
                raise SettingError("phase must be in [0, 1)")
        # a clip that does not loop must leave at least one step to take
        span = self.library.durations[chosen] - torch.where(self.library.cyclic[chosen], 0.0, 1.5 * self.control_step)
        self._clip = torch.where(mask, chosen, self._clip)
        self._start = torch.where(mask, uniform[1] * span.clamp(min=0.0), self._start)
        self._steps = self._steps.masked_fill(mask, 0)
        self._cycle = self._cycle.masked_fill(mask, 0)
        self._offset = self._offset.masked_fill(mask.unsqueeze(-1), 0.0)
        worlds = self._where(mask)
        reference = self._sampled(worlds, self._start[worlds])
        if place is not None or not self.ground.flat:
            there = self._places(place)[worlds] - reference.root_position * reference.root_position.new_tensor([1.0, 1.0, 0.0])
            self._offset[worlds] = torch.where(mask[worlds].unsqueeze(-1), there, self._offset[worlds])
            reference = self.ground.lifted(reference.moved(self._offset[worlds]))
        qpos = reference.qpos.to(self._qpos.dtype)
        if joint_noise is not None:
            noise = checks.per_world("joint_noise", joint_noise, (count,), self._qpos)
            if not ((noise >= 0) & (noise < math.inf)).all():
                raise SettingError("joint_noise must be a number of at least 0 rad")
            qpos = self.layout.disturbed(qpos, noise[worlds], self._random)
        self._new_qpos[worlds], self._new_qvel[worlds] = qpos, reference.qvel.to(self._qvel.dtype)
        self.simulation.reset(mask, self._new_qpos, self._new_qvel)
        self._sense(_ALL if isinstance(worlds, slice) or len(worlds) == count else worlds)
        if self._task is not None:
            self._task.reset(mask, self._scene(), self._random)
        self._sensors.reset(mask, self._random)
        if self._pushes is not None:
            self._pushes.reset(mask, self._random)

    def _places(self, place: Any) -> Tensor:
        """Where each world's root begins its episode, (W, 3) m, z 0: as told, or by chance."""
        if place is not None:
            return pad(checks.per_world("place", place, (self.num_envs, 2), self._start), (0, 1))
        seconds = self.max_episode_steps * self.control_step
        travel = (self.library.displacement[:, :2] / self.library.durations.unsqueeze(-1) * seconds)[self._clip]
        return self.ground.start(torch.rand(self.num_envs, 2, generator=self._random, device=self.device), travel)

    def _out(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._out(part) for name, part in value.items()}
        return value.numpy(force=True) if self.output == "numpy" else value


class DeepMimicEnv(SingleWorld):
    """One humanoid that imitates a motion: `DeepMimicVectorEnv` with one world and Gymnasium's single-environment interface.

    Action, observation, reward, start and end of an episode, info and arguments: see `DeepMimicVectorEnv`, less `num_envs`,
    `output` and `autoreset_mode`.
    """

    Batch = DeepMimicVectorEnv
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": CONTROL_RATE}  # noqa: RUF012


def _host(value: Tensor) -> np.ndarray:
    return value.double().numpy(force=True)
