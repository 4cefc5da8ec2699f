"""The figures of a benchmark and how they are told; each benchmark once, as small as can be."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

from mprl.agents.ppo import PPOSettings
from mprl.errors import CheckpointError, SettingError
from mprl.motion import HUMANOID, load
from mprl.scripts import benchmark
from mprl.scripts.benchmarks import imitation, physics, profiling, soak
from mprl.scripts.benchmarks.loops import SingleLoop
from mprl.scripts.benchmarks.published import contact_bodies
from mprl.scripts.benchmarks.report import Figure, Report, alternate, command_line, medians
from mprl.scripts.plots import read_metrics

KEYS = {"ours", "peer", "limit", "ratio_to_limit", "ratio_to_peer"}


def test_a_ratio_above_one_is_better():
    rate = Figure("rate", "rate", "1/s", ours=3.0, peer=2.0, limit=4.0)
    error = Figure("error", "error", "mm", ours=2.0, peer=4.0, limit=1.0, less_is_better=True)
    assert (rate.ratio_to_limit, rate.ratio_to_peer) == (0.75, 1.5)
    assert (error.ratio_to_limit, error.ratio_to_peer) == (0.5, 2.0)
    assert Figure("alone", "alone", "", 1.0).ratio_to_peer is None


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("a", "a", "", 3.0, limit=4.0, target=("ratio_to_limit", 0.75)), True),
        (Figure("a", "a", "", 3.0, limit=4.0, target=("ratio_to_limit", 0.76)), False),
        (Figure("a", "a", "", 25.0, less_is_better=True, target=("ours", 25.0)), True),
        (Figure("a", "a", "", 26.0, less_is_better=True, target=("ours", 25.0)), False),
        (Figure("a", "a", "", 3.0), None),
    ],
)
def test_a_target_is_met_or_missed(figure, met):
    assert figure.met is met


def test_json_has_every_figure_and_where_it_is_from():
    told = Report(
        "env", [Figure("step", "step()", "1/s", 3.0, 2.0, 4.0), Figure("memory", "memory", "GiB", 1.0)], {}, "mprl benchmark"
    ).as_json()
    assert set(told["figures"]) == {"step", "memory"}
    assert set(told["figures"]["memory"]) >= KEYS and set(told) >= KEYS
    assert (told["ours"], told["ratio_to_limit"], told["figures"]["memory"]["limit"]) == (3.0, 0.75, None)
    assert set(told["machine"]) == {"cpu", "cores", "os"}
    assert {"python", "torch", "mujoco", "gymnasium", "stable_baselines3", "mprl"} == set(told["versions"])


def test_only_the_block_of_a_benchmark_is_replaced(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("# A\n<!-- env: begin -->\nold\n<!-- env: end -->\nB\n<!-- ppo: begin -->\n<!-- ppo: end -->\n")
    report = Report("env", [Figure("step", "step()", "1/s", 3.0, 2.0, 4.0, against="peer P")], {}, "mprl benchmark env")
    for _ in range(2):  # again and again
        report.write_markdown(page)
    text = page.read_text()
    assert text.startswith("# A\n<!-- env: begin -->\n") and text.endswith("<!-- env: end -->\nB\n<!-- ppo: begin -->\n<!-- ppo: end -->\n")
    assert "old" not in text and text.count("| step() | 1/s | 3 | 2 | 4 | 0.75 | 1.50 |  |") == 1 and "* step(): peer P" in text


def test_a_page_without_its_markers_is_a_mistake(tmp_path):
    (tmp_path / "page.md").write_text("# A\n")
    with pytest.raises(SettingError, match="<!-- env: begin -->"):
        Report("env", [], {}, "").write_markdown(tmp_path / "page.md")


def test_the_page_has_a_place_for_every_benchmark(root):
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for name in ("env", "ppo", "peers", "profile", "deep", "returns", "sac", "tabular", "imitation", "render", "memory", "terrain", "soak"):
        assert page.index(f"<!-- {name}: begin -->") < page.index(f"<!-- {name}: end -->")


def test_ways_are_measured_in_turn_and_the_first_round_does_not_count():
    called = []
    rates = alternate({"a": lambda: called.append("a") or len(called), "b": lambda: called.append("b") or 0.0}, seconds=0.0, least=3)
    assert called == ["a", "b"] * 4
    assert rates == {"a": [3, 5, 7], "b": [0.0] * 3} and medians(rates) == {"a": 5, "b": 0.0}


def test_a_command_line_names_no_folder_of_this_machine(tmp_path):
    words = ["imitation", "--motions", str(tmp_path / "walk.txt"), "--out", "runs/b"]
    assert command_line(words) == "mprl benchmark imitation --motions .../walk.txt --out runs/b"


def test_of_many_files_a_command_line_names_the_first():
    words = ["deep", "--from", *(f"/tmp/run-{n}" for n in range(9)), "--write"]
    assert command_line(words) == "mprl benchmark deep --from .../run-0 .../run-1 .../run-2 ... --write"


@pytest.fixture(scope="module")
def window():
    """A few steps of four worlds at random."""
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=4, output="torch", num_threads=1)
    observation = envs.reset(seed=0)[0]
    act = lambda o: torch.rand(4, 28, generator=torch.Generator().manual_seed(int(1e3 * o.abs().sum()))) * 2 - 1  # noqa: E731
    return envs, physics.record(envs, observation, act, steps=6)


def test_the_limit_does_the_same_physics(window):
    # Bit for bit: from the state before a step, the bare batch gets to the state before the next one, where no world was reset.
    envs, recorded = window
    bare = physics.BarePhysics(envs.model, 4, 1)
    bare.replay(recorded.states[:1])
    qpos = slice(1, 1 + envs.model.nq)  # after the time
    assert torch.equal(torch.from_numpy(bare.batch.state)[:, qpos], recorded.states[1][:, qpos])


def test_a_window_is_gone_through_again(window):
    envs, recorded = window
    assert physics.replay(envs, recorded) > 0
    assert physics.replay(envs, recorded) > 0
    changed = physics.Window(recorded.start, recorded.actions * 0.5, recorded.states, recorded.end)
    with pytest.raises(RuntimeError, match="did not repeat"):
        physics.replay(envs, changed)


def test_motions_are_names_files_and_folders(tmp_path):
    for name in ("humanoid3d_run.txt", "jump.npz", "LICENSE"):
        (tmp_path / name).touch()
    assert imitation.expand([Path("walk"), tmp_path]) == ["walk", str(tmp_path / "humanoid3d_run.txt"), str(tmp_path / "jump.npz")]
    assert imitation.clip_name(str(tmp_path / "humanoid3d_run.txt")) == "run"
    with pytest.raises(SettingError, match="more than one motion is named 'run'"):
        imitation.expand([tmp_path, Path("run")])


FIGURES = dict.fromkeys(imitation.KEPT, 0.5)


def plan(out: Path, **changes) -> imitation.Plan:
    return imitation.Plan(**{"seeds": 1, "samples": None, "minutes": 1.0, "threads": 2, "out": out} | changes)


def test_a_finished_run_is_read_back_and_only_as_it_was_asked_for(tmp_path):
    asked = {"motion": "walk", "seed": 0, "samples": None, "minutes": 1.0, "threads": 2}
    (tmp_path / imitation.RESULT).write_text(json.dumps({"asked": asked, "figures": FIGURES}))
    assert imitation.run("walk", 0, plan(tmp_path), tmp_path).figures == FIGURES
    with pytest.raises(SettingError, match=r"run with minutes 1\.0, asked for is 2"):
        imitation.run("walk", 0, plan(tmp_path, minutes=2.0), tmp_path)
    with pytest.raises(SettingError, match=r"run with samples None, asked for is 5000000\.0"):
        imitation.run("walk", 0, plan(tmp_path, samples=5e6, minutes=None), tmp_path)
    (tmp_path / imitation.RESULT).write_text("{")
    with pytest.raises(CheckpointError, match="remove it to run this again"):
        imitation.run("walk", 0, plan(tmp_path), tmp_path)


def run_folder(folder: Path, seed: int = 0, env_id: str = imitation.ENVIRONMENT, **env_kwargs) -> Path:
    """What `mprl train` leaves of a run of 3000 samples and 4.5 minutes, which was continued once; its weights excepted."""
    folder.mkdir(parents=True)
    config = {"format": "mprl-agent", "version": 1, "agent": "ppo", "env_id": env_id, "env_kwargs": env_kwargs, "settings": {}}
    config |= {"seed": seed, "num_timesteps": 3000, "observation_space": {}, "action_space": {}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.csv").write_text("timesteps,return,time_elapsed\n1000,60,90\n2000,120,180\n2500,,30\n3000,300,90\n")
    (folder / imitation.RESULT).write_text(json.dumps({"asked": {}, "num_timesteps": 3000, "figures": FIGURES}))
    return folder


def test_a_run_folder_is_taken_up_with_what_it_cost(tmp_path):
    folder = run_folder(tmp_path / "walk", seed=3, motion="elsewhere/humanoid3d_walk.txt")
    found = imitation.take_up(folder, video=False)
    assert (found.clip, found.seed, found.figures) == ("walk", 3, FIGURES)
    assert imitation.spent(folder / "metrics.csv") == (3000, 4.5)  # 180 s, and 90 s after it was continued


def test_the_best_agent_of_a_run_cost_what_the_run_did(tmp_path, monkeypatch):
    folder = run_folder(tmp_path / "walk", motion="walk")
    best = folder / "best"
    best.mkdir()
    (folder / "config.json").rename(best / "config.json")
    monkeypatch.setattr(
        imitation.evaluate, "evaluate_folder", lambda *args, **settings: FIGURES | {"fall_rate": 0.5, "num_timesteps": 1000}
    )
    figures = imitation.take_up(best, video=False).figures
    assert (figures["samples_millions"], figures["minutes"]) == (0.003, 4.5)


def test_a_run_that_has_learned_on_is_evaluated_anew(tmp_path, monkeypatch):
    folder = run_folder(tmp_path / "walk", motion="walk")
    (folder / imitation.RESULT).write_text(json.dumps({"asked": {"seed": 0}, "num_timesteps": 2000, "figures": FIGURES}))
    found = dict.fromkeys(imitation.KEPT, 0.75) | {"fall_rate": 0.25, "num_timesteps": 3000}
    monkeypatch.setattr(imitation.evaluate, "evaluate_folder", lambda *args, **settings: found)
    figures = imitation.take_up(folder, video=False).figures
    assert (figures["normalized_return"], figures["lasts_20_s_rate"]) == (0.75, 0.75)
    assert (figures["samples_millions"], figures["minutes"]) == (0.003, 4.5)
    assert json.loads((folder / imitation.RESULT).read_text())["asked"] == {"seed": 0}  # what it was asked for stays


def test_only_runs_of_one_motion_are_taken_up_and_none_twice(tmp_path):
    for name, env_kwargs in (("two", {"motion": ["walk", "jump"]}), ("other", {"env_id": "CartPole-v1"})):
        with pytest.raises(SettingError, match="expected a run of mprl/DeepMimic-v0 with one motion"):
            imitation.take_up(run_folder(tmp_path / name, **env_kwargs), video=False)
    folders = [run_folder(tmp_path / name, motion="walk") for name in "ab"]
    with pytest.raises(SettingError, match="a second run of 'walk' with seed 0"):
        imitation.measure((), folders, plan(tmp_path), tmp_path / "curves.png")


def test_a_run_without_its_metrics_is_a_mistake(tmp_path):
    (tmp_path / "metrics.csv").write_text("timesteps,return\n")
    with pytest.raises(CheckpointError, match="at least one iteration"):
        imitation.spent(tmp_path / "metrics.csv")


def test_returns_are_told_as_a_share_of_what_is_possible(tmp_path):
    # 20 s at 30 Hz earn 600 at the most; an episode of a one-shot clip begins half-way through it on average
    curve = imitation.curve(imitation.take_up(run_folder(tmp_path / "walk", motion="walk"), video=False))
    assert curve.share[[0, 1, 3]].tolist() == pytest.approx([0.1, 0.2, 0.5]) and curve.samples[-1] == 0.003 and curve.end == 0.5
    once = run_folder(tmp_path / "jump", motion="jump")
    possible = load("jump").duration * 30 / 2
    assert imitation.curve(imitation.take_up(once, video=False)).share[0] == pytest.approx(min(1.0, 60 / possible))


def test_all_runs_are_summed_up_and_drawn(tmp_path):
    folders = [run_folder(tmp_path / name, seed, motion="humanoid3d_walk.txt") for seed, name in enumerate("ab")]
    text = (folders[0] / "config.json").read_text()
    for folder in folders:
        (folder / "config.json").write_text(
            text.replace('"seed": 0', f'"seed": {folders.index(folder)}').replace("humanoid3d_walk.txt", "walk")
        )
    found = imitation.measure((), folders, plan(tmp_path), tmp_path / "curves.png")
    (row,) = found.overview.rows
    assert row == ("walk", "2", "0.500", "0.500", "0.985", "50%", "0.5", "18", "0.5", "61", "0")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    report = Report("imitation", found.figures, found.settings, "mprl benchmark imitation", found.overview)
    assert "| walk | 2 | 0.500 |" in report.markdown()


def test_the_hands_may_touch_in_a_cartwheel_and_anything_in_a_roll():
    # fall_contact_bodies of the release's settings, which name what must not touch
    assert set(contact_bodies("walk")) == {"right_ankle", "left_ankle"}
    assert set(contact_bodies("cartwheel")) == {"right_ankle", "left_ankle", "right_wrist", "left_wrist"}
    assert set(HUMANOID.body_names) - set(contact_bodies("crawl")) == {"root", "chest", "neck"}
    assert set(contact_bodies("roll")) == set(HUMANOID.body_names)


def test_imitation_tells_the_median_over_the_seeds():
    results = [dict.fromkeys(imitation.KEPT, value) for value in (0.2, 0.9, 0.4)]
    figures = {figure.key: figure for figure in imitation.summarise("walk", results)}
    found = figures["walk_normalized_return"]
    assert (found.ours, found.peer, found.limit, found.met) == (0.4, 0.985, 1.0, False)
    assert "0.4 (0.2 to 0.9)" in found.row()
    assert (figures["walk_mpjpe_local_mm"].peer, figures["walk_mpjpe_local_mm"].met) == (18.0, True)  # below 18 mm is better


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["envs"], "no benchmark named 'envs'; did you mean 'env'?"),
        (["env", "--seconds", "0"], "--seconds must be a positive number, found 0"),
        (["env", "--train-seconds", "-1"], "--train-seconds must be 0 or more, found -1"),
        (["env", "--motion", "wlak"], "no motion named 'wlak'"),
        (["env", "--agent", "nowhere"], "nowhere: no such run folder"),
        (["ppo", "--json", "nowhere/ppo.json"], "nowhere/ppo.json: the folder nowhere does not exist"),
        (["imitation", "--motions", "wlak"], "no motion named 'wlak'"),
        (["imitation", "--seeds", "0"], "--seeds must be a positive number, found 0"),
        (["imitation", "--samples", "1e6", "--minutes", "3"], "give --samples or --minutes, not both"),
        (["imitation", "--from", "nowhere"], "nowhere: no such run folder"),
    ],
)
def test_a_mistake_is_told_in_one_line(mprl, tmp_path, words, expected):
    assert mprl("benchmark", *words).mistake.startswith(expected)
    assert list(tmp_path.iterdir()) == []


def rows(memory: list[float]) -> list[soak.Row]:
    return [soak.Row(1_000_000 * (i + 1), 60.0 * (i + 1), kib, 10 * i, diverged=0, not_finite=0) for i, kib in enumerate(memory)]


def test_a_soak_finds_memory_that_grows():
    # 100 KiB a million steps, after caches of 50 MiB have filled; what is flat stays 0
    grows, flat = rows([1000.0] * 2 + [50_000.0 + 100 * i for i in range(18)]), rows([1000.0] * 2 + [50_000.0] * 18)
    assert soak.slope(grows) == pytest.approx(100.0) and soak.slope(flat) == pytest.approx(0.0, abs=1e-6)
    figures = {figure.key: figure for figure in soak.summarise(grows, 2e7)}
    assert (figures["memory_slope"].met, figures["steps"].met, figures["diverged"].met) == (False, True, True)
    assert soak.summarise(flat, 1e8)[0].met is False  # it was stopped early
    assert {figure.key: figure.met for figure in soak.summarise(flat, 2e7)}["memory_slope"] is True


def test_a_soak_counts_what_goes_wrong():
    class Broken:
        """Two worlds: one diverges in each step, and sees NaN in every second one."""

        num_envs, model, number = 2, SimpleNamespace(nu=3), 0

        def reset(self, seed):
            return torch.zeros(2, 4), {}

        def step(self, action):
            assert action.shape == (2, 3)
            self.number += 1
            observation = torch.zeros(2, 4)
            observation[1, 2] = torch.nan if self.number % 2 else 0.0
            worlds = torch.tensor([True, False])
            return observation, torch.zeros(2), worlds, ~worlds, {"terminated_diverged": worlds}

    found = list(soak.soak(Broken(), lambda observation: torch.zeros(2, 3), steps=400, every=100))
    assert [row.steps for row in found] == [100, 200, 300, 400]
    assert (found[-1].episodes, found[-1].diverged, found[-1].not_finite) == (400, 200, 100)


def test_a_part_s_time_is_its_own(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: now[0])

    class Work:
        def outer(self):
            now[0] += 1.0
            self.inner()
            self.resets()

        def inner(self):
            now[0] += 2.0

        def resets(self):
            now[0] += 4.0
            self.inner()

    work, watch = Work(), profiling.Stopwatch()
    watch.watch(work, "outer", "rest", "acting")
    watch.watch(Work, "inner", "inner")
    watch.watch(work, "resets", "resets")
    work.inner()  # outside of any phase
    work.outer()
    assert dict(watch.spent) == {("acting", "rest"): 1.0, ("acting", "inner"): 2.0, ("acting", "resets"): 6.0}
    watch.remove()
    assert vars(work) == {} and Work.inner.__qualname__.endswith("Work.inner") and not hasattr(Work.inner, "__wrapped__")


def test_traffic_is_counted_where_it_belongs():
    watch = profiling.Stopwatch()
    layer, data = torch.nn.Linear(3, 5, bias=False), torch.ones(2, 3)
    watch.watch(layer, "forward", "networks", "learning")
    with torch.no_grad(), profiling.Traffic(watch) as traffic:
        layer(data)
    key = ("learning", "networks")
    assert traffic.flops[key] == 2 * 2 * 3 * 5  # a product and a sum for each pair
    assert traffic.bytes[key] == 4 * (2 * 3 + 3 * 5 + 2 * 5)
    watch.remove()


def test_the_loop_beside_ours_learns():
    # a speed is worth nothing if it is that of something else: the action that pays is found
    class Bandit:
        num_envs = 64
        single_observation_space, single_action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Box(-1, 1, (1,))

        def reset(self, seed):
            return np.ones((64, 2), np.float32), {}

        def step(self, action):
            return *(np.ones((64, 2), np.float32), -np.square(action[:, 0] - 0.7), np.ones(64, bool), np.zeros(64, bool)), {}

    with torch.random.fork_rng():
        torch.manual_seed(0)
        loop = SingleLoop(Bandit(), PPOSettings(learning_rate=2e-2, batch_size=256, hidden=(16,), n_epochs=4), n_steps=4)
        for _ in range(16):
            assert loop.round() > 0
    assert loop.actor(torch.ones(1, 2)).item() == pytest.approx(0.7, abs=0.15)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(imitation, "EPISODES", 2)
    wanted = plan(tmp_path, samples=12_000.0, minutes=None, threads=1)
    stops = iter([True, True])
    monkeypatch.setattr(imitation.train, "stopping", lambda speaks: contextlib.nullcontext(lambda: 15 if next(stops, None) else None))
    with pytest.raises(KeyboardInterrupt):
        imitation.run("walk", 0, wanted, tmp_path / "walk")
    assert not (tmp_path / "walk" / imitation.RESULT).exists()
    with pytest.raises(SettingError, match="a run with other settings"):
        imitation.run("walk", 1, wanted, tmp_path / "walk")
    found = imitation.run("walk", 0, wanted, tmp_path / "walk")
    steps = read_metrics(tmp_path / "walk" / "metrics.csv")["timesteps"]
    iteration = 256 * 16  # the preset's worlds x steps
    assert steps.tolist() == [iteration * n for n in range(1, 4)] and found.figures["samples_millions"] == 3 * iteration / 1e6


@pytest.mark.slow
def test_pictures_are_measured(mprl, can_render):
    done = mprl("benchmark", "render", "--seconds", "0.1", "--json", "render.json")
    assert done.code == 0, done.err
    found = json.loads(Path("render.json").read_text())["figures"]
    assert found["render"]["ours"] > 0 and found["render"]["peer"] > 0 and found["video"]["ours"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "figures"),
    [
        (
            ["env", "--train-seconds", "0", "--num-envs", "2", "--memory-worlds", "64", "--seconds", "0.1"],
            {"step", "step_current_fields", "step_against_async", "single_world"},
        ),
        (["profile", "--num-envs", "2", "--seconds", "0.1"], {"iteration", "acting_simulation", "learning_networks"}),
        (["soak", "--num-envs", "8", "--steps", "4000", "--every", "800"], {"steps", "diverged", "not_finite"}),
        (
            ["peers", "--num-envs", "2", "--seconds", "0.1", "--round-seconds", "0.1", "--peer-steps", "32"],
            {"sb3_processes", "sb3_batch", "cleanrl_processes", "cleanrl_sync", "cleanrl_batch"},
        ),
        (["ppo", "--num-envs", "2", "--seconds", "0.1", "--round-seconds", "0.1", "--peer-steps", "32"], {"samples_per_second", "acting"}),
        (
            ["memory", "--envs", "Pendulum-v1", "--steps", "100", "--seeds", "1"],
            {"Pendulum-v1_no velocities", "Pendulum-v1_no velocities, recurrent gru"},
        ),
        (["imitation", "--motions", "walk", "--samples", "100", "--seeds", "1"], {"walk_normalized_return", "walk_mpjpe_local_mm"}),
    ],
)
def test_each_benchmark_runs(mprl, monkeypatch, tmp_path, words, figures):
    page = tmp_path / "benchmarks.md"
    page.write_text(f"<!-- {words[0]}: begin -->\n<!-- {words[0]}: end -->\n")
    monkeypatch.setattr(benchmark, "page", lambda: page)
    before = torch.get_num_threads()
    try:
        done = mprl("benchmark", *words, "--threads", "1", "--json", "figures.json", "--write")
    finally:
        torch.set_num_threads(before)
    assert done.code == 0, done.err
    told = json.loads(Path("figures.json").read_text())
    assert figures <= set(told["figures"])
    assert all(set(figure) >= KEYS for figure in told["figures"].values())
    assert told["command"] == f"mprl benchmark {' '.join(words)} --threads 1 --json figures.json --write"
    assert f"| command | `{told['command']}` |" in page.read_text()
