"""``hpcrefine simulate`` from outside: records, what is said, and mistakes."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcrefine.cli import main
from hpcrefine.experiment.turns import turns
from hpcrefine.jobfile import load
from hpcrefine.record.reader import read

SMALL = """
[job]
repeats = 2
warmups = 1
[operands]
operations = 1000.0
[code]
scheme = "mds"
tasks = 8
redundancy = 1.25
[compare]
redundancies = [1.25, 1.5]
splits = ["uniform", "optimal"]
[baseline]
oneshot = true
coded = true
[stream]
jobs = 30
rate = 0.05
deadline = 12.0
[workers]
rates = [20.0, 30.0, 40.0, 50.0]
"""


@pytest.fixture
def simulate(tmp_path, monkeypatch, capsys):
    """Call the command in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)

    def call(text, *arguments):
        (tmp_path / "job.toml").write_text(text)
        code = main(["simulate", "job.toml", "-o", "out.h5", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_a_record(simulate):
    code, out, err = simulate(SMALL)
    assert code == 0
    assert out.startswith("out.h5: simulated; 4 workers")
    assert "[16/16]" in err
    record = read("out.h5")
    assert record.complete
    assert record.attributes["kind"] == "simulated"
    assert record.attributes["job"].strip() == SMALL.strip()
    jobs, layers = record.jobs, record.layers
    assert jobs["job"].tolist() == list(range(16 * 30))
    order = [turn for turn in turns(load("job.toml")) if not turn.warmup]
    firsts = jobs[::30]
    assert firsts["variant"].tolist() == [turn.variant for turn in order]
    assert firsts["repeat"].tolist() == [turn.repeat for turn in order]
    assert firsts["split"].tolist() == [turn.split for turn in order]
    assert firsts["redundancy"].tolist() == [turn.code.redundancy for turn in order]
    assert set(jobs["scheme"]) == {"mds"}
    assert set(jobs["verdict"]) == {"unchecked"}
    assert set(jobs["status"]) == {"done", "stopped"}
    assert not jobs["warmup"].any()
    assert set(jobs["rate"]) == {0.05}
    assert set(jobs["deadline"]) == {12.0}
    assert np.all(jobs["start"] >= jobs["arrival"])
    assert np.all(jobs["end"] >= jobs["start"])
    assert len(record.tasks) == 0
    oneshot = jobs["job"][jobs["variant"] == "oneshot"]
    one = np.isin(layers["job"], oneshot)
    assert set(layers["layer"][one]) == {0}
    assert layers["layer"][~one].reshape(-1, 3).tolist() == [[0, 1, 2]] * 240
    assert layers["share"][~one][:3].tolist() == [0.25, 0.75, 1]
    assert layers["minijobs"][~one][:3].tolist() == [1, 2, 1]
    met = layers["met_deadline"]
    assert np.array_equal(np.isnan(layers["ready"]), ~met)
    assert np.array_equal(np.isnan(layers["delay"]), ~met)
    by_job = dict(zip(jobs["job"].tolist(), jobs["status"].tolist(), strict=True))
    stopped = {job for job, status in by_job.items() if status == "stopped"}
    assert stopped == set(layers["job"][~met].tolist())
    estimates = record.estimates
    assert estimates["job"].tolist() == np.repeat(jobs["job"][::30], 4).tolist()
    assert estimates["worker"].tolist() == [1, 2, 3, 4] * 16
    assert estimates["mean"][:4] == pytest.approx([250 / rate for rate in (20, 30, 40, 50)])
    assert record.workers["rank"].tolist() == [1, 2, 3, 4]
    with h5py.File("out.h5") as file:
        assert file["jobs"].compression == "lzf"


def test_variants_of_a_repeat_have_the_same_arrivals(simulate):
    simulate(SMALL)
    arrivals = read("out.h5").jobs["arrival"].reshape(16, 30)
    repeats = read("out.h5").jobs["repeat"][::30]
    for repeat in (0, 1):
        same = arrivals[repeats == repeat]
        assert np.all(same == same[0])
    assert not np.array_equal(arrivals[0], arrivals[-1])


@pytest.mark.parametrize("model", ["ranks", "published"])
def test_the_seed_decides(simulate, model):
    found = []
    for seed in (0, 0, 1):
        settings = ["--force", "--set", f"job.seed={seed}", "--set", f"simulate.model={model}"]
        assert simulate(SMALL, *settings)[0] == 0
        found.append(read("out.h5"))
    assert np.array_equal(found[0].layers["delay"], found[1].layers["delay"], equal_nan=True)
    assert not np.array_equal(found[0].layers["delay"], found[2].layers["delay"], equal_nan=True)


def test_jobs_without_a_stream(simulate):
    text = SMALL.replace("[stream]\njobs = 30\nrate = 0.05\ndeadline = 12.0\n", "")
    assert simulate(text)[0] == 0
    jobs = read("out.h5").jobs
    assert len(jobs) == 16
    assert set(jobs["arrival"]) == set(jobs["start"]) == {0.0}
    assert np.isnan(jobs["rate"]).all()
    assert np.isnan(jobs["deadline"]).all()


def test_a_file_of_arrivals(simulate, tmp_path):
    (tmp_path / "times.txt").write_text("0\n1\n8\n")
    text = SMALL.replace("jobs = 30\nrate = 0.05", 'arrivals = "times.txt"')
    assert simulate(text)[0] == 0
    jobs = read("out.h5").jobs
    assert jobs["arrival"].tolist() == [0, 1, 8] * 16
    assert set(jobs["rate"]) == {3 / 8}


def test_operands_say_how_much_there_is_to_do(simulate):
    operands = 'a = {random="normal", shape=[100, 50]}\nb = {random="normal", shape=[50, 80]}'
    code, _, _ = simulate(SMALL.replace("operations = 1000.0", operands), "--set", "stream.rate=1")
    assert code == 0
    record = read("out.h5")
    assert set(record.jobs["n"]) == {100}
    # Z = 2 n k p; a combination costs two digit products, a plain block one.
    assert record.estimates["mean"][0] == pytest.approx(2 * 100 * 50 * 80 / 4 / 20)
    layered = record.jobs["job"][
        (record.jobs["variant"] == "layered") & (record.jobs["redundancy"] == 1.25)
    ]
    first = record.layers[record.layers["job"] == layered[0]]
    assert first["digit_products"].tolist() == [1.5, 3, 1.5]


def test_no_mpi():
    script = "import sys, hpcrefine.simulate.simulation; print('mpi4py.MPI' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_an_overloaded_queue_is_warned_of(simulate):
    _, _, err = simulate(SMALL, "--set", "stream.rate=0.168")
    warning = "warning: [stream] rate: utilisation rho = 1.20 >= 1: the queue grows without end, "
    assert err.splitlines()[0] == f"{warning}delays depend on the number of jobs"
    assert "warning" not in simulate(SMALL, "--force")[2]


WITHOUT = SMALL.replace("rates = [20.0, 30.0, 40.0, 50.0]", "")
PUBLISHED = ("--set", "simulate.model=published")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (WITHOUT, (), "job.toml: [workers] rates: found nothing, expected operations a second "),
        (SMALL, ("-n", 4), "job.toml: [workers] rates: found 4 workers, expected the 3 of -n 4"),
        (SMALL, ("-n", 1), "ranks: found 1, expected at least 2 (a master and a worker)"),
        (
            WITHOUT + "count = 7\nrates = 10.0",
            ("-n", 3),
            "job.toml: [workers] count: found 7 workers, expected the 2 of -n 3",
        ),
        (
            SMALL + "[faults]\nworker = [{rank = 2, kill = {at = 1.0}}]",
            (),
            "job.toml: [faults] worker[0].kill: found it in a simulation, expected slowdown, ",
        ),
        (
            SMALL + "[faults]\nworker = [{rank = 9, slowdown = 2.0}]",
            (),
            "job.toml: [faults] worker[0].rank: found 9, expected 1..4, the ranks of the workers",
        ),
        (
            SMALL,
            ("--set", 'simulate.service={distribution="pareto", shape=2.0}'),
            "job.toml: [schedule] gamma: found 1 with times of infinite variance, expected 0",
        ),
        (
            SMALL,
            (*PUBLISHED, "--set", 'compare.splits=["dynamic"]'),
            'job.toml: [schedule] split: found "dynamic", expected "uniform" or "optimal" with ',
        ),
        (
            SMALL.replace('"mds"', '"lt"'),
            PUBLISHED,
            'job.toml: [code] scheme: found "lt" with [simulate] model = "published"',
        ),
        (
            SMALL,
            ("--set", "resolution.stop={tolerance=1.0}"),
            "job.toml: [resolution] stop: found it in a simulation, which knows no errors, ",
        ),
        (SMALL, ("--calibrate", "none.h5"), "none.h5: no such file; expected a record"),
        (
            SMALL.replace(
                "operations = 1000.0",
                'a = {random="normal", shape=[5, 50]}\nb = {random="normal", shape=[50, 80]}',
            ),
            (),
            "job.toml: [code] tasks: found K = 8 tasks for 5 rows of a",
        ),
    ],
)
def test_mistakes(simulate, text, arguments, message):
    code, out, err = simulate(text, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"hpcrefine: {message}")
    assert err.count("\n") == 1


def test_an_existing_record_stays(simulate):
    simulate(SMALL)
    assert simulate(SMALL)[2].startswith("hpcrefine: out.h5: exists already; give --force")


JOBS = Path(__file__).parents[2] / "jobs"
SHORTENED = ("--set", "job.repeats=1", "--set", "stream.jobs=20")


FIGURES = [
    path
    for path in sorted((JOBS / "paper").glob("*.toml"))
    if 'kind = "inference"' not in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", FIGURES, ids=lambda p: p.stem)
def test_published_figures_run(path, tmp_path, capsys):
    code = main(["simulate", str(path), "-o", str(tmp_path / "out.h5"), *SHORTENED])
    assert (code, capsys.readouterr().err.count("warning")) == (0, 0)
    jobs = read(tmp_path / "out.h5").jobs
    assert set(jobs["variant"]) == {"layered", "oneshot"}


@pytest.mark.parametrize("name", ["stream", "splits", "slowing", "reality"])
def test_jobs_for_ranks_can_be_simulated(name, tmp_path):
    path = JOBS / f"{name}.toml"
    assert main(["simulate", str(path), "-n", "6", "-o", str(tmp_path / "o.h5"), *SHORTENED]) == 0


def test_all_codes_can_be_simulated(tmp_path):
    path, out = JOBS / "codes.toml", tmp_path / "out.h5"
    assert main(["simulate", str(path), "-n", "7", "-o", str(out), "--set", "job.repeats=5"]) == 0
    record = read(out)
    slow = {
        (scheme, count): record.jobs["end"][
            (record.jobs["scheme"] == scheme) & (record.jobs["stragglers"] == count)
        ].mean()
        for scheme in ("uncoded", "mds", "lt", "speculative")
        for count in (0, 2)
    }
    for scheme in ("mds", "lt", "speculative"):
        assert slow[scheme, 2] < slow["uncoded", 2]
