"""Jobs of a network from job file to record: at a pool that is only played, then on ranks."""

import itertools
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hpcrefine.ending import Ending
from hpcrefine.errors import InputError, LostError
from hpcrefine.experiment.inferring import Inferring
from hpcrefine.experiment.progress import Progress
from hpcrefine.experiment.run import Output, check_resumable, run
from hpcrefine.experiment.turns import inference_turns
from hpcrefine.inference.evaluate import evaluate
from hpcrefine.inference.evaluator import Evaluator, LocalMultiplier
from hpcrefine.inference.files import load_network, save_network
from hpcrefine.inference.network import Network, Node, decisions
from hpcrefine.jobfile import load
from hpcrefine.kernels import KERNELS
from hpcrefine.launch import find_launcher
from hpcrefine.record import schema
from hpcrefine.record.reader import read

SAMPLES, FEATURES, HIDDEN, CLASSES = 90, 12, 16, 3

JOB = """
[job]
kind = "inference"
seed = 3
repeats = 2
warmups = 0
[network]
file = "net.npz"
[samples]
images = {file = "images.npy", rows = [0, 90]}
labels = {file = "labels.npy", rows = [0, 90]}
[calibration]
images = {file = "images.npy", rows = [90, 1700]}
labels = {file = "labels.npy", rows = [90, 1700]}
[precision]
upgrades = 3
digit_bits = 2
[baseline]
oneshot = true
all = true
[[compare.settings]]
name = "published"
digits = "truncate"
upgrades = 4
digit_bits = 1
rule = "margin"
"""


def dense(name, before, out, inner, rng):
    weight = rng.normal(0, inner**-0.5, (out, inner)).astype(np.float32)
    bias = rng.normal(0, 0.1, out).astype(np.float32)
    return Node(name, "dense", (before,), weights={"weight": weight, "bias": bias})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a network, images and labels (mostly its own decisions), and a job file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    nodes = (
        dense("hidden", "input", HIDDEN, FEATURES, rng),
        Node("active", "relu", ("hidden",)),
        dense("scores", "active", CLASSES, HIDDEN, rng),
    )
    net = Network((FEATURES,), nodes, input_scale=1 / 255)
    save_network(net, tmp_path / "net.npz")
    images = rng.integers(0, 256, (1700, 3, 4), dtype=np.uint8)
    labels = decisions(evaluate(net, images.reshape(1700, FEATURES)))
    labels[::10] = (labels[::10] + 1) % CLASSES
    np.save("images.npy", images)
    np.save("labels.npy", labels)
    Path("job.toml").write_text(JOB)
    return tmp_path


Upgraded = namedtuple("Upgraded", "upgrade scores decided entered seconds operations last")


class Played:
    """A pool without workers that does it all itself; what it gives can be spoilt."""

    workers = 2

    def __init__(self, spoil=None, at=-1, lost_after=None, late_after=None):
        self.spoil, self.at, self.lost_after, self.late_after = spoil, at, lost_after, late_after
        self.roster = SimpleNamespace(usable=[1, 2], events=[])
        self.asked, self.closed, self.mpi = [], 0, {"mpi": "none", "mpi4py": "none"}
        self.inject = self.guard = lambda *_, **__: None

    def configure(self, kernel, library, peaks):
        row = {"host": "here", "pid": 1, "cpus": "0", "threads": 1, "kernel": kernel, "warning": ""}
        return [row | {"rank": rank} for rank in self.roster.usable]

    def clock(self):
        return time.perf_counter()

    def settle(self):
        """Nothing is in flight."""

    def infer(self, network, samples, *, rule, **asked):
        self.asked.append(asked)
        return PlayedInference(self, network, samples, rule)


class PlayedInference:
    def __init__(self, pool, network, samples, rule):
        self.log, self.traffic = {}, (100, 200)
        self.pool, self.network, self.samples, self.rule = pool, network, samples, rule
        self.start = pool.clock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.closed += 1

    def fates(self, upgrade):
        return {"used": 4 + upgrade, "late": 0, "purged": 1, "lost": 0}

    def __iter__(self):
        network, samples = self.network, self.samples
        evaluator = Evaluator(network, LocalMultiplier(network, KERNELS["float64"](None)))
        states = [evaluator.begin(sample[None]) for sample in samples]
        scores = np.zeros((len(samples), network.classes), np.float32)
        decided = np.zeros(len(samples), bool)
        for upgrade in range(network.upgrades):
            if upgrade == self.pool.lost_after:
                raise LostError("nobody is left")
            if upgrade == self.pool.late_after:
                return
            entered = np.flatnonzero(~decided)
            for at in entered:
                scores[at] = evaluator.upgrade(states[at])[0]
            decided[entered] = self.rule.decided(scores[entered], upgrade)
            if self.pool.spoil == upgrade:
                scores[entered[self.pool.at], 0] += 2**-20
            last = bool(decided.all())
            seconds = self.pool.clock() - self.start
            done = len(entered) * network.operations(upgrade)
            yield Upgraded(
                upgrade, scores.copy(), decided.copy(), len(entered), seconds, done, last
            )
            if last:
                return


class Notes(list):
    def note(self, text):
        self.append(text)


def ready(*overrides, pool=None):
    job = load("job.toml", overrides)
    inferring = Inferring(job, pool or Played())
    notes = Notes()
    inferring.dry_run(notes)
    return job, inferring, notes


def measured(*overrides, pool=None):
    """Measure the first job of each variant; return them by variant."""
    job, inferring, _ = ready(*overrides, pool=pool)
    found = {}
    for number, turn in enumerate(inference_turns(job)):
        if turn.variant not in found:
            found[turn.variant] = inferring.measure(number, turn)
    return found


def column(rows, name):
    return [row[name] for row in rows]


def test_rows_of_every_variant(folder):
    found = measured()
    assert found.keys() == {"adaptive", "all", "oneshot", "published"}
    for variant, one in found.items():
        assert one.job["variant"] == variant
        assert one.job["verdict"] == ("unchecked" if variant == "oneshot" else "exact")
        assert (one.job["status"], one.loss) == ("done", "")
        assert (one.job["n"], one.job["k"], one.job["p"]) == (SAMPLES, FEATURES, CLASSES)
        for table, rows in (("jobs", [one.job]), ("upgrades", one.upgrades)):
            schema.pack(table, rows)
        assert len(one.predictions) == SAMPLES * len(one.upgrades)
        last = one.upgrades[-1]
        assert (last["decided"], last["gray"], last["met_deadline"]) == (SAMPLES, 0.0, True)
        assert column(one.upgrades, "ready") == sorted(column(one.upgrades, "ready"))
        assert one.job["end"] - one.job["start"] == pytest.approx(last["ready"])


def test_all_upgrades_for_all_samples(folder):
    rows = measured()["all"].upgrades
    assert column(rows, "samples") == [SAMPLES] * 3
    assert column(rows, "decided") == [0, 0, SAMPLES]
    assert column(rows, "gray") == [1, 1, 0]
    assert rows[-1]["agreement"] == 1.0
    assert column(rows, "tasks_used") == [4, 5, 6]
    assert column(rows, "tasks_purged") == [1, 1, 1]
    oneshot = SAMPLES * (FEATURES * HIDDEN + HIDDEN * CLASSES)
    assert rows[0]["share"] * oneshot == rows[0]["operations"]
    assert rows[-1]["share"] * oneshot == pytest.approx(sum(column(rows, "operations")))


def test_decided_samples_leave(folder):
    found = measured()
    rows = found["adaptive"].upgrades
    for before, after in itertools.pairwise(rows):
        assert after["samples"] == SAMPLES - before["decided"]
    assert 0 < rows[0]["decided"] < SAMPLES
    assert rows[-1]["share"] < found["all"].upgrades[-1]["share"]
    assert rows[-1]["agreement"] >= 0.9


def test_oneshot_is_that_of_float32(folder):
    one = measured()["oneshot"]
    (row,) = one.upgrades
    network = load_network(Path("net.npz"))
    scores = evaluate(network, np.load("images.npy")[:SAMPLES].reshape(-1, FEATURES))
    chosen, labels = decisions(scores), np.load("labels.npy")[:SAMPLES]
    assert row["accuracy"] == np.mean(chosen == labels) == 0.9
    assert (row["share"], row["samples"], row["tasks_used"]) == (1.0, SAMPLES, 0)
    assert np.array_equal(one.predictions["prediction"], chosen)
    assert one.predictions["error"].max() < 0.5


def test_predictions(folder):
    for variant, one in measured().items():
        for row in one.upgrades:
            part = one.predictions[one.predictions["upgrade"] == row["upgrade"]]
            assert part["sample"].tolist() == list(range(SAMPLES))
            assert np.mean(part["label"] == part["prediction"]) == row["accuracy"]
            assert part["decided"].sum() == row["decided"]
            assert part["score"].min() >= 0
        if variant == "all":
            assert part["error"].max() == 0


def test_predictions_of_the_first_repeat_alone(folder):
    job, inferring, _ = ready("job.warmups=1")
    for number, turn in enumerate(inference_turns(job)):
        found = inferring.measure(number, turn).predictions
        assert (found is not None) == (turn.repeat == 0 and not turn.warmup)


def test_a_wrong_score_is_noticed(folder):
    for upgrade in (0, 2):
        found = measured("adaptive.rule=none", pool=Played(spoil=upgrade))
        verdicts = {variant: one.job["verdict"] for variant, one in found.items()}
        assert verdicts == {
            **dict.fromkeys(("adaptive", "all", "published"), "wrong"),
            "oneshot": "unchecked",
        }


def test_early_scores_of_a_sample_are_compared_and_the_last_of_all(folder):
    sampled = ("verify.exact=sampled", "adaptive.rule=none")
    assert measured(*sampled)["all"].job["verdict"] == "exact (sampled)"
    for upgrade, at, verdict in (
        (0, 1, "exact (sampled)"),
        (0, 0, "wrong"),
        (2, 1, "wrong"),
    ):
        found = measured(*sampled, pool=Played(spoil=upgrade, at=at))["all"]
        assert found.job["verdict"] == verdict
    found = measured("verify.exact=off", pool=Played(spoil=0))["all"]
    assert (found.job["verdict"], found.upgrades[-1]["agreement"]) == ("unchecked", 1.0)


def test_a_lost_job(folder):
    found = measured(pool=Played(lost_after=1))["all"]
    assert (found.job["status"], found.job["verdict"]) == ("lost", "exact")
    assert found.loss == "nobody is left"
    assert len(found.upgrades) == 1
    nothing = measured(pool=Played(lost_after=0))["all"]
    assert (nothing.job["status"], nothing.job["verdict"]) == ("lost", "unchecked")
    assert (len(nothing.upgrades), nothing.predictions) == (0, None)


def test_what_the_deadline_cost(folder):
    pool = Played(late_after=1)
    one = measured("schedule.deadline=0.25", pool=pool)["all"]
    assert {asked["deadline"] for asked in pool.asked} == {0.25}
    assert (one.job["status"], one.job["deadline"]) == ("stopped", 0.25)
    assert column(one.upgrades, "met_deadline") == [True, False, False]
    assert column(one.upgrades, "upgrade") == [0, 1, 2]
    assert np.isnan(one.upgrades[1]["ready"])
    assert np.isnan(one.upgrades[1]["accuracy"])
    schema.pack("upgrades", one.upgrades)


def test_one_shot_is_cut(folder):
    ending = Ending(grace=0)
    job = load("job.toml")
    inferring = Inferring(job, Played(), ending=ending)
    inferring.dry_run(Notes())
    number, turn = next(each for each in enumerate(inference_turns(job)) if not each[1].setting)
    ending.ask()
    time.sleep(0.01)
    one = inferring.measure(number, turn)
    assert (one.job["status"], one.job["verdict"]) == ("stopped", "unchecked")
    assert one.job["end"] > one.job["start"]
    assert list(one.upgrades) == []
    assert ending.cut


def test_stop_after_an_upgrade_but_all_upgrades_for_all(folder):
    found = measured("stop.upgrade=0", "adaptive.rule=none")
    for variant, count in (("adaptive", 1), ("published", 1), ("all", 3)):
        assert len(found[variant].upgrades) == count
        assert found[variant].job["status"] == ("done" if variant == "all" else "stopped")
        assert found[variant].job["verdict"] == "exact"


def test_stop_once_enough_is_decided(folder):
    rows = measured()["adaptive"].upgrades
    share = rows[0]["decided"] / SAMPLES
    assert len(measured(f"stop.decided={share}")["adaptive"].upgrades) == 1
    assert len(measured(f"stop.decided={share + 0.001}")["adaptive"].upgrades) > 1


def test_what_is_asked_of_the_pool(folder):
    pool = Played()
    ready(
        *("schedule.distribute=products", "schedule.block=7"),
        *("code.scheme=mds", "code.tasks=4", "code.redundancy=1.5"),
        pool=pool,
    )
    assert pool.closed == len(pool.asked) == 3  # dry runs of adaptive, all, published
    assert pool.asked[0] == {
        **{"distribute": "products", "block": 7, "deadline": None},
        **{"code": "mds", "tasks": 4, "redundancy": 1.5, "survive": 0, "verify": "none"},
    }
    pool = Played()
    ready(pool=pool)
    assert pool.asked[0] == {"distribute": "samples", "block": None, "deadline": None}


def test_people_are_told_what_was_calibrated(folder):
    notes = "\n".join(ready()[2])
    assert "3 upgrades of 2 bits, balanced digits: quantised and evaluated here in" in notes
    assert "% of the calibration split are right" in notes
    assert "all: no sample is decided before the last upgrade" in notes
    assert "published: decided once the margin exceeds 0.05, 0.05, 0.05" in notes
    assert notes.count("quantised") == 2  # each precision once


def rows_of(record):
    """Return what does not depend on time."""
    return [record.jobs[["job", "variant", "verdict"]].tolist()] + [
        getattr(record, table)[list(names)].tolist()
        for table, names in (
            ("upgrades", ("job", "upgrade", "samples", "decided", "accuracy", "share")),
            ("predictions", ("job", "upgrade", "sample", "prediction", "score", "decided")),
        )
    ]


def test_an_interrupted_run_goes_on(folder):
    class Broken(Played):
        def infer(self, *given, **asked):
            if len(self.asked) == 6:  # three dry runs, then the jobs
                raise RuntimeError
            return super().infer(*given, **asked)

    job = load("job.toml")
    run(job, Played(), Output(Path("whole.h5")), Progress("x"))
    with pytest.raises(RuntimeError):
        run(job, Broken(), Output(Path("x.h5")), Progress("x"))
    before = read("x.h5")
    assert not before.complete
    assert 3 <= len(before.jobs) < 8
    check_resumable(job, Path("x.h5"))
    outcome = run(job, Played(), Output(Path("x.h5"), resume=True), Progress("x"))
    after, whole = read("x.h5"), read("whole.h5")
    assert (outcome.jobs, outcome.wrong, outcome.lost) == (8, 0, 0)
    assert after.complete
    assert after.jobs["end"][: len(before.jobs)].tolist() == before.jobs["end"].tolist()
    assert np.all(np.diff(after.jobs["start"]) > 0)
    assert rows_of(after) == rows_of(whole)


def hpcrefine(*words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "hpcrefine", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def mistake(*words):
    """Run it; return its one line of complaint."""
    said = hpcrefine(*words, code=2).stderr
    assert said.startswith("hpcrefine: job.toml: ")
    assert said.count("\n") == 1
    return said


def test_run_on_ranks(folder):
    done = hpcrefine("run", "job.toml", "-n", "3", "-o", "x.h5")
    assert "quantised" in done.stderr
    record = read("x.h5")
    assert record.complete
    assert sorted(record.jobs["variant"]) == sorted(["adaptive", "all", "oneshot", "published"] * 2)
    layered = record.jobs[record.jobs["variant"] != "oneshot"]
    assert set(layered["verdict"]) == {"exact"}
    assert set(layered["status"]) == {"done"}
    assert len(record.upgrades)
    assert len(record.layers) == 0
    assert set(record.tasks["status"]) == {"used"}
    assert set(record.tasks["worker"]) == {1, 2}
    of_one = record.predictions[record.predictions["upgrade"] == 0]
    assert len(of_one) == SAMPLES * 4


@pytest.mark.skipif(not find_launcher().tolerant, reason="a dead worker ends the run")
def test_a_worker_that_dies_changes_no_prediction(folder):
    expected = measured()["adaptive"].predictions
    words = ["job.repeats=1", "schedule.block=10", "baseline.oneshot=false"]
    words.append("compare.settings=[{name = 'dealt', distribute = 'products'}]")
    words.append("faults.worker=[{rank = 1, kill = {after = 2}}]")
    hpcrefine(*("run", "job.toml", "-n", "4", "-o", "x.h5"), *(f"--set={each}" for each in words))
    record = read("x.h5")
    assert set(record.jobs["verdict"]) == {"exact"}
    assert record.jobs["dead"][-1] == 1
    assert set(record.events["kind"]) == {"died"}
    for variant in ("adaptive", "dealt"):
        number = record.jobs["job"][record.jobs["variant"] == variant][0]
        found = record.predictions[record.predictions["job"] == number]
        for name in ("upgrade", "sample", "prediction", "score", "decided"):
            assert np.array_equal(found[name], expected[name])


def test_simulate_is_for_products(folder):
    assert '[job] kind: found "inference", expected "matmul"' in mistake("simulate", "job.toml")


def test_samples_of_another_network_are_refused_before_ranks_start(folder):
    np.save("images.npy", np.zeros((1700, 5, 5), np.uint8))
    said = mistake("run", "job.toml", "-n", "3", "-o", "x.h5")
    assert "[samples] images: images.npy: found images of shape (90, 5, 5), expected" in said
    assert not Path("x.h5").exists()


def test_weights_that_are_no_numbers(folder):
    with np.load("net.npz") as file:
        arrays = dict(file)
    name = next(name for name, array in arrays.items() if array.shape == (HIDDEN, FEATURES))
    arrays[name][2, 3] = np.nan
    np.savez("net.npz", **arrays)
    said = mistake("run", "job.toml", "-n", "3")
    assert "[network] file: net.npz" in said
    assert "found nan at [2, 3], expected finite" in said


def test_pixels_that_are_no_numbers(folder):
    images = np.load("images.npy").astype(np.float32)
    images[5, 0, 0] = np.inf
    np.save("images.npy", images)
    with pytest.raises(InputError, match=r"images\.npy: found NaN or infinity, expected finite"):
        Inferring(load("job.toml"), Played())


def test_a_calibration_split_that_is_too_small(folder):
    said = mistake("run", "job.toml", "-n", "3", "--set", "adaptive.epsilon=0.001")
    assert "[calibration] images: found 1610 samples, expected at least 7376 for" in said
