"""`mprl benchmark COMMAND`, `env`, `tabular`, `deep` and others: our figures beside the peer's and the limit's, from one run.

The peer is what people use today; the limit is what no implementation on this machine can exceed. What is compared is measured in
turn, in short rounds, and the medians are told.
"""

from __future__ import annotations

if __name__ == "__main__" and not __package__:  # python scripts/benchmark.py: the checkout is on the path, this folder is not
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from mprl.scripts.main import main as mprl

    sys.exit(mprl(["benchmark", *sys.argv[1:]]))

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from mprl.errors import SettingError, unknown_name
from mprl.scripts.options import check_folder, parse

if TYPE_CHECKING:
    from mprl.scripts.benchmarks.environment import Measured

PerceptionPart = Literal["features", "segmentation", "noise", "states", "averages", "speed"]
ImuMethod = Literal["mean pose", "causal", "network", "sip", "both"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every benchmark is told."""

    threads: int = min(2, os.cpu_count() or 1)
    """of the simulation and of torch"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """write the figures"""
    write: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="")] = 0
    """put the table into docs/benchmarks.md of this checkout"""


@dataclass(frozen=True, kw_only=True)
class EnvOptions(Options):
    """The environment: against the bare physics, AsyncVectorEnv, Humanoid-v5; memory."""

    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """of the policy that is trained; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    agent: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """run folder of the policy whose states are measured, instead of training one"""
    train_seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 60.0
    """for which a policy is trained"""
    num_envs: Annotated[int, tyro.conf.arg(metavar="N")] = 1024
    """worlds stepped together"""
    memory_worlds: Annotated[int, tyro.conf.arg(metavar="N")] = 4096
    """worlds whose memory is measured"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 30.0
    """for each of the two comparisons of speed"""


@dataclass(frozen=True, kw_only=True)
class LearningOptions(Options):
    """What PPO learns, and in how many worlds."""

    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """what is learned; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    num_envs: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """worlds; by default the preset's"""


@dataclass(frozen=True, kw_only=True)
class PpoOptions(LearningOptions):
    """PPO end to end: against Stable-Baselines3, and against physics and networks alone."""

    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 30.0
    """for which ours learns, after the first round"""
    round_seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 5.0
    """for which ours learns before it is the others' turn"""
    peer_steps: Annotated[int, tyro.conf.arg(metavar="N")] = 2048
    """steps in every process before each of the peer's updates; 2048 is its default"""


@dataclass(frozen=True, kw_only=True)
class ImitationOptions(Options):
    """Imitation: train from scratch, evaluate, and compare with the DeepMimic paper."""

    motions: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE|DIR ...", help_behavior_hint="")] = field(default=())
    """motion files, folders of them, or shipped motions; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    runs: Annotated[tuple[Path, ...], tyro.conf.arg(name="from", metavar="DIR ...", help_behavior_hint="")] = field(default=())
    """run folders of `mprl train`, taken up as they are: nothing is trained unless --motions is given too"""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 3
    """runs of each motion"""
    samples: Annotated[float | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """of training in each run, 25e6 say"""
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M", help_behavior_hint="")] = None
    """of training in each run, instead of --samples; by default 15"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/benchmark")
    """where the runs are; those that are finished there are read back"""
    video: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="")] = 0
    """film an episode of each run into its folder"""


@dataclass(frozen=True, kw_only=True)
class PeersOptions(PpoOptions):
    """PPO against what people use: Stable-Baselines3 and a CleanRL-style loop, on processes and on our batch."""


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(LearningOptions):
    """Where the time of a training step goes, and what bounds each part."""

    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 30.0
    """for which the time is taken"""


@dataclass(frozen=True, kw_only=True)
class DeepOptions(Options):
    """Deep agents: speed and time to a solved CartPole against Stable-Baselines3, returns of presets against RL Zoo's."""

    algorithms: tuple[str, ...] = ("ppo", "a2c", "dqn")
    """whose speed is measured"""
    runs: Annotated[tuple[Path, ...], tyro.conf.arg(name="from", metavar="DIR ...", help_behavior_hint="")] = field(default=())
    """run folders of `mprl train`, whose best agents are judged instead"""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """runs to a solved CartPole with each algorithm, ours and theirs"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 20.0
    """for each comparison of speed"""


@dataclass(frozen=True, kw_only=True)
class SacOptions(Options):
    """SAC in Hopper-v5 against Stable-Baselines3's, from one seed with one budget; takes most of an hour."""

    steps: Annotated[int, tyro.conf.arg(metavar="N")] = 200_000
    """environment steps of each"""
    seed: int = 0
    """of both"""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(Options):
    """Prioritised replay: minibatches a second against a sum tree of plain Python, and against uniform drawing."""

    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 10.0
    """for each size of minibatch"""


@dataclass(frozen=True, kw_only=True)
class BodyOptions(Options):
    """The SMPL body: joints and meshes a second against smplx, and what the free body gets wrong."""

    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 10.0
    """for each size of batch"""


@dataclass(frozen=True, kw_only=True)
class TabularOptions(Options):
    """Tabular agents: planning with large models against QuantEcon, learning in many worlds against a Python loop over one."""

    parts: tuple[Literal["planning", "learning"], ...] = ("planning", "learning")
    """which of both"""
    num_envs: Annotated[int, tyro.conf.arg(metavar="N")] = 4096
    """worlds that learn one table"""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 9
    """runs to a table of a given quality, ours and the loop's"""
    states: Annotated[float, tyro.conf.arg(metavar="N")] = 1e6
    """of the largest model"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 20.0
    """for each comparison of speed"""


@dataclass(frozen=True, kw_only=True)
class RenderOptions(Options):
    """Pictures: drawing and filming, against Humanoid-v5 and MuJoCo's bare drawing."""

    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """whose poses are drawn; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 30.0
    """for the comparison"""


@dataclass(frozen=True, kw_only=True)
class MotionOptions(Options):
    """Motion: retargeting against mink, sampling a library of very many clips."""

    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """what is retargeted; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    clips: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """in the library"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 20.0
    """for each comparison of speed"""


@dataclass(frozen=True, kw_only=True)
class CharactersOptions(Options):
    """The SMPL body as a character: mass, fit, what zero actions follow, what was learned, speed beside the humanoid."""

    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """what is followed; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    agent: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """run folder of an agent that has learned with the body (--env.character smpl), to be judged"""
    num_envs: Annotated[int, tyro.conf.arg(metavar="N")] = 1024
    """worlds stepped together"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 60.0
    """for the comparison of speed"""


@dataclass(frozen=True, kw_only=True)
class PerceptionOptions(Options):
    """Perception: what a plug costs, PPO from pixels against Stable-Baselines3, pictures against MuJoCo's renderer, what models learn."""

    parts: tuple[PerceptionPart, ...] = get_args(PerceptionPart)
    """what is measured; all for --write"""
    training: Annotated[float, tyro.conf.arg(metavar="S")] = 60.0
    """of the processor for which each model is trained"""
    seed: int = 0
    """of the models"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 15.0
    """for each comparison of speed"""


@dataclass(frozen=True, kw_only=True)
class ImuOptions(Options):
    """Inertial sensors to SMPL: optimisation, networks and both, on motion capture that nothing was learned from."""

    mocap: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """folder of DeepMimic's humanoid3d_*.txt; by default $MPRL_MOCAP"""
    methods: tuple[ImuMethod, ...] = get_args(ImuMethod)
    """what is measured"""
    cycles: Annotated[float, tyro.conf.arg(metavar="S")] = 3.0
    """for how long a motion that is a cycle goes on"""
    clips: Annotated[int, tyro.conf.arg(metavar="N")] = 100
    """of them at most"""
    seed: int = 0
    """of the sensors' faults"""


@dataclass(frozen=True, kw_only=True)
class Pose2dOptions(Options):
    """2-D pose: models that learn from rendered people in the same time, on motions, bodies and clothes that are new to them."""

    training: Annotated[float, tyro.conf.arg(metavar="S")] = 300.0
    """of the processor for which each model is trained"""
    pictures: Annotated[int, tyro.conf.arg(metavar="N")] = 7000
    """of one person that are learned from; half as many of several"""
    seed: int = 0
    """of pictures and models"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 10.0
    """for the comparison of drawing"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/pose2d")
    """where pictures and models are; those that are finished there are read back"""


@dataclass(frozen=True, kw_only=True)
class PixelsOptions(Options):
    """Agents that see pictures only: learning curves and returns of runs of `mprl train --perception`, beside those that see the state."""

    runs: Annotated[tuple[Path, ...], tyro.conf.arg(name="from", metavar="DIR ...", help_behavior_hint="")] = field(default=())
    """run folders of `mprl train`, with --perception and without"""


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(Options):
    """Agents without velocities: PPO told the state, not told velocities, and with a memory or a history."""

    envs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ENV_ID ...")] = ("CartPole-v1", "Pendulum-v1", "mprl/DeepMimic-v0")
    """where"""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 3
    """runs of each; of the humanoid one"""
    steps: Annotated[float | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """of each run; by default as many as suit the environment"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/memory")
    """where the runs are; those that are finished there are read back"""


@dataclass(frozen=True, kw_only=True)
class TerrainOptions(Options):
    """The humanoid that looks ahead: PPO walks over generated ground with a height scan and blind, judged at three difficulties."""

    terrain: Annotated[str, tyro.conf.arg(metavar="KIND")] = "gaps"
    """slopes, stairs, gaps or rough"""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """runs, with a height scan and blind"""
    steps: Annotated[float, tyro.conf.arg(metavar="N")] = 1.5e6
    """of each run"""
    walker: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """an agent that walks on level ground, which all begin as; by default it is trained first"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/terrain")
    """where the runs are; those that are finished there are read back"""


@dataclass(frozen=True, kw_only=True)
class ClipsOptions(Options):
    """One policy over all clips: success and errors as PHC has them, of PPO with uniform and adaptive sampling, and of DAgger."""

    motions: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|FILE|DIR ...", help_behavior_hint="")] = ()
    """clips; by default those in $MPRL_MOCAP and all shipped ones"""
    ways: tuple[Literal["uniform", "adaptive", "distilled"], ...] = ("uniform", "adaptive")
    """a run of each: PPO with episodes that begin everywhere alike, or where it fails; a student of the shipped agents of these clips"""
    steps: Annotated[float, tyro.conf.arg(metavar="N")] = 20e6
    """of each run; a shorter one that is there goes on"""
    num_envs: Annotated[int, tyro.conf.arg(metavar="N")] = 512
    """worlds stepped together"""
    seed: int = 0
    """of the runs"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/clips")
    """where the runs are"""


@dataclass(frozen=True, kw_only=True)
class PoseOptions(Options):
    """Keypoints to SMPL: error against the truth with each pose prior, from one view and two, and frames a second beside smplx."""

    mocap: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """folder of DeepMimic's humanoid3d_*.txt; without it clips of ours, and priors learned without them, which takes minutes"""
    motions: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """which of them; by default walk, run, dance_b, cartwheel, spinkick and punch, or of ours walk, spinkick and punch"""
    priors: tuple[Literal["none", "gmm", "vae"], ...] = ("none", "gmm", "vae")
    """which are compared"""
    views: tuple[int, ...] = (1, 2)
    """from how many cameras"""
    methods: tuple[Literal["search", "regressor", "learned-descent", "both"], ...] = ()
    """beside SMPLify: its search without a network's guess, networks alone, and one as its start; they know our clips: only with --mocap"""


@dataclass(frozen=True, kw_only=True)
class SkillOptions(Options):
    """From keypoints to a skill: a policy that learned from what one camera saw of a motion, beside one that learned from the motion."""

    mocap: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """folder of DeepMimic's humanoid3d_*.txt; by default $MPRL_MOCAP"""
    motion: Annotated[str, tyro.conf.arg(metavar="NAME")] = "walk"
    """which of them"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 5.0
    """how long a cycle goes on while it is seen, at least"""
    steps: Annotated[float, tyro.conf.arg(metavar="N")] = 1.5e6
    """of each run"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/skill")
    """where the runs are; those that are finished there are read back"""


@dataclass(frozen=True, kw_only=True)
class SeeingOptions(Options):
    """The humanoid that sees: a policy whose own state is noisy, late, or told by sensors or cameras, beside the true state."""

    agent: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/smpl-walk")
    """run folder of a policy that imitates a motion; inertial sensors are for the SMPL body (--env.character smpl)"""
    episodes: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """of each way to perceive"""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 10.0
    """of an episode at most"""
    eyes: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """folder of a model of 2-D pose (mprl pose train): what it detects in pictures is lifted to a pose too"""


@dataclass(frozen=True, kw_only=True)
class SoakOptions(Options):
    """Very many control steps: flat memory, finite numbers, no world that diverges."""

    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """what is imitated; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    agent: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """run folder of the policy that acts half of the time, instead of an untrained one"""
    steps: Annotated[float, tyro.conf.arg(metavar="N")] = 1e8
    """control steps over all worlds"""
    every: Annotated[float, tyro.conf.arg(metavar="N")] = 1e6
    """steps between two rows of the table"""
    num_envs: Annotated[int, tyro.conf.arg(metavar="N")] = 1024
    """worlds stepped together"""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("runs/soak.csv")
    """the table: memory, episodes and divergences as they go; kept where Ctrl-C ends it"""


@dataclass(frozen=True, kw_only=True)
class ScalingOptions(Options):
    """Several processes: PPO in one and in several with the same worlds in all, the share of time that they wait for each other."""

    motion: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="")] = None
    """what is learned; by default humanoid3d_walk.txt in $MPRL_MOCAP, or the shipped walk"""
    num_envs: Annotated[int, tyro.conf.arg(metavar="N")] = 256
    """worlds, over all processes"""
    processes: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """how many learn together"""
    iterations: Annotated[int, tyro.conf.arg(metavar="N")] = 20
    """of each run"""
    rounds: Annotated[int, tyro.conf.arg(metavar="N")] = 3
    """runs of each way"""
    device: Annotated[str | None, tyro.conf.arg(metavar="D", help_behavior_hint="")] = None
    """cpu or cuda, a GPU for each process; by default cpu"""


def main(argv: Sequence[str]) -> int:
    """Run `mprl benchmark`."""
    commands: dict[str, tuple[type[Options], Callable[[Any], Measured]]] = {
        "env": (EnvOptions, env),
        "ppo": (PpoOptions, ppo),
        "imitation": (ImitationOptions, imitation),
        "peers": (PeersOptions, peers),
        "profile": (ProfileOptions, profile),
        "deep": (DeepOptions, deep),
        "sac": (SacOptions, sac),
        "replay": (ReplayOptions, replay),
        "tabular": (TabularOptions, tabular),
        "body": (BodyOptions, body),
        "render": (RenderOptions, render),
        "motion": (MotionOptions, motion),
        "perception": (PerceptionOptions, perception),
        "imu": (ImuOptions, imu),
        "pose2d": (Pose2dOptions, pose2d),
        "pixels": (PixelsOptions, pixels),
        "memory": (MemoryOptions, memory),
        "terrain": (TerrainOptions, terrain),
        "clips": (ClipsOptions, clips),
        "characters": (CharactersOptions, characters),
        "pose": (PoseOptions, pose),
        "skill": (SkillOptions, skill),
        "seeing": (SeeingOptions, seeing),
        "soak": (SoakOptions, soak),
        "scaling": (ScalingOptions, scaling),
    }
    if not argv or argv[0] in ("-h", "--help"):
        rows = "\n".join(f"  {name:<10} {options.__doc__}" for name, (options, _) in commands.items())
        print(f"usage: mprl benchmark COMMAND [OPTIONS]\n\ncommands:\n{rows}\n\nmprl benchmark COMMAND --help says more.")
        return 0
    if argv[0] not in commands:
        raise unknown_name("benchmark", argv[0], commands, "mprl benchmark --help")
    kind, measure = commands[argv[0]]
    options = parse(kind, f"mprl benchmark {argv[0]}", argv[1:])
    _check(options)

    import torch

    from mprl.scripts.benchmarks.report import Report, command_line

    # an environment's tensors are small: a step of 1024 worlds took 45.0 ms with one torch thread, 46.4 with two
    torch.set_num_threads(1 if argv[0] in ("env", "characters", "soak") else options.threads)
    measured = measure(options)
    name = "returns" if argv[0] == "deep" and options.runs else argv[0]  # type: ignore[attr-defined]  # a table of its own
    report = Report(name, measured.figures, measured.settings, command_line(argv), measured.overview)
    written = []
    if options.json is not None:
        report.write_json(options.json)
        written.append(options.json)
    if options.write:
        report.write_markdown(page())
        written.append(page())
    report.show()
    for path in written:
        print(f"wrote {path}")
    return 0


def env(options: EnvOptions) -> Measured:
    """Figures of the environment."""
    from mprl.scripts.benchmarks.environment import measure

    o = options
    return measure(o.motion or default_motion(), o.agent, o.train_seconds, o.num_envs, o.memory_worlds, o.threads, o.seconds)


def ppo(options: PpoOptions) -> Measured:
    """Figures of PPO."""
    from mprl.scripts.benchmarks.learning import measure

    o = options
    return measure(o.motion or default_motion(), o.num_envs, o.threads, o.seconds, o.round_seconds, o.peer_steps)


def imitation(options: ImitationOptions) -> Measured:
    """Figures of imitation."""
    from mprl.scripts.benchmarks.imitation import Plan, expand, measure

    o = options
    motions = expand(o.motions or (() if o.runs else (Path(default_motion()),)))
    minutes = 15.0 if o.samples is None and o.minutes is None else o.minutes
    plan = Plan(o.seeds, o.samples, minutes, o.threads, o.out, bool(o.video))
    picture = page().with_name("imitation.png") if o.write else o.out / "imitation.png"
    return measure(motions, o.runs, plan, picture)


def peers(options: PeersOptions) -> Measured:
    """Figures of PPO beside others'."""
    from mprl.scripts.benchmarks.peers import measure

    o = options
    return measure(o.motion or default_motion(), o.num_envs, o.threads, o.seconds, o.round_seconds, o.peer_steps)


def profile(options: ProfileOptions) -> Measured:
    """Figures of the parts of a training step."""
    from mprl.scripts.benchmarks.profiling import measure

    return measure(options.motion or default_motion(), options.num_envs, options.threads, options.seconds)


def deep(options: DeepOptions) -> Measured:
    """Figures of deep agents."""
    from mprl.scripts.benchmarks.deep import measure

    o = options
    return measure(() if o.runs else o.algorithms, o.runs, o.seeds, o.seconds, o.threads)


def sac(options: SacOptions) -> Measured:
    """Figures of SAC."""
    from mprl.scripts.benchmarks.sac import measure

    return measure(options.steps, options.seed, options.threads)


def replay(options: ReplayOptions) -> Measured:
    """Figures of prioritised replay."""
    from mprl.scripts.benchmarks.replay import measure

    return measure(options.seconds, options.threads)


def body(options: BodyOptions) -> Measured:
    """Figures of the SMPL body."""
    from mprl.scripts.benchmarks.body import measure

    return measure(options.seconds, options.threads)


def tabular(options: TabularOptions) -> Measured:
    """Figures of tabular agents."""
    from mprl.scripts.benchmarks.environment import Measured

    o, figures = options, []
    if "planning" in o.parts:
        from mprl.scripts.benchmarks import planning

        figures += planning.figures(o.seconds, int(o.states))
    if "learning" in o.parts:
        from mprl.scripts.benchmarks import tabular_learning

        figures += tabular_learning.figures(o.num_envs, o.seeds, o.seconds)
    return Measured(figures, {"parts": " ".join(o.parts), "threads": o.threads})


def render(options: RenderOptions) -> Measured:
    """Figures of drawing."""
    from mprl.scripts.benchmarks.pictures import measure

    return measure(options.motion or default_motion(), options.seconds)


def motion(options: MotionOptions) -> Measured:
    """Figures of motion."""
    from mprl.scripts.benchmarks.motion import measure

    return measure(options.motion or default_motion(), options.seconds, options.clips, options.threads)


def characters(options: CharactersOptions) -> Measured:
    """Figures of characters."""
    from mprl.scripts.benchmarks.characters import measure

    return measure(options.motion or default_motion(), options.num_envs, options.threads, options.seconds, options.agent)


def perception(options: PerceptionOptions) -> Measured:
    """Figures of perception."""
    from mprl.scripts.benchmarks.perception import measure

    o = options
    return measure(o.parts, o.seconds, o.training, o.seed, page().parent if o.write else None)


def imu(options: ImuOptions) -> Measured:
    """Figures of inertial sensors."""
    from mprl.scripts.benchmarks.imu import measure

    o = options
    given = os.environ.get("MPRL_MOCAP")
    return measure(o.mocap or (Path(given) if given else None), o.cycles, o.methods, o.clips, o.seed, o.threads)


def pose2d(options: Pose2dOptions) -> Measured:
    """Figures of 2-D pose."""
    from mprl.scripts.benchmarks.pose2d import measure

    o = options
    return measure(o.training, o.pictures, o.seconds, o.seed, o.out, page().parent if o.write else o.out)


def pixels(options: PixelsOptions) -> Measured:
    """Agents that see."""
    from mprl.scripts.benchmarks.pixels import measure

    return measure(options.runs, page().parent / "pixels.png" if options.write else None)


def memory(options: MemoryOptions) -> Measured:
    """Agents that are not told velocities."""
    from mprl.scripts.benchmarks.memory import measure

    return measure(options.envs, options.seeds, options.steps, options.out)


def terrain(options: TerrainOptions) -> Measured:
    """Agents that walk over generated ground, seeing and blind."""
    from mprl.scripts.benchmarks.terrain import measure

    return measure(options.terrain, options.seeds, options.steps, options.walker, options.out)


def clips(options: ClipsOptions) -> Measured:
    """One policy over many clips."""
    from mprl.scripts.benchmarks.clips import default_motions, measure

    o = options
    return measure(o.motions or default_motions(), o.ways, o.steps, o.num_envs, o.seed, o.threads, o.out)


def pose(options: PoseOptions) -> Measured:
    """Fits of keypoints beside the truth."""
    from mprl.scripts.benchmarks.pose import measure

    o = options
    return measure(o.mocap, o.motions, o.priors, o.views, o.threads, o.methods)


def skill(options: SkillOptions) -> Measured:
    """A skill from keypoints."""
    from mprl.scripts.benchmarks.skill import measure

    o, given = options, os.environ.get("MPRL_MOCAP")
    return measure(o.mocap or (Path(given) if given else None), o.motion, o.seconds, o.steps, o.out)


def seeing(options: SeeingOptions) -> Measured:
    """A policy that perceives."""
    from mprl.scripts.benchmarks.seeing import measure

    return measure(options.agent, options.episodes, options.seconds, options.eyes)


def soak(options: SoakOptions) -> Measured:
    """Figures of a soak."""
    from mprl.scripts.benchmarks.soak import measure

    o = options
    return measure(o.motion or default_motion(), o.agent, o.steps, o.every, o.num_envs, o.threads, o.out)


def scaling(options: ScalingOptions) -> Measured:
    """Figures of several processes."""
    from mprl.scripts.benchmarks.scaling import measure

    o = options
    return measure(o.motion or default_motion(), o.num_envs, o.processes, o.iterations, o.rounds, o.device)


def default_motion() -> str:
    """The walk that DeepMimic's figures are of, where $MPRL_MOCAP has it; otherwise our own."""
    file = Path(os.environ.get("MPRL_MOCAP", "")) / "humanoid3d_walk.txt"
    return str(file) if file.is_file() else "walk"


def page() -> Path:
    """docs/benchmarks.md of the checkout."""
    return Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def _check(options: Options) -> None:
    """Say now, and not after an hour, what cannot be."""
    for name in (
        "states",
        "threads",
        "num_envs",
        "clips",
        "memory_worlds",
        "seconds",
        "round_seconds",
        "peer_steps",
        "seeds",
        "episodes",
        "samples",
        "minutes",
        "steps",
        "every",
        "cycles",
        "processes",
        "iterations",
        "rounds",
    ):
        value = getattr(options, name, None)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise SettingError(f"--{name.replace('_', '-')} must be a positive number, found {value}")
    if not 0 <= getattr(options, "train_seconds", 0) < math.inf:
        raise SettingError(f"--train-seconds must be 0 or more, found {options.train_seconds}")  # type: ignore[attr-defined]
    if getattr(options, "samples", None) is not None and getattr(options, "minutes", None) is not None:
        raise SettingError("give --samples or --minutes, not both")
    if isinstance(options, PerceptionOptions) and options.write and set(options.parts) != set(get_args(PerceptionPart)):
        raise SettingError("--write replaces the whole table: leave out --parts, or --write")
    if options.json is not None:
        check_folder(options.json)
    if options.write and not page().is_file():
        raise SettingError(f"{page()}: no such file; --write works in a checkout")
