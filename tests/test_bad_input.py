"""Every mistake a user can make: exit code 2, one line that says what is wrong, nothing left.

A case is a job file, files beside it, words on the command line and what the line must name.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcrefine.launch import find_launcher
from hpcrefine.record.writer import RecordWriter

RANDOM = '{ random = "normal", shape = [%d, %d] }'
OPERANDS = f"a = {RANDOM % (8, 6)}\nb = {RANDOM % (6, 5)}"
MATRIX = np.arange(48.0).reshape(8, 6)
OLD = b"\x89HDF\r\n\x1a\n an old record"
RUN = (sys.executable, "-m", "hpcrefine", "run")


@dataclass
class Case:
    """A mistake.

    ``files`` are made before the run: text, bytes, an array (by the name's suffix), a function of
    the path, or None for a folder. ``more`` follows the section ``[code]``.
    """

    name: str
    says: tuple[str, ...]
    more: str = ""
    operands: str = OPERANDS
    job: str | bytes | None = None
    files: dict[str, object] = field(default_factory=dict)
    arguments: tuple[str, ...] = ("-n", "3")
    target: str = "job.toml"
    env: dict[str, str] = field(default_factory=dict)

    def text(self):
        given = f"[operands]\n{self.operands}\n[code]\ntasks = 4\n{self.more}\n"
        return given if self.job is None else self.job


def key(name, more, *says, **given):
    """A mistake in what the job file says."""
    return Case(name, says, more, **given)


def words(name, arguments, *says, **given):
    """A mistake on the command line."""
    return Case(name, says, arguments=tuple(arguments), **given)


def operand(name, filename, content, *says, spec=""):
    """A mistake in the file of operand a."""
    given = f'a = {{ file = "{filename}"{spec} }}\nb = {RANDOM % (6, 5)}'
    return Case(name, says, operands=given, files={filename: content})


def output(name, path, *says, option=True, **given):
    """A mistake in the name of the record, given as an option or in the job file."""
    if option:
        return words(name, ["-n", "3", "-o", path], path, *says, **given)
    return key(name, f"[record]\nfile = '{path}'", path, *says, **given)


def changed(row, column, value, dtype=np.float64):
    matrix = MATRIX.astype(dtype)
    matrix[row, column] = value
    return matrix


def cut(lost):
    """Write the matrix without its last bytes."""

    def write_cut(path):
        write(path, MATRIX)
        os.truncate(path, path.stat().st_size - lost)

    return write_cut


def write(path, content):
    if content is None:
        path.mkdir()
    elif callable(content):
        content(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["x"] = content
    else:
        np.save(path, content, allow_pickle=True)


OPERAND_CASES = [
    operand("no rows", "x.npy", np.empty((0, 6)), "[operands] a", "0 x 6", "at least 1 x 1"),
    operand("no columns", "x.h5", np.empty((8, 0)), "[operands] a", "8 x 0", "at least 1 x 1"),
    operand("three dimensions", "x.npy", np.ones((2, 3, 6)), "x.npy", "found", "expected"),
    operand("one dimension", "x.h5", np.ones(6), "x.h5", "found", "expected"),
    operand("objects", "x.npy", np.array([[1, None]] * 8, object), "x.npy", "object", "expected"),
    operand("complex", "x.npy", MATRIX.astype(complex), "x.npy", "complex128", "expected"),
    operand("complex in HDF5", "x.h5", MATRIX.astype(complex), "x.h5", "complex128", "expected"),
    operand("strings", "x.npy", np.full((8, 6), "abc"), "x.npy", "found", "expected"),
    operand("text", "x.txt", "1 2 3\n4 5 6\n", "x.txt", ".txt", "expected one of .npy"),
    operand("text called .npy", "x.npy", "1 2 3\n4 5 6\n", "x.npy", "cannot be read"),
    operand("text called .h5", "x.h5", "1 2 3\n4 5 6\n", "x.h5", "cannot be read"),
    operand("an empty file", "x.npy", b"", "x.npy", "cannot be read"),
    operand("truncated", "x.npy", cut(8), "x.npy", "found 376 bytes", "expected 384"),
    operand("truncated header", "x.npy", cut(400), "x.npy", "cannot be read"),
    operand("truncated HDF5", "x.h5", cut(100), "x.h5", "cannot be read"),
    operand("a folder", "x.npy", None, "x.npy", "found a folder", "expected a file"),
    operand("rows", "x.npy", MATRIX, "x.npy", "[4, 9]", "at most 8 rows", spec=", rows = [4, 9]"),
    operand("dataset", "x.h5", MATRIX, "x.h5", '"y"', 'one of "x"', spec=', dataset = "y"'),
    key(
        "no such file",
        *("", "[operands] a", "x.npy", "no such file"),
        operands=f'a = {{ file = "x.npy" }}\nb = {RANDOM % (6, 5)}',
    ),
    key(
        "shapes",
        *("", "[operands] b", "9 x 5", "8 x 6", "expected 6 rows"),
        operands=f"a = {RANDOM % (8, 6)}\nb = {RANDOM % (9, 5)}",
    ),
    key(
        "nothing to draw",
        *("", "[operands] a.shape", "[0, 6]", "each 1.."),
        operands=OPERANDS.replace("8, 6", "0, 6"),
    ),
    key(
        "memory",
        *("", "[operands] a, b", "2000000 x 2000000", "needs about", "GiB available"),
        operands=f"a = {RANDOM % (2000000, 2000000)}\nb = 'a.T'",
    ),
]
KEY_CASES = [
    key("section", "[resolutoin]\ndigits = 2", "resolutoin", 'did you mean "resolution"?'),
    key("unknown section", "[cluster]\nnodes = 2", "cluster", "expected one of job, operands"),
    key("misspelt", "redundency = 1.5", "[code] redundency", 'did you mean "redundancy"?'),
    key("of another section", "digits = 2", "[code] digits", "it belongs in [resolution]"),
    key("unknown", "colour = 3", "[code] colour", "expected one of scheme, tasks"),
    key(
        "of an operand",
        *("", "[operands] a.shap", 'did you mean "shape"?'),
        operands=OPERANDS.replace("shape", "shap", 1),
    ),
    key("choice", 'scheme = "msd"', "[code] scheme", '"msd"', '"mds"'),
    key("a string", '[job]\nrepeats = "5"', "[job] repeats", '"5"', "an integer >= 1"),
    *(
        words(f"K = {k}", ["--set", f"code.tasks={k}"], "[code] tasks", f"found {k}", ">= 1")
        for k in ("0", "-4", "2.5")
    ),
    key("K above n", "", "[code] tasks", "found 9", "at most 8", arguments=("-s", "code.tasks=9")),
    *(
        key(f"Omega = {x}", f'scheme = "mds"\nredundancy = {x}', "[code] redundancy", x, "number")
        for x in ("nan", "inf")
    ),
    *(
        key(f"Omega = {x}", f'scheme = "mds"\nredundancy = {x}', "[code] redundancy", x, ">= 1")
        for x in ("0.5", "-1.0")
    ),
    key("Omega without a code", "redundancy = 1.5", "[code] redundancy", "1.5", "mds"),
    *(
        key(f"m = {m}", f"[resolution]\ndigits = {m}", "[resolution] digits", f"found {m}", "1..7")
        for m in (0, 8)
    ),
    *(
        key(f"d = {d}", f"[resolution]\ndigit_bits = {d}", "digit_bits", f"found {d}", "1..8")
        for d in (0, 9)
    ),
    key("library", "[kernel]\nlibrary = 'none.so'", "[kernel] library", "none.so", "existing file"),
    key(
        "a number for a section", "", "kernel", "found 3", job=f"kernel = 3\n[operands]\n{OPERANDS}"
    ),
    key("text for a section", "", "kernel", '"i"', job=f'kernel = "i"\n[operands]\n{OPERANDS}'),
    key("no operands", "", "[operands]", "found nothing", job="[job]\nseed = 1\n"),
    key("empty job file", "", "[operands]", "found nothing", job=""),
    key("TOML", "", "not valid TOML", "line 3", job="[operands]\na = 1\nb = = 2\n"),
    key("TOML cut off", "", "not valid TOML", "line 2", job="[operands]\na = {"),
    key("not UTF-8", "", "job.toml", "a byte at 8", "UTF-8", job=b'name = "\xff"\n'),
    key("no job file", "", "nojob.toml", "No such file", "a job file", target="nojob.toml"),
    key(
        "a folder", "", "jobs", "Is a directory", "a job file", target="jobs", files={"jobs": None}
    ),
]
WORD_CASES = [
    *(
        words(f"--set {text}", ["--set", text], *says)
        for text, *says in (
            ("tasks", "--set", '"tasks"', "expected section.key=value"),
            ("tasks=4", "--set", '"tasks=4"', "expected section.key=value"),
            ("code.=4", "--set", '"code.=4"', "expected section.key=value"),
            ("code.tsks=4", "--set code.tsks=4", 'did you mean "tasks"?'),
            ("code.tasks=many", "--set code.tasks=many", '"many"', "an integer"),
            ("code.tasks.most=4", "--set", "code.tasks = 4", "expected a table"),
            ("operands.a.shape=[9, 9]", "[operands] b", "with a of 9 x 9", "9 rows"),
        )
    ),
    *(
        words(f"-n {ranks}", ["-n", ranks], "ranks", f"found {ranks}", "expected at least 2")
        for ranks in ("1", "0", "-3")
    ),
    *(words(f"-n {ranks}", ["-n", ranks], "-n", ranks) for ranks in ("2.5", "many")),
    words(
        "mpiexec",
        *(["-n", "3"], "mpiexec", "/nowhere/mpiexec", "expected an MPI launcher"),
        env={"HPCREFINE_MPIEXEC": "/nowhere/mpiexec"},
    ),
    output("output exists", "old.h5", "exists already", "--force", files={"old.h5": OLD}),
    output("named output exists", "old.h5", "exists", option=False, files={"old.h5": OLD}),
    output("below a device", "/dev/null/x.h5", "no directory"),
    output("below a file", "file/x.h5", "no directory file", files={"file": OLD}),
    output("named below a file", "file/x.h5", "no directory", option=False, files={"file": OLD}),
    output("no folder", "none/x.h5", "no directory none"),
    output("output is a folder", "jobs", "is a directory", files={"jobs": None}),
    words("results is a file", ["-n", "3"], "results", files={"results": OLD}),
]


def record(job_text, complete):
    """Write a record without a job, of a run that was interrupted or not."""

    def write_record(path):
        facts = {"job_text": job_text, "kind": "measured", "environment": {}, "workers": []}
        RecordWriter(path, **facts).close(complete)

    return write_record


def resume(name, content, *says, arguments=("-o", "old.h5")):
    """A record that cannot be gone on with."""
    files = {} if content is None else {"old.h5": content}
    return words(name, ["--resume", *arguments], *says, files=files)


RESUME_CASES = [
    resume("resume nothing", None, "--resume", "found no record named", "-o FILE", arguments=()),
    resume("resume none", None, "old.h5", "no such file", "a record"),
    resume("resume no record", OLD, "old.h5", "record"),
    resume("resume another job", record("[job]", False), "old.h5", "another job", "job.toml"),
    resume(
        "resume with another --set",
        record(Case("", ()).text(), False),
        *("old.h5", "another job", "--set"),
        arguments=("-o", "old.h5", "--set", "code.tasks=3"),
    ),
    resume("resume a complete one", record(Case("", ()).text(), True), "old.h5", "a complete"),
    resume(
        "resume and force",
        *(record("", False), "--resume", "--force"),
        arguments=("-o", "old.h5", "--force"),
    ),
]
BEFORE_MPI = OPERAND_CASES + KEY_CASES + WORD_CASES + RESUME_CASES

NOT_A_LIBRARY = {"lib.so": b"no library"}
ON_RANK_0 = [
    operand("NaN", "x.npy", changed(3, 5, np.nan), "a[3, 5]", "found nan", "finite"),
    operand("Inf", "x.h5", changed(7, 0, -np.inf, np.float32), "a[7, 0]", "found -inf", "finite"),
    operand(
        "NaN in a normalised row",
        *("x.npy", changed(3, 5, np.nan), "a[3, 5]", "found nan"),
        spec=', normalise = "rows"',
    ),
    key(
        "the first NaN of b",
        *("", "b[2, 4]", "found nan"),
        operands=f'a = {RANDOM % (9, 8)}\nb = {{ file = "x.npy" }}',
        files={"x.npy": np.where(MATRIX >= 16, np.nan, 1.0)},
    ),
    key(
        "int8 without oneDNN",
        *("[kernel]\nname = 'int8'", "oneDNN", "found no file /nowhere/libdnnl.so"),
        env={"HPCREFINE_ONEDNN": "/nowhere/libdnnl.so"},
    ),
    key(
        "no library, int8",
        *("[kernel]\nname = 'int8'\nlibrary = 'lib.so'", "lib.so", "dnnl_gemm_s8s8s32"),
        files=NOT_A_LIBRARY,
    ),
    key(
        "no library, auto",
        *("[kernel]\nlibrary = 'lib.so'", "lib.so", "dnnl_gemm_s8s8s32"),
        files=NOT_A_LIBRARY,
    ),
    key(
        "too few ranks",
        *("scheme = 'mds'\nredundancy = 1.25\nsurvive = 1", "ranks", "found 3", "at least 6"),
    ),
    key(
        "more stragglers than workers",
        *("[faults]\nstragglers = 3", "job.toml: [faults] stragglers", "found 3", "at most 2"),
    ),
    key("not to survive", "survive = 1", "[code] survive", "found 1", "expected"),
    output("not writable", "/proc/x.h5", "cannot be created"),
]
EITHER_WAY = (
    *("NaN", "int8 without oneDNN", "too few ranks", "no job file", "resume another job"),
)
UNDER_MPIEXEC = [
    *(case for case in BEFORE_MPI + ON_RANK_0 if case.name in EITHER_WAY),
    words("one rank", ["-n", "1"], "ranks", "found 1", "at least 2"),
]


def by_name(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name.replace("/", " "))


def environment(**changes):
    """The environment without what would change how ranks are started."""
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}
    return kept | changes


def call(command, folder, env, timeout=60):
    """Run a command to its end; at a timeout its whole session is killed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **pipes) as child:
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException:
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if os.getsid(int(process.name)) == child.pid:
                        os.kill(int(process.name), signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def set_up(case, folder):
    for name, content in case.files.items():
        write(folder / name, content)
    write(folder / "job.toml", case.text())
    return contents(folder)


def check(done, case, folder, before, err=None):
    """Check how a command ended; ``err`` is its stderr without a warning of the kernel."""
    err = done.stderr if err is None else err
    assert "Traceback" not in err, err
    assert done.returncode == 2, err
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith("hpcrefine: ")
    for part in case.says:
        assert part in err
    assert done.stdout == ""
    assert contents(folder) == before
    assert {path.name for path in folder.iterdir()} <= {"job.toml", "results", *case.files}


def on_rank_0(case):
    """Say whether a mistake comes up after kernels were loaded, which may have warned."""
    return any(case is known for known in ON_RANK_0)


@by_name(BEFORE_MPI + ON_RANK_0)
def test_run(case, tmp_path, unwarned):
    before = set_up(case, tmp_path)
    done = call([*RUN, case.target, *case.arguments], tmp_path, environment(**case.env))
    check(done, case, tmp_path, before, unwarned(done.stderr) if on_rank_0(case) else None)


@by_name(UNDER_MPIEXEC)
def test_under_mpiexec(case, tmp_path, unwarned):
    before = set_up(case, tmp_path)
    launcher, ranks = find_launcher(), int(dict([case.arguments[:2]]).get("-n", "3"))
    started = {k: v for k, v in launcher.environment(ranks).items() if "HPCREFINE" not in k}
    program = [*RUN, case.target, *case.arguments]
    env = environment() | started | case.env
    done = call(launcher.command(ranks, program), tmp_path, env)
    check(done, case, tmp_path, before, unwarned(done.stderr) if on_rank_0(case) else None)


def test_force_does_not_cost_the_old_record_when_the_run_cannot_begin(tmp_path, unwarned):
    case = operand("NaN", "x.npy", changed(3, 5, np.nan), "a[3, 5]")
    case.files["old.h5"] = OLD
    before = set_up(case, tmp_path)
    command = [*RUN, "job.toml", "-n", "3", "-o", "old.h5", "--force"]
    done = call(command, tmp_path, environment())
    check(done, case, tmp_path, before, unwarned(done.stderr))


@pytest.mark.parametrize("path", ["none.h5", "job.toml", "."])
def test_report_of_what_is_no_record(tmp_path, path):
    case = Case("report", (f"hpcrefine: {path}: ", "record"))
    before = set_up(case, tmp_path)
    command = [sys.executable, "-m", "hpcrefine", "report", path]
    check(call(command, tmp_path, environment()), case, tmp_path, before)


def test_a_long_value_is_cut(tmp_path):
    """A value that is long or has line breaks of its own still makes one short line."""
    case = Case("long", ("[code] scheme",), f'scheme = "{"x" * 500}\\n\\n"')
    before = set_up(case, tmp_path)
    done = call([*RUN, "job.toml"], tmp_path, environment())
    check(done, case, tmp_path, before)
    assert re.fullmatch(r".{20,300}\n", done.stderr)
