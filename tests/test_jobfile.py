"""Job files: what is accepted, and what each mistake is answered with."""

from pathlib import Path

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.faults import Faults, Service
from hpcrefine.job import CodeSection, FileOperand, Job, JobSection, RandomOperand, RandomRates
from hpcrefine.job.codes import MAX_CODED
from hpcrefine.jobfile import load, load_text

OPERANDS = '[operands]\na = {random = "normal", shape = [8, 4]}\nb = "a.T"\n'
JOBS = Path(__file__).parents[1] / "jobs"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write quickstart.toml into the working folder; return its name."""
    monkeypatch.chdir(tmp_path)

    def writer(text, operands=OPERANDS):
        Path("quickstart.toml").write_text(f"{text}\n{operands}", encoding="utf-8")
        return "quickstart.toml"

    return writer


def refusal(path, *overrides):
    with pytest.raises(InputError) as caught:
        load(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_not_given(write):
    job = load(write(""))
    assert job.job.name == "quickstart"
    assert job.operands.a == RandomOperand(random="normal", shape=(8, 4))
    assert job.operands.b == "a.T"
    plain = Job(operands=job.operands, job=JobSection(name="quickstart"))
    assert job.model_dump() == plain.model_dump()
    assert job.path == Path("quickstart.toml")
    assert job.base == Path()
    assert job.where("code", "tasks") == "quickstart.toml: [code] tasks"


def test_everything_given(write):
    Path("libdnnl.so").touch()
    job = load(
        write(
            """
[job]
name = "all"
[resolution]
digits = 3
truncate = 4
layering = "square"
scale = "matrix"
stop = {relative = 1e-3}
[code]
scheme = "mds"
redundancy = 2
unit = "minijob"
survive = 1
[kernel]
name = "int8"
threads = 2
library = "libdnnl.so"
[record]
file = "out.h5"
locking = false
""",
            """[operands]
a = {file = "a.npz", dataset = "x", rows = [1, 3], transpose = true, normalise = "rows"}
b = {random = "integers", shape = [2, 5], dtype = "int8", low = -128, high = 128}
""",
        )
    )
    assert job.job.name == "all"
    assert job.resolution.stop is not None
    assert job.resolution.stop.relative == 1e-3
    assert job.code.redundancy == 2.0
    assert job.record.file == "out.h5"
    assert job.kernel.library == Path("libdnnl.so").absolute()
    assert job.operands.a == FileOperand(
        file="a.npz", dataset="x", rows=(1, 3), transpose=True, normalise="rows"
    )
    assert isinstance(job.operands.b, RandomOperand)
    assert job.operands.b.element_type == "int8"
    assert job.operands.b.limits == (-128, 128)


def test_paths_start_from_the_file_s_folder_but_the_record_s(write, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "libdnnl.so").touch()
    text = f'[kernel]\nlibrary = "libdnnl.so"\n[record]\nfile = "out.h5"\n{OPERANDS}'
    Path("jobs/x.toml").write_text(text)
    job = load("jobs/x.toml")
    assert job.kernel.library == tmp_path / "jobs" / "libdnnl.so"
    assert job.base == Path("jobs")
    assert job.record.file == "out.h5"


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_jobs_load(path):
    assert load(path).job.name == path.stem


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_text_as_run_says_the_same_job(path):
    for overrides in ((), ("job.repeats=9", 'job.name = "x # y"', "job.repeats=7")):
        job = load(path, overrides)
        again = load_text(job.text, path)
        assert again == job
        assert again.text == job.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[resolution]\ndigits = 9", "[resolution] digits: found 9, expected 1..7"),
        (
            "[resolution]\ndigits = true",
            "[resolution] digits: found true, expected an integer 1..7",
        ),
        ("[resolution]\ndigits = 2.5", "[resolution] digits: found 2.5, expected an integer 1..7"),
        ("[resolution]\ndigit_bits = 0", "[resolution] digit_bits: found 0, expected 1..8"),
        ("[resolution]\ndigit = 2", '[resolution] digit: unknown key; did you mean "digits"?'),
        ("[resolutoin]\ndigits = 2", '[resolutoin]: unknown key; did you mean "resolution"?'),
        ("digits = 2", "digits: unknown key; it belongs in [resolution]"),
        ("resolution = 3", "[resolution]: found 3, expected a table"),
        ("job = 3", "[job]: found 3, expected a table"),
        ("[job]\nredundancy = 3", "[job] redundancy: unknown key; it belongs in [code]"),
        (
            "[job]\nzzz = 3",
            "[job] zzz: unknown key; expected one of name, kind, seed, repeats, warmups",
        ),
        (
            'text = "x"',
            "text: unknown key; expected one of job, operands, resolution, code, schedule, "
            "workers, faults, compare, stream, simulate, kernel, baseline, record, verify",
        ),
        (
            '"a\\nb" = 2',
            "a\\nb: unknown key; expected one of job, operands, resolution, code, schedule, "
            "workers, faults, compare, stream, simulate, kernel, baseline, record, verify",
        ),
        ("[job]\nseed = -1", "[job] seed: found -1, expected 0..9223372036854775807"),
        (
            f"[job]\nseed = 0x{'f' * 5000}",
            "[job] seed: found an integer of 20000 bits, expected 0..9223372036854775807",
        ),
        ("[job]\nrepeats = 0", "[job] repeats: found 0, expected >= 1"),
        (
            '[job]\nkind = "training"',
            '[job] kind: found "training", expected "matmul" or "inference"',
        ),
        ('[job]\nname = "a/b"', '[job] name: found "a/b", expected a name without "/"'),
        ('[job]\nname = "a\\nb"', '[job] name: found "a\\nb", expected a name without "/"'),
        (
            "[resolution]\ntruncate = 3",
            "[resolution] truncate: found 3, expected 0..2 with digits = 2",
        ),
        ("[resolution]\ntruncate = -1", "[resolution] truncate: found -1, expected >= 0"),
        (
            "[resolution]\nstop = {tolerance = 0}",
            "[resolution] stop.tolerance: found 0, expected > 0",
        ),
        (
            "[resolution]\nstop = {tolerance = nan}",
            "[resolution] stop.tolerance: found nan, expected a number > 0",
        ),
        (
            "[resolution]\nstop = {}",
            "[resolution] stop: found {}, expected either tolerance or relative",
        ),
        (
            "[resolution]\nstop = {tolerance = 1, relative = 2}",
            "[resolution] stop: found {tolerance = 1, relative = 2}, "
            "expected either tolerance or relative",
        ),
        (
            "[resolution]\nstop = 1e-3",
            "[resolution] stop: found 0.001, expected {tolerance = ...} or {relative = ...}",
        ),
        (
            "[resolution]\nstop = {tolerence = 1}",
            '[resolution] stop.tolerence: unknown key; did you mean "tolerance"?',
        ),
        (
            '[resolution]\nlayering = "diagonal"',
            '[resolution] layering: found "diagonal", '
            'expected "antidiagonal" or "product" or "square" or "whole"',
        ),
        (
            "[code]\nredundancy = 1.5",
            "[code] redundancy: found 1.5 for the scheme uncoded, expected 1 (or the scheme mds)",
        ),
        ("[code]\nredundancy = 0.5", "[code] redundancy: found 0.5, expected >= 1"),
        (
            '[code]\nscheme = "mds"\nredundancy = inf',
            "[code] redundancy: found inf, expected a number >= 1",
        ),
        ("[code]\ntasks = 0", "[code] tasks: found 0, expected >= 1"),
        (
            '[code]\nscheme = "speculative"\nredundancy = 2',
            "[code] redundancy: found 2.0 for the scheme speculative, expected 1 "
            "(or the scheme mds)",
        ),
        (
            '[code]\nscheme = "raid"',
            '[code] scheme: found "raid", expected "uncoded" or "speculative" or "replication" or '
            '"mds" or "blockdiagonal" or "polynomial" or "matdot" or "lt"',
        ),
        (
            '[code]\nscheme = "matdot"\ntasks = 6',
            "[code] tasks: found 6 for the scheme matdot, expected an odd number "
            "(2p - 1 for p parts of the inner dimension): 5 or 7",
        ),
        (
            '[code]\nscheme = "matdot"',
            "[code] tasks: found 8 for the scheme matdot, expected an odd number "
            "(2p - 1 for p parts of the inner dimension): 7 or 9",
        ),
        (
            '[code]\nscheme = "polynomial"\ntasks = 30\nredundancy = 2',
            "[code] tasks, redundancy: found 30 tasks coded into 60 for the scheme polynomial, "
            "whose results would not fit int64, expected fewer (or the scheme blockdiagonal)",
        ),
        (
            '[code]\nscheme = "matdot"\ntasks = 41',
            "[code] tasks, redundancy: found 41 tasks coded into 41 for the scheme matdot, "
            "whose results would not fit int64, expected fewer (or the scheme blockdiagonal)",
        ),
        (
            "[code]\ntasks = 262145",
            "[code] tasks: found 262145, expected at most 262144 tasks together with "
            "redundancy = 1",
        ),
        (
            f"[code]\ntasks = 1{'0' * 400}",
            "[code] tasks: found an integer of 1329 bits, expected at most 262144 tasks together "
            "with redundancy = 1",
        ),
        (
            '[code]\nscheme = "mds"\nredundancy = 1e308',
            "[code] tasks: found 8, expected at most 262144 tasks together with "
            "redundancy = 1e+308",
        ),
        (
            "[code]\nsurvive = 1",
            "[code] survive: found 1, expected at most 0, the tasks that the scheme uncoded can do "
            "without, wherever they are",
        ),
        (
            '[code]\nscheme = "mds"\nredundancy = 1.25\nsurvive = 3',
            "[code] survive: found 3, expected at most 2, the tasks that the scheme mds can do "
            "without, wherever they are",
        ),
        (
            '[baseline]\noneshot = true\n[compare]\ncodes = [{}, {name = "oneshot"}]',
            '[compare] codes[1].name: found "oneshot", expected another label than that of '
            "[baseline] oneshot",
        ),
        ('[code]\nverify = "all"', '[code] verify: found "all", expected "none" or "freivalds"'),
        ("[code]\nlies = 0", "[code] lies: found 0, expected >= 1"),
        ("[workers]\ntimeout = 0", "[workers] timeout: found 0, expected > 0"),
        ("[workers]\ntimeout = inf", "[workers] timeout: found inf, expected a number > 0"),
        ("[workers]\nstragglers = 2", "[workers] stragglers: unknown key; it belongs in [faults]"),
        (
            '[kernel]\nlibrary = "none.so"',
            '[kernel] library: found "none.so", expected the path of an existing file',
        ),
        ("[kernel]\nthreads = 0", "[kernel] threads: found 0, expected >= 1"),
        ("[baseline]\noneshot = 1", "[baseline] oneshot: found 1, expected true or false"),
        ("[record]\nfile = 2024-01-01", "[record] file: found 2024-01-01, expected a path"),
        ("[record]\nlocking = []", "[record] locking: found [], expected true or false"),
        ("[verify]\nlimit = -1", "[verify] limit: found -1, expected >= 0"),
    ],
)
def test_mistakes(write, text, message):
    assert refusal(write(text)) == f"quickstart.toml: {message}"


FAULTS = """
[workers]
timeout = 2.5
[faults]
service = {distribution = "exponential", mean = 0.25}
stragglers = 1
slowdown = 3

[[faults.worker]]
rank = 2
slowdown = 2
pauses = [[0, 1], [1.5, 2]]
silent = {at = 9}

[[faults.worker]]
count = 2
service = {distribution = "pareto", mean = 1, shape = 1.5}
kill = {after = 3}
corrupt = {rate = 1, kind = "stale-job"}
"""


def test_faults(write):
    job = load(write(FAULTS))
    assert job.workers.timeout == 2.5
    everyone = Service("exponential", 0.25)
    assigned = list(job.faults.assign(5, job.job.seed).values())
    assert assigned[1] == Faults(
        slowdown=2.0, service=everyone, pauses=((0, 1), (1.5, 2)), silent_at=9.0
    )
    drawn = Faults(
        service=Service("pareto", 1.0, shape=1.5),
        kill_after=3,
        corrupt_rate=1.0,
        corrupt_kind="stale-job",
    )
    assert assigned.count(drawn) == 2
    assert assigned.count(Faults(service=everyone, slowdown=3.0)) == 1
    assert assigned.count(Faults(service=everyone)) == 1


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ("stragglers = -1", "stragglers: found -1, expected >= 0"),
        ("slowdown = 0.5", "slowdown: found 0.5, expected >= 1"),
        ("straglers = 1", 'straglers: unknown key; did you mean "stragglers"?'),
        ("timeout = 1", "timeout: unknown key; it belongs in [workers]"),
        ("service = 3", "service: found 3, expected {distribution = ..., mean = ...}"),
        (
            "service = {mean = 1}",
            'service.distribution: found nothing, expected "exponential" or "shifted-exponential" '
            'or "pareto" or "deterministic"',
        ),
        (
            'service = {distribution = "exponential"}',
            "service.mean: found nothing, expected a number > 0",
        ),
        (
            'service = {distribution = "exponential", mean = 1, shift = 0}',
            'service.shift: found 0, expected no such key with distribution = "exponential"',
        ),
        (
            'service = {distribution = "deterministic", mean = 1, shape = 2}',
            'service.shape: found 2, expected no such key with distribution = "deterministic"',
        ),
        (
            'service = {distribution = "shifted-exponential", mean = 1}',
            "service.shift: found nothing, expected a number >= 0 and below mean = 1 "
            'with distribution = "shifted-exponential"',
        ),
        (
            'service = {distribution = "shifted-exponential", mean = 1, shift = 1}',
            "service.shift: found 1, expected a number >= 0 and below mean = 1 "
            'with distribution = "shifted-exponential"',
        ),
        (
            'service = {distribution = "pareto", mean = 1, shape = 1}',
            "service.shape: found 1, expected > 1",
        ),
        ("worker = 3", "worker: found 3, expected a list of tables with rank or count and faults"),
        (
            "worker = [3]",
            "worker: found [3], expected a list of tables with rank or count and faults",
        ),
        (
            "worker = [{slowdown = 2}]",
            "worker[0]: found {slowdown = 2}, expected either rank or count",
        ),
        (
            "worker = [{rank = 1, slowdown = 2}, {rank = 1, count = 2, slowdown = 2}]",
            "worker[1]: found {rank = 1, count = 2, slowdown = 2}, expected either rank or count",
        ),
        (
            "worker = [{rank = 1}]",
            "worker[0]: found {rank = 1}, expected at least one of slowdown, slows, service, "
            "pauses, silent, kill, corrupt",
        ),
        ("worker = [{rank = 0, slowdown = 2}]", "worker[0].rank: found 0, expected >= 1"),
        ("worker = [{count = 0, slowdown = 2}]", "worker[0].count: found 0, expected >= 1"),
        (
            "worker = [{rank = 3, slowdown = 2}, {rank = 3, kill = {at = 1}}]",
            "worker[1].rank: found 3, expected a rank that no other worker has",
        ),
        (
            "worker = [{rank = 1, slowdown = 2}, {rank = 2, kil = {at = 1}}]",
            'worker[1].kil: unknown key; did you mean "kill"?',
        ),
        (
            "worker = [{rank = 1, kill = {}}]",
            "worker[0].kill: found {}, expected either at or after",
        ),
        (
            "worker = [{rank = 1, kill = {at = 1, after = 1}}]",
            "worker[0].kill: found {at = 1, after = 1}, expected either at or after",
        ),
        (
            "worker = [{rank = 1, kill = 3}]",
            "worker[0].kill: found 3, expected {at = seconds} or {after = tasks}",
        ),
        (
            "worker = [{rank = 1, kill = {when = 3}}]",
            "worker[0].kill.when: unknown key; expected one of at, after",
        ),
        (
            "worker = [{rank = 1, kill = {after = 1.5}}]",
            "worker[0].kill.after: found 1.5, expected an integer >= 0",
        ),
        (
            "worker = [{rank = 1, kill = {after = 2}, silent = {after = 2}}]",
            "worker[0].silent.after: found 2, expected less than kill.after = 2",
        ),
        (
            "worker = [{rank = 1, pauses = [[1, 2], [2, 1]]}]",
            "worker[0].pauses: found [[1, 2], [2, 1]], expected a list of [at, seconds], at >= 0, "
            "seconds > 0, one after the other",
        ),
        (
            'worker = [{rank = 1, pauses = [[1, "x"]]}]',
            'worker[0].pauses: found [[1, "x"]], expected a list of [at, seconds], at >= 0, '
            "seconds > 0, one after the other",
        ),
        (
            "worker = [{rank = 1, corrupt = {rate = 1.5}}]",
            "worker[0].corrupt.rate: found 1.5, expected 0..1",
        ),
        (
            'worker = [{rank = 1, corrupt = {kind = "any"}}]',
            "worker[0].corrupt.rate: found nothing, expected a number 0..1",
        ),
        (
            'worker = [{rank = 1, corrupt = {rate = 1, kind = "zero"}}]',
            'worker[0].corrupt.kind: found "zero", expected "bit-flip" or "wrong-block" or '
            '"stale-job" or "any"',
        ),
        (
            'worker = [{rank = 1, service = {distribution = "pareto", mean = 0}}]',
            "worker[0].service.mean: found 0, expected > 0",
        ),
    ],
)
def test_mistakes_about_faults(write, faults, message):
    assert refusal(write(f"[faults]\n{faults}")) == f"quickstart.toml: [faults] {message}"


def test_mistakes_in_arrays_of_tables_are_placed(write):
    text = FAULTS + "[[faults.worker]]\nrank = 3\nslowdwn = 2\n"
    message = '[faults] worker[2].slowdwn: unknown key; did you mean "slowdown"?'
    assert refusal(write(text)) == f"quickstart.toml: {message}"


def test_silence_without_a_timeout(write):
    path = write(FAULTS)
    Path(path).write_text(Path(path).read_text().replace("timeout = 2.5", ""))
    assert refusal(path) == (
        "quickstart.toml: [workers] timeout: found nothing, "
        "expected a number > 0 with [faults] worker[0].silent, else the run hangs"
    )
    assert load(path, ["workers.timeout=1"]).workers.timeout == 1.0


def test_compared_codes(write):
    job = load(
        write(
            """
[code]
scheme = "mds"
tasks = 9
redundancy = 1.5
[compare]
codes = [{scheme = "uncoded"}, {}, {name = "checked", verify = "freivalds"}]
stragglers = [0, 2]
"""
        )
    )
    assert job.codes == (
        ("uncoded", CodeSection(tasks=9)),
        ("mds", job.code),
        ("checked", CodeSection(scheme="mds", tasks=9, redundancy=1.5, verify="freivalds")),
    )
    assert job.stragglers == (0, 2)


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        (
            "codes = []",
            "codes: found [], expected a list of one or more tables with keys of [code]",
        ),
        (
            'codes = ["mds"]',
            'codes: found ["mds"], expected a list of one or more tables with keys of [code]',
        ),
        (
            "codes = [{}]\nstragglers = []",
            "stragglers: found [], expected a list of different integers >= 0",
        ),
        (
            "codes = [{}]\nstragglers = [1, 2, 1]",
            "stragglers: found [1, 2, 1], expected a list of different integers >= 0",
        ),
        (
            "codes = [{}]\nstragglers = [1, 2.5]",
            "stragglers: found [1, 2.5], expected a list of different integers >= 0",
        ),
        ("codes = [{}, {tasks = 0}]", "codes[1].tasks: found 0, expected >= 1"),
        ("codes = [{task = 3}]", 'codes[0].task: unknown key; did you mean "tasks"?'),
        ("codes = [{oneshot = true}]", "codes[0].oneshot: unknown key; it belongs in [baseline]"),
        (
            'codes = [{name = "x"}, {name = ""}]',
            'codes[1].name: found "", expected a label of 1..24 bytes',
        ),
        (
            f'codes = [{{name = "{"é" * 13}"}}]',
            f'codes[0].name: found "{"é" * 13}", expected a label of 1..24 bytes',
        ),
        (
            'codes = [{name = "a\\nb"}]',
            'codes[0].name: found "a\\nb", expected a label of 1..24 bytes',
        ),
        (
            'codes = [{name = "x"}, {scheme = "lt"}, {name = "x"}]',
            'codes[2].name: found "x", expected another label than that of codes[0]',
        ),
        (
            'codes = [{name = "lt"}, {scheme = "lt"}]',
            'codes[1].name: found "lt", expected another label than that of codes[0]',
        ),
        (
            "codes = [{}, {tasks = 4}]",
            'codes[1].name: found "mds", expected another label than that of codes[0]',
        ),
        (
            'codes = [{}, {scheme = "uncoded", redundancy = 1.25}]',
            "codes[1].redundancy: found 1.25 for the scheme uncoded, expected 1 "
            "(or the scheme mds)",
        ),
        (
            'codes = [{}, {name = "dots", scheme = "matdot"}]',
            "codes[1].tasks: found 8 for the scheme matdot, expected an odd number "
            "(2p - 1 for p parts of the inner dimension): 7 or 9",
        ),
        (
            'codes = [{}, {scheme = "matdot", tasks = 2}]',
            "codes[1].tasks: found 2 for the scheme matdot, expected an odd number "
            "(2p - 1 for p parts of the inner dimension): 1 or 3",
        ),
        (
            'codes = [{}, {scheme = "polynomial", tasks = 24}]',
            "codes[1].tasks, redundancy: found 24 tasks coded into 36 for the scheme polynomial, "
            "whose results would not fit int64, expected fewer (or the scheme blockdiagonal)",
        ),
        (
            "codes = [{}, {survive = 5}]",
            "codes[1].survive: found 5, expected at most 4, the tasks that the scheme mds can do "
            "without, wherever they are",
        ),
    ],
)
def test_mistakes_about_comparisons(write, compare, message):
    text = f'[code]\nscheme = "mds"\nredundancy = 1.5\n[compare]\n{compare}'
    assert refusal(write(text)) == f"quickstart.toml: [compare] {message}"


def test_an_empty_comparison(write):
    assert refusal(write("[compare]")) == (
        "quickstart.toml: [compare]: found {}, expected at least one of codes, redundancies, "
        "splits, deadlines, stragglers"
    )


def test_grids_of_comparisons(write):
    text = """
[code]
scheme = "mds"
[stream]
jobs = 3
rate = 2
deadline = 9
[compare]
redundancies = {start = 1, stop = 1.5, count = 3}
splits = ["optimal", "uniform"]
deadlines = [0.5, 2]
"""
    job = load(write(text))
    assert [(label, code.redundancy) for label, code in job.codes] == [
        ("layered", 1.0),
        ("layered", 1.25),
        ("layered", 1.5),
    ]
    assert job.splits == ("optimal", "uniform")
    assert job.deadlines == (0.5, 2.0)
    both = load(write(text), ['compare.codes=[{}, {scheme="lt"}]'])
    assert [(label, code.redundancy) for label, code in both.codes] == [
        (label, ratio) for label in ("mds", "lt") for ratio in (1.0, 1.25, 1.5)
    ]
    assert both.where_code(4, "tasks") == "quickstart.toml: [compare] codes[1].tasks"
    assert load(write("[stream]\njobs = 3\nrate = 2\ndeadline = 9")).deadlines == (9.0,)


_GRID = "expected an ascending list, or {start = ..., stop = ..., count = ...}, of numbers"


@pytest.mark.parametrize(
    ("grid", "found"),
    [
        ("[]", "[]"),
        ("3", "3"),
        ('["x"]', '["x"]'),
        ("[1.5, 1.2]", "[1.5, 1.2]"),
        ("[1, 1]", "[1, 1]"),
        ("{start = 1, stop = 2}", "{start = 1, stop = 2}"),
        ("{start = 1, stop = 2, count = 1}", "{start = 1, stop = 2, count = 1}"),
        ("{start = 1, stop = 2, count = 2.5}", "{start = 1, stop = 2, count = 2.5}"),
        ("{start = 2, stop = 1, count = 3}", "{start = 2, stop = 1, count = 3}"),
        ("{start = 1, stop = inf, count = 3}", "{start = 1, stop = inf, count = 3}"),
        ("{start = 1, stop = 2, count = 3, x = 1}", "{start = 1, stop = 2, count = 3, x = 1}"),
    ],
)
def test_mistakes_about_grids(write, grid, found):
    text = f'[code]\nscheme = "mds"\n[compare]\nredundancies = {grid}'
    message = f"[compare] redundancies: found {found}, {_GRID} >= 1"
    assert refusal(write(text)) == f"quickstart.toml: {message}"


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        ("redundancies = [0.5, 1]", "redundancies: found 0.5, expected numbers >= 1"),
        (
            "redundancies = {start = 0.9, stop = 1.1, count = 3}",
            "redundancies: found 0.9, expected numbers >= 1",
        ),
        (
            "redundancies = [1, 1e9]",
            "redundancies: found 1000000000.0, expected one that suits tasks: at most "
            f"{MAX_CODED} tasks together with redundancy = 1e+09",
        ),
        (
            "redundancies = [1.25, 1.5]\ncodes = [{redundancy = 1.5, survive = 4}]",
            "redundancies: found 1.25, expected one that suits survive: at most 2, the tasks that "
            "the scheme mds can do without, wherever they are",
        ),
        (
            'redundancies = [2]\ncodes = [{scheme = "polynomial", tasks = 24}]',
            "redundancies: found 24 tasks coded into 48 for the scheme polynomial, whose results "
            "would not fit int64, expected fewer (or the scheme blockdiagonal)",
        ),
        (
            'redundancies = [2]\ncodes = [{}, {scheme = "uncoded"}]',
            "redundancies: found 2.0 for the scheme uncoded, expected 1 (or the scheme mds)",
        ),
        ("deadlines = [1, 2]", "deadlines: found [1, 2], expected no such key without [stream]"),
        ("deadlines = [0, 2]", f"deadlines: found [0, 2], {_GRID} > 0"),
        (
            'splits = ["uniform", "uniform"]',
            'splits: found ["uniform", "uniform"], expected a list of some of "uniform", '
            '"optimal", "dynamic"',
        ),
        (
            'splits = "best"',
            'splits: found "best", expected a list of some of "uniform", "optimal", "dynamic"',
        ),
    ],
)
def test_mistakes_about_what_is_varied(write, compare, message):
    text = f'[code]\nscheme = "mds"\n[compare]\n{compare}'
    assert refusal(write(text)) == f"quickstart.toml: [compare] {message}"


def test_streams(write):
    Path("times.txt").write_text("# seconds\n0.5\n\n1 # the second one\n1\n")
    job = load(write('[stream]\narrivals = "times.txt"\ndeadline = 3\npolicy = "strict"'))
    assert job.stream is not None
    assert (job.stream.arrivals, job.stream.length) == ("times.txt", 3)
    assert job.stream.times(np.random.default_rng(0)).tolist() == [0.5, 1.0, 1.0]
    few = load(write('[stream]\narrivals = "times.txt"\njobs = 2'))
    assert few.stream is not None
    assert few.stream.times(np.random.default_rng(0)).tolist() == [0.5, 1.0]
    drawn = load(write("[stream]\njobs = 4\nrate = 2.5"))
    assert drawn.stream is not None
    assert len(drawn.stream.times(np.random.default_rng(0))) == 4


def test_arrivals_are_looked_for_beside_the_job_file(write):
    Path("jobs").mkdir()
    Path("jobs/times.txt").write_text("1\n2\n")
    Path("jobs/x.toml").write_text(f'[stream]\narrivals = "times.txt"\n{OPERANDS}')
    job = load("jobs/x.toml")
    assert job.stream is not None
    assert job.stream.length == 2


_PATTERN = '"poisson" or "periodic" or the path of a file of times'


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("jobs = 3", 'rate: found nothing, expected a number > 0 with arrivals = "poisson"'),
        ("rate = 3", 'jobs: found nothing, expected an integer >= 1 with arrivals = "poisson"'),
        ("jobs = 3\nrate = 0", "rate: found 0, expected > 0"),
        ("jobs = 3\nrate = -0.5", "rate: found -0.5, expected > 0"),
        ("jobs = 0\nrate = 1", "jobs: found 0, expected >= 1"),
        ("jobs = 3\nrate = 1\ndeadline = 0", "deadline: found 0, expected > 0"),
        ("jobs = 3\nrate = 1\ndeadline = -2", "deadline: found -2, expected > 0"),
        ("jobs = 3\nrate = 1\ncolumns = 0", "columns: found 0, expected >= 1"),
        ("jobs = 3\nrate = 1\ncolumns = 1.5", "columns: found 1.5, expected an integer >= 1"),
        (
            'jobs = 3\nrate = 1\npolicy = "hard"',
            'policy: found "hard", expected "queue" or "strict"',
        ),
        ('jobs = 3\nrate = 1\nnew = "a"', 'new: found "a", expected "b" or "both"'),
        ("jobs = 3\nrates = 1", 'rates: unknown key; did you mean "rate"?'),
        ("arrivals = 3", f"arrivals: found 3, expected {_PATTERN}"),
        ('arrivals = "poison"', f'arrivals: found "poison", expected {_PATTERN}'),
        ('arrivals = "."', f'arrivals: found ".", expected {_PATTERN}'),
        ('arrivals = "a\\u0000"', f'arrivals: found "a\\u0000", expected {_PATTERN}'),
        (
            'arrivals = "late"',
            "arrivals: late: line 3: found 2 after 3, expected ascending times",
        ),
        ('arrivals = "soon"', "arrivals: soon: line 2: found soon, expected seconds >= 0"),
        ('arrivals = "early"', "arrivals: early: line 1: found -1, expected seconds >= 0"),
        ('arrivals = "never"', "arrivals: never: line 1: found inf, expected seconds >= 0"),
        ('arrivals = "empty"', "arrivals: empty: found no times, expected one a line"),
        (
            'arrivals = "bytes"',
            "arrivals: bytes: found no text, expected a file of arrival times",
        ),
        ('arrivals = "two"\njobs = 4', "jobs: found 4, expected at most 2, the times in two"),
        (
            'arrivals = "two"\nrate = 4',
            "rate: found 4, expected no such key with a file of arrivals",
        ),
    ],
)
def test_mistakes_about_streams(write, stream, message):
    files = {
        "late": b"1\n3\n2\n",
        "soon": b"1\nsoon\n",
        "early": b"-1\n",
        "never": b"inf",
        "empty": b"# nothing\n",
        "bytes": b"\xff\xfe",
        "two": b"1\n2",
    }
    for name, content in files.items():
        Path(name).write_bytes(content)
    assert refusal(write(f"[stream]\n{stream}")) == f"quickstart.toml: [stream] {message}"


_RATES = 'expected a number > 0, or a list of them, or {random = "uniform", sum = ...}'


@pytest.mark.parametrize(
    "rates", ["0", "-1.5", "nan", "true", '"fast"', "[]", "[1, 0]", '[1, "x"]']
)
def test_rates_that_are_none(write, rates):
    message = f"quickstart.toml: [workers] rates: found {rates}, {_RATES}"
    assert refusal(write(f"[workers]\nrates = {rates}")) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[workers]\nrates = {}", '[workers] rates.random: found nothing, expected "uniform"'),
        (
            '[workers]\nrates = {random = "normal", sum = 3}',
            '[workers] rates.random: found "normal", expected "uniform"',
        ),
        (
            '[workers]\nrates = {random = "uniform"}',
            "[workers] rates.sum: found nothing, expected a number > 0",
        ),
        (
            '[workers]\nrates = {random = "uniform", sum = 0}',
            "[workers] rates.sum: found 0, expected > 0",
        ),
        (
            '[workers]\nrates = {random = "uniform", sum = 3, low = 1}',
            "[workers] rates.low: found 1, expected >= 0 and < 1",
        ),
        (
            '[workers]\nrates = {random = "uniform", sums = 3}',
            '[workers] rates.sums: unknown key; did you mean "sum"?',
        ),
        (
            "[workers]\nrates = [1, 2]\ncount = 3",
            "[workers] count: found 3, expected 2, as many as there are rates",
        ),
        ("[workers]\ncount = 0", "[workers] count: found 0, expected 1..10000000"),
        ("[schedule]\nforgetting = 0", "[schedule] forgetting: found 0, expected > 0 and <= 1"),
        ("[schedule]\ngamma = -1", "[schedule] gamma: found -1, expected >= 0"),
        (
            '[schedule]\nsplit = "best"',
            '[schedule] split: found "best", expected "uniform" or "optimal" or "dynamic"',
        ),
        (
            '[simulate]\nmodel = "x"',
            '[simulate] model: found "x", expected "ranks" or "published"',
        ),
        (
            "[simulate]\nservice = 3",
            "[simulate] service: found 3, expected {distribution = ...}",
        ),
        (
            '[simulate]\nservice = {distribution = "exponential", shift = 0.5}',
            "[simulate] service.shift: found 0.5, expected no such key with distribution = "
            '"exponential"',
        ),
        (
            '[simulate]\nservice = {distribution = "shifted-exponential"}',
            "[simulate] service.shift: found nothing, expected a number >= 0 and < 1 with "
            'distribution = "shifted-exponential"',
        ),
        (
            '[simulate]\nservice = {distribution = "shifted-exponential", shift = 1}',
            "[simulate] service.shift: found 1, expected >= 0 and < 1",
        ),
        (
            '[simulate]\nservice = {distribution = "deterministic", shape = 2}',
            "[simulate] service.shape: found 2, expected no such key with distribution = "
            '"deterministic"',
        ),
        ("[simulate]\ndecode = -1", "[simulate] decode: found -1, expected >= 0"),
        ("[simulate]\noverhead = inf", "[simulate] overhead: found inf, expected a number >= 0"),
        (
            "[faults]\nworker = [{rank = 1, slows = [[3, 2], [2, 2]]}]",
            "[faults] worker[0].slows: found [[3, 2], [2, 2]], expected a list of [job, factor], "
            "factor >= 1, from job to later job",
        ),
        (
            "[faults]\nworker = [{rank = 1, slows = [[3, 0.5]]}]",
            "[faults] worker[0].slows: found [[3, 0.5]], expected a list of [job, factor], "
            "factor >= 1, from job to later job",
        ),
    ],
)
def test_mistakes_about_workers_and_their_simulation(write, text, message):
    assert refusal(write(text)) == f"quickstart.toml: {message}"


def test_rates(write):
    def rates(value):
        return load(write(f"[workers]\nrates = {value}")).workers.rates

    assert rates("3") == 3.0
    assert rates("[1, 2.5]") == (1.0, 2.5)
    assert rates('{random = "uniform", sum = 9}') == RandomRates(random="uniform", sum=9.0)


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        ("", "a: found nothing, expected {file = ...} or {random = ...}"),
        (
            'a = {random = "normal", shape = [2, 2]}',
            'b: found nothing, expected {file = ...} or {random = ...} or "a.T"',
        ),
        (
            'operations = 5\na = {random = "normal", shape = [2, 2]}',
            "operations: found 5, expected no such key beside a",
        ),
        (
            'operations = 5\nb = {random = "normal", shape = [2, 2]}',
            "operations: found 5, expected no such key beside b",
        ),
        ("operations = 0", "operations: found 0, expected > 0"),
        ('operations = "x"', 'operations: found "x", expected a number > 0'),
        ("operation = 3", 'operation: unknown key; did you mean "operations"?'),
    ],
)
def test_matrices_or_their_size(write, operands, message):
    path = write("", f"[operands]\n{operands}")
    assert refusal(path) == f"quickstart.toml: [operands] {message}"


def test_a_size_is_not_enough_for_matrices(write):
    job = load(write("", "[operands]\noperations = 5"))
    assert job.operands.operations == 5.0
    with pytest.raises(InputError, match=r"^\[operands\] operations: found a size only"):
        _ = job.operands.pair


@pytest.mark.parametrize(
    ("a", "message"),
    [
        ('"a.T"', ': found "a.T", expected {file = ...} or {random = ...}'),
        ("{}", ": found {}, expected {file = ...} or {random = ...}"),
        (
            '{file = "x", random = "normal"}',
            ': found {file = "x", random = "normal"}, expected {file = ...} or {random = ...}',
        ),
        ('{fil = "x"}', '.fil: unknown key; did you mean "file"?'),
        ("{file = 3}", ".file: found 3, expected a path"),
        ('{file = "a\\u0000"}', '.file: found "a\\u0000", expected a path'),
        ('{file = "x", dataset = 3}', ".dataset: found 3, expected the name of a dataset"),
        (
            '{file = "x", rows = [3, 2]}',
            ".rows: found [3, 2], expected two integers [start, stop], 0 <= start < stop",
        ),
        (
            '{file = "x", rows = [3, "a"]}',
            '.rows: found [3, "a"], expected two integers [start, stop], 0 <= start < stop',
        ),
        (
            '{file = "x", normalise = "columns"}',
            '.normalise: found "columns", expected "none" or "rows"',
        ),
        ('{file = "x", transpos = true}', '.transpos: unknown key; did you mean "transpose"?'),
        (
            '{file = "x", shape = [1, 1]}',
            ".shape: unknown key; expected one of file, dataset, rows, normalise, transpose",
        ),
        (
            '{random = "gauss", shape = [2, 2]}',
            '.random: found "gauss", expected "normal" or "uniform" or "integers"',
        ),
        (
            '{random = "normal"}',
            ".shape: found nothing, expected two integers [rows, columns], each 1..2147483647",
        ),
        (
            '{random = "normal", shape = [0, 2]}',
            ".shape: found [0, 2], expected two integers [rows, columns], each 1..2147483647",
        ),
        (
            '{random = "normal", shape = [2, 2], dtype = "int8"}',
            '.dtype: found "int8", expected float64 or float32 with random = "normal"',
        ),
        (
            '{random = "normal", shape = [2, 2], low = 1}',
            '.low: found 1, expected no such key with random = "normal"',
        ),
        (
            '{random = "integers", shape = [2, 2], dtype = "int8", low = 0}',
            ".high: found nothing, "
            'expected an integer -128..128 with random = "integers", dtype int8',
        ),
        (
            '{random = "integers", shape = [2, 2], dtype = "uint8", low = 0, high = 300}',
            '.high: found 300, expected an integer 0..256 with random = "integers", dtype uint8',
        ),
        (
            '{random = "integers", shape = [2, 2], low = 0, high = 1.5}',
            ".high: found 1.5, expected an integer -9223372036854775808..9223372036854775808 "
            'with random = "integers", dtype int64',
        ),
        (
            '{random = "uniform", shape = [2, 2], low = 3}',
            ".high: found nothing, expected more than low = 3",
        ),
        (
            '{random = "normal", shape = [2, 2], scale_spread = 100}',
            ".scale_spread: found 100, expected 0..60",
        ),
        (
            '{random = "integers", shape = [2, 2], low = 0, high = 9, scale_spread = 2}',
            ".scale_spread: found 2, expected 0 with dtype int64",
        ),
    ],
)
def test_operand_mistakes(write, a, message):
    path = write("", f'[operands]\na = {a}\nb = "a.T"\n')
    assert refusal(path) == f"quickstart.toml: [operands] a{message}"


def test_missing_operands(write):
    assert refusal(write("", "")) == "quickstart.toml: [operands]: found nothing, expected a table"
    message = refusal(write("", '[operands]\na = {file = "x.npy"}'))
    assert message.endswith(
        '[operands] b: found nothing, expected {file = ...} or {random = ...} or "a.T"'
    )


def test_long_values_are_cut(write):
    message = refusal(write(f'[job]\nkind = "{"x" * 500}"'))
    assert "..." in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[job]\nseed = = 3", "line 2, column 8"),
        ("[job", "line 1, column 5"),
        ('[job]\nname = """abc', "line 2, column 14"),
        ("[job]\nseed = " + "1" * 5000, "integer"),
        ("[job]\nname = " + "[" * 5000, "recursion"),
    ],
)
def test_not_toml(write, text, reason):
    path = write("")
    Path(path).write_text(text, encoding="utf-8")
    message = refusal(path)
    assert message.startswith("quickstart.toml: not valid TOML: ")
    assert reason in message


def test_unreadable_files(write, tmp_path):
    assert refusal("none.toml") == (
        "none.toml: found No such file or directory, expected a job file"
    )
    assert "Is a directory" in refusal(tmp_path)
    Path("latin.toml").write_bytes(b'name = "\xe9"')
    assert "latin.toml: found a byte at 8 that is not UTF-8, expected TOML" in refusal("latin.toml")


def test_overrides(write):
    path = write('[job]\nname = "x"\n[resolution]\ndigits = 3')
    overrides = [
        "resolution.digits=4",
        "resolution.stop.tolerance = 1e-3",
        "job.name=bare words",
        'code.scheme="mds"',
        "code.redundancy=1.5",
        "operands.a.shape=[6, 2]",
        "operands.b={random='uniform', shape=[2, 3]}",
    ]
    job = load(path, overrides)
    assert job.resolution.digits == 4
    assert job.resolution.stop is not None
    assert job.resolution.stop.tolerance == 1e-3
    assert job.job.name == "bare words"
    assert (job.code.scheme, job.code.redundancy) == ("mds", 1.5)
    assert job.operands.a == RandomOperand(random="normal", shape=(6, 2))
    assert job.operands.b == RandomOperand(random="uniform", shape=(2, 3))
    assert job.text == Path(path).read_text() + "".join(f"# --set {one}\n" for one in overrides)


def test_the_last_override_counts(write):
    assert load(write(""), ["job.seed=1", "job.seed=2"]).job.seed == 2


def test_text_as_run_is_toml_again(write):
    path = write("# no newline at the end", OPERANDS.rstrip())
    text = load(path, ["job.seed=1"]).text
    assert text.endswith('b = "a.T"\n# --set job.seed=1\n')
    Path(path).write_text(text)
    assert load(path).text == text


@pytest.mark.parametrize("override", ["digits=3", "resolution.digits", "=3", "a..b=3", "a.b=1\n2"])
def test_malformed_overrides(write, override):
    message = refusal(write(""), override)
    assert message.startswith("--set: found ")
    assert message.endswith("expected section.key=value in one line")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resolution.digits=9", "[resolution] digits: found 9, expected 1..7"),
        ("resolution.digit=3", '[resolution] digit: unknown key; did you mean "digits"?'),
        ("operands.b=b.T", '[operands] b: found "b.T", expected {file'),
        ("resolutions.digits=3", '[resolutions]: unknown key; did you mean "resolution"?'),
        ("job.name.x=3", "[job] name: found {x = 3}, expected a name"),
        ("code.redundancy=1.5", "[code] redundancy: found 1.5 for the scheme uncoded, expected 1"),
        ("compare.codes=[{}, {task=3}]", "[compare] codes[1].task: unknown key; did you mean"),
        ("faults.worker=[{rank=0}]", "[faults] worker[0].rank: found 0, expected >= 1"),
    ],
)
def test_bad_overrides_are_named(write, override, message):
    where = f"quickstart.toml with --set {override}: "
    assert refusal(write(""), "job.seed=3", override).startswith(where + message)


@pytest.mark.parametrize("override", ["code.tasks=30", "code.redundancy=3"])
def test_either_of_two_keys_is_blamed(write, override):
    text = '[code]\nscheme = "polynomial"\ntasks = 14\nredundancy = 2'
    where = f"quickstart.toml with --set {override}: [code] tasks, redundancy: found "
    assert refusal(write(text), "job.seed=3", override).startswith(where)


def test_survival_where_tasks_are_made_again(write):
    for scheme in ("speculative", "lt"):
        assert load(write(f'[code]\nscheme = "{scheme}"\nsurvive = 2')).code.survive == 2


def test_an_override_below_a_value(write):
    message = refusal(write('[job]\nname = "x"'), "job.name.first=y")
    assert message == '--set job.name.first=y: found job.name = "x", expected a table'


def test_mistakes_in_the_file_are_not_blamed_on_overrides(write):
    message = refusal(write("[resolution]\ndigits = 9"), "resolution.digit_bits=4")
    assert message.startswith("quickstart.toml: [resolution] digits: found 9")
