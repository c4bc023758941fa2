"""``hpcrefine doctor`` on this machine, and on one without oneDNN."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpcrefine import doctor as doctor_
from hpcrefine import launch
from hpcrefine.kernels import KERNELS
from hpcrefine.kernels.blas import Float64Kernel
from hpcrefine.launch import find_launcher


def doctor(*arguments, **variables):
    """Run the doctor; at a timeout its whole session is killed."""
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}
    with subprocess.Popen(
        [sys.executable, "-m", "hpcrefine", "doctor", *arguments],
        env=kept | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            out, err = child.communicate(timeout=90)
        except BaseException:
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if os.getsid(int(process.name)) == child.pid:
                        os.kill(int(process.name), signal.SIGKILL)
            raise
    return child.returncode, findings(out), err


def findings(out):
    """Lines ``mark topic text`` as (mark, topic) to texts."""
    table = {}
    for line in out.splitlines():
        mark, topic, text = re.fullmatch(r"(ok|--|!!) (\S+) +(\S.*)", line).groups()
        table.setdefault((mark, topic), []).append(text)
    return table


@pytest.fixture(scope="module")
def healthy():
    return doctor("-n", "4")


def test_all_is_well_here(healthy, int8_fault):
    code, found, err = healthy
    assert (code, err) == (0, "")
    notes = {place: texts for place, texts in found.items() if place[0] != "ok"}
    slower = {("--", "int8"): [f"{int8_fault} (auto takes the next kernel)"]}
    assert notes == (slower if int8_fault else {})


def test_it_says_what_it_looked_at(healthy):
    found = {topic: texts for (_, topic), texts in healthy[1].items()}
    for topic in ("python", "cpu", "blas", "threads", "hdf5", "slurm", "mpiexec", "mpi", "deaths"):
        assert len(found[topic]) == 1, topic
    for kernel in ("int8", "float32", "float64"):
        assert len(found[kernel]) == 1
    for kernel in ("float32", "float64"):
        assert re.search(r"exact on worst-case digits, \d+ Gop/s", found[kernel][0])
    assert found["threads"][0].startswith("1 per rank")
    assert "mpi4py" in found["mpi"][0]
    assert found["mpiexec"][0].startswith(f"{find_launcher().path}: ")
    assert found["slurm"] == ["not inside a Slurm job"]
    outlived = "goes on" if find_launcher().tolerant else "ends"
    assert found["deaths"][0].startswith(f"a run {outlived} when a worker dies")


def test_every_worker_says_what_it_is(healthy):
    _, found, _ = healthy
    workers = found["ok", "worker"]
    pattern = r"rank (\d) on \S+: pid \d+, cpus [\d,-]+, 1 thread\(s\), (int8|float32)\b.*"
    assert [re.fullmatch(pattern, text)[1] for text in workers] == ["1", "2", "3"]
    product = "3 resolutions on 3 workers, error within its bound"
    assert found["ok", "product"] == [product]


class Wrong(Float64Kernel):
    """Wrong by 1."""

    def product(self, a, b):
        return super().product(a, b) + 1


@pytest.mark.parametrize(
    ("wrong", "marks", "expected"),
    [
        ((), ("ok", "ok", "ok"), 0),
        (("int8",), ("--", "ok", "ok"), 0),
        (("int8", "float32"), ("--", "--", "ok"), 0),
        (("float64",), ("ok", "ok", "!!"), 1),
        (("int8", "float32", "float64"), ("!!", "!!", "!!"), 1),
    ],
    ids=lambda given: "-".join(given) or "none" if isinstance(given, tuple) else None,
)
def test_an_inexact_kernel_is_broken_if_none_takes_its_place(
    monkeypatch, capsys, wrong, marks, expected
):
    for name in KERNELS:
        kernel = Wrong() if name in wrong else Float64Kernel()
        monkeypatch.setitem(KERNELS, name, lambda library, kernel=kernel: kernel)
    monkeypatch.setattr(launch, "prepare_process", lambda: 1)
    monkeypatch.setattr(launch, "start", lambda ranks, words: launch.Exit(0, False, False))
    assert doctor_.examine(3) == expected
    found = findings(capsys.readouterr().out)
    assert {(mark, name) for mark, name in found if name in KERNELS} == set(
        zip(marks, KERNELS, strict=True)
    )
    for mark, name in zip(marks, KERNELS, strict=True):
        (text,) = found[mark, name]
        assert ("is not exact here" in text) == (mark != "ok")
        assert ("auto takes the next kernel" in text) == (mark == "--")


MEMORY = (
    "; served by messages",
    "; shares memory with rank 0",
    "; shares memory with rank 0, reads its operands",
)


def test_without_onednn_and_fault_tolerance_in_a_slurm_job():
    """It says what is missing and works by float32, with the threads that Slurm gives."""
    slurm = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "3", "SLURM_JOB_NUM_NODES": "1"}
    code, found, err = doctor(
        *("-n", "3"),
        HPCREFINE_ONEDNN="/nowhere/libdnnl.so",
        HPCREFINE_FAULT_TOLERANCE="0",
        SLURM_CPUS_PER_TASK="2",
        **slurm,
    )
    assert (code, err) == (0, "")
    (text,) = found["ok", "int8"]
    assert "found no file /nowhere/libdnnl.so" in text
    assert "auto takes the next kernel" in text
    assert len(found["ok", "worker"]) == 2
    for worker in found["ok", "worker"]:
        assert ", 2 thread(s), float32 (" in worker
        assert worker.endswith(MEMORY)
        assert "/nowhere/libdnnl.so" in worker
    assert found["ok", "product"] == ["3 resolutions on 2 workers, error within its bound"]
    assert found["ok", "threads"][0].startswith("2 per rank")
    assert found["ok", "deaths"][0].startswith("a run ends when a worker dies; Open MPI 5")
    assert found["ok", "slurm"] == ["job 17: 3 tasks on 1 nodes"]


def test_without_a_launcher_it_is_broken():
    code, found, err = doctor(HPCREFINE_MPIEXEC="/nowhere/mpiexec")
    assert (code, err) == (1, "")
    (text,) = found["!!", "mpiexec"]
    assert "/nowhere/mpiexec" in text
    assert "expected an MPI launcher" in text
    assert len(found["ok", "float32"]) == 1


def test_a_master_alone_is_refused():
    code, found, err = doctor("-n", "1")
    assert code == 2
    assert not found
    assert err == "hpcrefine: ranks: found 1, expected at least 2 (a master and a worker)\n"
