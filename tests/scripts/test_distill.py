"""`mprl distill`: which expert teaches which clip, and what the run folder is good for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from mprl.errors import MprlError
from mprl.motion import load
from mprl.motion.edit import trim
from mprl.motion.formats import npz
from mprl.scripts import distill

A, B = Path("a"), Path("b")


def config(**settings):
    return {"env_id": "mprl/DeepMimic-v0", "env_kwargs": {"num_envs": 4, **settings}}


def test_each_clip_is_taught_by_the_expert_that_has_learned_it():
    known = {A: {"walk": "walk", "kick": "kick"}, B: {"squat": "here/squat.npz"}}
    assert distill.assign(known, ()) == (["walk", "kick", "here/squat.npz"], [0, 0, 1])
    assert distill.assign(known, ("squat", "kick")) == (["squat", "kick"], [1, 0])


def test_the_student_lives_in_the_first_experts_environment_without_its_own_motions():
    first = config(motion="walk", contact_bodies=["root"], reward="paper", num_threads=1)
    assert distill.common_settings({A: first, B: config(motion="kick")}) == {"reward": "paper", "num_threads": 1}


@pytest.mark.parametrize(
    ("known", "wanted", "words"),
    [
        ({A: {"walk": "walk"}, B: {"walk": "walk"}}, (), ["b: has learned 'walk', as a has"]),
        ({A: {"walk": "walk"}}, ("kick",), ["no expert has learned 'kick'", "they know walk"]),
        ({A: {"walk": "walk"}, B: {"kick": "kick"}}, ("walk",), ["b: an expert for no clip", "has learned kick"]),
        ({A: {"walk": "walk"}}, ("wlak",), ["no motion named 'wlak'; did you mean 'walk'"]),
    ],
)
def test_clips_and_experts_without_each_other_are_one_line(known, wanted, words):
    with pytest.raises(MprlError) as caught:
        distill.assign(known, wanted)
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (config(character="smpl"), "b: learned with character smpl, a with character by default"),
        (config(target_frames=[1]), r"b: learned with target_frames \[1\]"),
        (config(action_mode="absolute"), "b: acts around the mean pose"),
        ({**config(), "env_id": "CartPole-v1"}, "b: expected an agent that imitates motions, found one of CartPole-v1"),
    ],
)
def test_experts_that_do_not_go_together_are_one_line(other, words):
    with pytest.raises(MprlError, match=words):
        distill.common_settings({A: config(), B: other})


@pytest.mark.slow
def test_mistakes_on_the_command_line(mprl, trained):
    assert "imitates motions" in mprl("distill", trained).mistake
    assert mprl("distill", "nowhere").mistake.startswith("nowhere: no such run folder, and no trained agent of that name")
    assert "which experts?" in mprl("distill").mistake
    assert "--steps must be a positive number" in mprl("distill", trained, "--steps", "-1").mistake


@pytest.mark.slow
def test_a_distillation_goes_on_exactly(mprl, undrawn):
    words = ("distill", "squat", "kick", "--num-envs", "8", "--agent.hidden", "16", "--agent.n-steps", "8", "--expert-share", "0.5")
    words = (*words, "--memory", "200", "--checkpoint-every", "128")
    assert mprl(*words, "--steps", "512", "--out", "whole").code == 0
    assert mprl(*words, "--steps", "256", "--out", "parts").code == 0
    done = mprl("distill", "--resume", "parts", "--steps", "512")
    assert done.code == 0 and "Going on from step 256" in done.out
    whole, parts = (list(csv.DictReader(Path(run, "metrics.csv").read_text().splitlines())) for run in ("whole", "parts"))
    assert len(whole) == len(parts) == 8
    assert all(one[key] == other[key] for one, other in zip(whole, parts, strict=True) for key in one if not key.startswith("time_"))
    assert float(whole[-1]["imitation_loss"]) > 0 and whole[-1]["expert_share"] == "0.5"
    assert mprl("distill", "--resume", "parts").mistake == "parts: the run has come to its end; give it a new one with --steps or --minutes"
    assert "to be taught on: mprl distill --resume parts" in mprl("train", "--resume", "parts", "--steps", "576").out  # with PPO
    lesson = json.loads(Path("parts/distillation.json").read_text())
    Path("parts/distillation.json").write_text(json.dumps({**lesson, "expert_of": [0, 2]}))
    assert (
        "expert_of does not say which of 2 experts knows each of 2 clips" in mprl("distill", "--resume", "parts", "--steps", "640").mistake
    )
    Path("parts/distillation.json").write_text(json.dumps({**lesson, "experts": ["squat", "gone"]}))
    assert "an expert is not there any more: gone: no such run folder" in mprl("distill", "--resume", "parts", "--steps", "640").mistake
    Path("parts/distillation.json").unlink()
    assert "parts: holds no distillation" in mprl("distill", "--resume", "parts").mistake
    assert mprl("distill", "--resume", "nowhere").mistake == "nowhere: no such run folder"


@pytest.mark.slow
def test_two_experts_become_one_that_follows_both_clips_as_well(mprl, undrawn, tmp_path):
    """The experts know nothing but differ: they are random networks, whose actions the student has to find."""
    from mprl.agents import load_agent

    small = ("--num-envs", "8", "--agent.n-steps", "8", "--agent.batch-size", "64", "--agent.hidden", "32", "--env.num-threads", "1")
    for at, name in enumerate(("squat", "kick")):
        npz.write(trim(load(name), 0.0, 0.7), tmp_path / f"{name}.npz")
        words = ("mprl/DeepMimic-v0", "--steps", "64", "--seed", str(at), "--env.motion", f"{name}.npz", "--out", name, *small)
        assert mprl("train", *words).code == 0
        expert = load_agent(Path(name))
        with torch.no_grad():
            expert.model.actor[-1].weight.mul_(8.0)
        expert.save(Path(name))
    done = mprl("distill", "squat", "kick", "--out", "both", "--steps", "12000", "--num-envs", "32", "--agent.hidden", "64")
    assert done.code == 0, done.err
    lines = [row.split(",") for row in Path("both/metrics.csv").read_text().splitlines()]
    loss = [float(row[lines[0].index("imitation_loss")]) for row in lines[1:]]
    assert loss[-1] < 0.3 * loss[0]
    returns = {}
    for name in ("squat", "kick"):
        for folder in (name, "both"):
            assert mprl("evaluate", folder, "--motion", f"{name}.npz", "--episodes", "4", "--json", "found.json").code == 0
            returns[name, folder] = json.loads(Path("found.json").read_text())["normalized_return"]
        assert abs(returns[name, "both"] - returns[name, name]) < 0.05
    assert mprl("train", "--resume", "both", "--steps", "13000").code == 0  # PPO goes on
    done = mprl("evaluate", "both", "--episodes", "2")
    assert "each clip from its start" in done.out and Path("both/failures.png").read_bytes().startswith(b"\x89PNG")
