"""Streams as real ranks serve them, against timelines worked out by hand.

Tasks take 1 over the rate of their worker. With the default code 2 of 3 tasks suffice.
"""

import numpy as np
import pytest

from hpcrefine.experiment.turns import turns
from hpcrefine.faults import Service
from hpcrefine.jobfile import load
from hpcrefine.simulate.handing import Drawn, Handing
from hpcrefine.simulate.shares import Shares
from hpcrefine.simulate.workers import RandomTimes
from hpcrefine.simulate.workload import workload


def test_late_tasks_reach_into_the_next_job(steady):
    first, second, third = steady([0, 0.5, 5], [1.0, 1.0, 0.25])
    assert (first.start, first.end, first.used, first.late, first.purged) == (0, 1, [2], [1], [0])
    # The third worker is busy until 4.
    assert (second.start, second.end, second.late, second.purged) == (1, 2, [0], [1])
    assert (third.start, third.end, third.late) == (5, 6, [1])


def test_a_worker_goes_on_when_its_late_task_is_done(steady):
    jobs = steady([0, 0, 0], [1.0, 1 / 3])  # the first worker has tasks 0 and 2
    assert [(job.start, job.end) for job in jobs] == [(0, 2), (2, 4), (4, 6)]
    assert [job.late for job in jobs] == [[1], [1], [0]]  # 0..3, 3..6, dropped at 6
    assert [job.purged for job in jobs] == [[0], [0], [1]]


def test_workers_go_on_with_the_next_unit_by_themselves(steady):
    (job,) = steady([0], [1.0, 1.0, 0.5], digits=2)
    assert job.ready == [1, 2, 3, 4]
    # The third worker: unit 0 until 2, unit 1 dropped then, unit 2 until 4, unit 3 dropped.
    assert job.late == [1, 0, 1, 0]
    assert job.purged == [0, 1, 0, 1]
    assert job.end == 4


def test_a_deadline_cuts_a_job_that_keeps_another_waiting(steady):
    first, second = steady([0, 1], [1.0, 1.0, 0.5], digits=2, stream="deadline = 2.5")
    assert first.end == 2.5
    assert first.released == [True, True, False, False]
    assert first.used == [2, 2, 0, 0]
    # The first two workers finish their tasks of unit 2 at 3, the third at 4.
    assert second.start == 2.5
    assert second.ready == [1.5, 2.5, 3.5, 4.5]
    assert second.released == [True] * 4  # nobody waits


def test_a_deadline_means_nothing_while_nobody_waits(steady):
    first, second = steady([0, 9], [1.0, 1.0, 0.5], digits=2, stream="deadline = 2.5")
    assert (first.end, first.released) == (4, [True] * 4)
    assert second.start == 9
    first, _ = steady([0, 3.5], [1.0, 1.0, 0.5], digits=2, stream="deadline = 2.5")
    assert (first.end, first.released) == (3.5, [True, True, True, False])


def test_a_strict_deadline_counts_from_the_arrival(steady):
    strict = 'deadline = 2.5\npolicy = "strict"'
    first, second = steady([0, 1], [1.0, 1.0, 0.5], digits=2, stream=strict)
    assert (first.end, first.released) == (2.5, [True, True, False, False])
    assert (second.start, second.end, second.released) == (2.5, 3.5, [False] * 4)
    _, never = steady([0, 0], [1.0, 1.0, 0.5], digits=2, stream=strict)
    assert (never.start, never.end, never.released) == (2.5, 2.5, [False] * 4)
    assert never.purged == [3] * 4


def test_what_takes_time_besides_tasks(steady):
    costs = "communication = 0.5\ndecode = 0.25\noverhead = 1.0"
    first, second = steady([0, 0], [1.0, 1.0, 1.0], digits=2, simulate=costs)
    assert first.ready == [1.75, 2.75, 3.75, 4.75]
    assert second.start == 5.75
    (job,) = steady([0], [1.0, 1.0, 1.0], digits=2, simulate="decode = 2.0")
    assert job.ready == [3, 5, 7, 9]  # the master decodes one layer after the other


def test_workers_that_do_not_know_yet_go_on(steady):
    (job,) = steady([0], [1.0, 1.0, 0.5], digits=2, simulate="purge = 0.5")
    # The third worker: units 0 until 2, 1 (recovered at 2) until 4, not 2 (at 3), 3 (at 4).
    assert job.ready == [1, 2, 3, 4]
    assert job.late == [1, 1, 0, 1]
    first, second = steady(
        [0, 1], [1.0, 1.0, 1.0], digits=2, stream="deadline = 2.0", simulate="purge = 0.5"
    )
    assert (first.end, second.start) == (2, 2)
    assert second.ready[0] == 2  # all had begun what was cut


@pytest.mark.parametrize(("prefetch", "end"), [(1, 3), (2, 4)])
def test_dynamic(steady, prefetch, end):
    (job,) = steady(
        [0],
        [1.0, 0.5],
        tasks=4,
        code='scheme = "uncoded"\ntasks = 4',
        schedule=f'split = "dynamic"\nprefetch = {prefetch}',
    )
    assert (job.end, job.used) == (end, [4])


def test_dynamic_drops_what_is_reserved(steady):
    schedule = 'split = "dynamic"\nprefetch = 2'
    (job,) = steady([0], [0.8, 1.0, 0.2], digits=2, schedule=schedule)
    # First worker: tasks 0 of unit 0, 0 of 1, 1 of 2, 0 of 3; second: 1 of 0, 1 of 1, 0 and 2 of 2,
    # 1 of 3; third: 2 of 0 until 5, what it had of unit 1 is dropped.
    assert job.ready == [1.25, 2.5, 3.75, 5]
    assert job.late[:3] == [1, 0, 1]


def test_idle_workers_copy(steady):
    first, second = steady([0, 0], [1.0, 0.1], code='scheme = "speculative"\ntasks = 2')
    assert (first.end, first.used, first.purged) == (2, [2], [0])
    assert (second.start, second.end, second.purged) == (2, 4, [0])  # worker 2 is busy until 10


def test_copies_of_a_block_are_dropped(steady):
    code = 'scheme = "replication"\ntasks = 2\nredundancy = 2.0'
    (job,) = steady([0], [1.0, 1.25], code=code)
    # The second worker begins its copy of the first one's block at 0.8; that one need not.
    assert (job.end, job.used, job.late, job.purged) == (1, [2], [1], [1])


def test_rateless_tasks_go_on(steady):
    (job,) = steady([0], [1.0, 0.01], tasks=4, code='scheme = "lt"\ntasks = 4\nredundancy = 1.5')
    assert 4 <= job.end < 100
    assert job.used[0] + job.late[0] >= 5


@pytest.mark.parametrize("scheme", ["mds", "blockdiagonal", "matdot", "uncoded"])
@pytest.mark.parametrize(("cut", "purge"), [(np.inf, 0.0), (0.9, 0.0), (np.inf, 0.1), (0.9, 0.1)])
def test_shares_and_events_agree(tmp_path, scheme, cut, purge, rng):
    path = tmp_path / "job.toml"
    ratio = "" if scheme == "uncoded" else "redundancy = 1.5"
    path.write_text(
        f'[operands]\noperations = 4.0\n[code]\nscheme = "{scheme}"\ntasks = 9\n{ratio}'
    )
    job = load(path)
    load_ = workload(job, turns(job)[0], 4, None)
    for _ in range(20):
        steady = Service("deterministic", 1.0)
        times = RandomTimes(rng.uniform(0.5, 2, 4), steady, (), np.full(4, -1))
        begin, factors = rng.uniform(0, 1, 4), rng.uniform(1, 2, 4)
        shares = Shares(load_, times, purge)
        one = shares.run(next(shares.draw(rng, factors, 1)), begin, cut)
        other = Handing(load_, factors, Drawn(times, rng), purge).run(begin, cut)
        for name in ("recovered", "free", "computed"):
            assert getattr(one, name) == pytest.approx(getattr(other, name)), name
        assert one.used.tolist() == other.used.tolist()
        assert one.purged.tolist() == other.purged.tolist()
        assert sorted(zip(one.workers, one.seconds.round(9), strict=True)) == sorted(
            zip(other.workers, other.seconds.round(9), strict=True)
        )


SLOWING = """
[job]
repeats = 1
[operands]
operations = 100.0
[code]
scheme = "mds"
tasks = 20
redundancy = 1.0
[schedule]
split = "optimal"
[stream]
jobs = 60
rate = 0.01
[workers]
rates = 20.0
[simulate]
service = { distribution = "deterministic" }
[[faults.worker]]
rank = 2
slows = [[30, 4.0]]
"""


def test_the_split_follows_a_worker_that_slows_down(streams):
    (stream,) = streams(SLOWING, workers=4)
    estimates = stream.outcome.estimates
    assert estimates[0].job == 0
    assert estimates[0].loads.tolist() == [5] * 4
    assert estimates[0].means == pytest.approx([25 / 20] * 4)  # as the rates say
    changes = {estimate.job: estimate.loads.tolist() for estimate in estimates}
    assert min(set(changes) - {0}) > 30
    assert changes[max(changes)][1] <= 2
    assert max(estimates[-1].means) == pytest.approx(5, rel=0.2)
    ready = stream.outcome.ready[:, -1]
    assert ready[30] == pytest.approx(4 * ready[29])
    assert ready[59] < 2 * ready[29]


def test_nothing_is_known_of_workers_without_rates(streams):
    text = SLOWING.replace("[workers]\nrates = 20.0", "[faults]\n" + SERVICE)
    text = text.replace("slows = [[30, 4.0]]", "slowdown = 4.0")
    (stream,) = streams(text, workers=4)
    first, second, *_ = stream.outcome.estimates
    assert np.isnan(first.means).all()
    assert (second.job, second.means) == (1, pytest.approx([1, 4, 1, 1]))


SERVICE = 'service = { distribution = "deterministic", mean = 1.0, per = "product" }'
