"""What `mprl benchmark scaling` makes of the tables that runs leave behind."""

from __future__ import annotations

from mprl.scripts.benchmarks.scaling import Rates, Way, figures, overview, rates


def test_the_first_iterations_do_not_count(tmp_path):
    """300 samples in 2 s, of which 1 s acting, .5 s learning and .25 s communicating."""
    table = tmp_path / "metrics.csv"
    rows = ("timesteps,time_elapsed,time_acting,time_learning,time_communicating", "100,9,5,3,1", "200,10,.6,.3,.1")
    table.write_text("\n".join((*rows, "300,10.5,.5,.1,.05", "400,11,.2,.2,.1", "500,12,.3,.2,.1", "")))
    assert rates(table) == Rates(150.0, (0.5, 0.25, 0.125))


def test_the_ideal_is_as_many_times_one_process():
    one, two, threaded = Way(1, 1), Way(2, 1), Way(1, 2)
    runs = {one: [Rates(100.0, (0.6, 0.4, 0.0))], two: [Rates(150.0, (0.5, 0.3, 0.2))], threaded: [Rates(120.0, (0.5, 0.5, 0.0))]}
    rate, speed_up, waiting = figures(runs)
    assert (rate.ours, rate.peer, rate.limit, rate.ratio_to_limit, rate.ratio_to_peer) == (150.0, 120.0, 200.0, 0.75, 1.25)
    assert (speed_up.ours, speed_up.ratio_to_limit, waiting.ours) == (1.5, 0.75, 0.2)
    assert overview(runs).rows[1] == ("2 processes with 1 thread each", "150", "50%", "30%", "20%", "0%")
