"""Provenance, found without starting a process."""

import os
import subprocess

import pytest

from hpcrefine.record.environment import collect, cpu_model, git_commit

A, B = "a1" * 20, "b2" * 20


def gather(**extra):
    return collect(kernel="int8", mpi="Open MPI 5.0\n", mpi4py="4.1", threads=2, extra=extra)


def test_it_describes_this_process_without_forking(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("started a process")

    for module, name in ((subprocess, "Popen"), (os, "fork"), (os, "posix_spawn"), (os, "popen")):
        monkeypatch.setattr(module, name, refuse)
    found = gather()
    assert found["cores"] == len(os.sched_getaffinity(0)) <= found["cores_total"]
    assert found["memory_bytes"] > 2**20
    assert found["mpi"] == "Open MPI 5.0"
    assert (found["kernel"], found["threads"]) == ("int8", 2)
    assert all(isinstance(value, str | int | float) for value in found.values())
    assert all(found[name] for name in ("host", "cpu", "platform", "python", "blas", "hdf5"))


def test_the_batch_system_counts_where_there_is_one(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert not [name for name in gather() if name.startswith(("slurm", "openblas"))]
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_NODELIST", "n[1-4]")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    found = gather()
    assert (found["slurm_job_id"], found["slurm_nodelist"]) == ("77", "n[1-4]")
    assert found["openblas_coretype"] == "SkylakeX"


def test_further_entries_win():
    assert gather(host="other", depth=3) == gather() | {"host": "other", "depth": 3}


def test_cpu_model(tmp_path):
    source = tmp_path / "cpuinfo"
    source.write_text("processor\t: 0\nmodel name\t: Some CPU: v2\n\nmodel name\t: Second\n")
    assert cpu_model(source) == "Some CPU: v2"
    source.write_text("cpu\t: POWER9\n")
    assert cpu_model(source) == "POWER9"
    assert cpu_model(tmp_path / "missing") == os.uname().machine


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "tree/.git/refs/heads").mkdir(parents=True)
    (tmp_path / "tree/.git/HEAD").write_text("ref: refs/heads/main\n")
    return tmp_path / "tree"


def test_a_loose_reference_wins_over_a_packed_one(checkout):
    packed = f"# pack-refs with: peeled\n{A} refs/heads/main\n{B} refs/heads/main2\n^{B}\n"
    (checkout / ".git/packed-refs").write_text(packed)
    assert git_commit(checkout) == A
    (checkout / ".git/refs/heads/main").write_text(B + "\n")
    assert git_commit(checkout) == B


def test_a_detached_head(checkout):
    (checkout / ".git/HEAD").write_text(A + "\n")
    assert git_commit(checkout) == A


def test_a_linked_worktree(checkout, tmp_path):
    private = checkout / ".git/worktrees/side"
    private.mkdir(parents=True)
    (private / "HEAD").write_text("ref: refs/heads/side\n")
    (private / "commondir").write_text("../..\n")
    (checkout / ".git/refs/heads/side").write_text(B + "\n")
    side = tmp_path / "side"
    side.mkdir()
    (side / ".git").write_text(f"gitdir: {private}\n")
    assert git_commit(side) == B


@pytest.mark.parametrize("head", ["", "nonsense", "ref: refs/heads/gone", "ref: HEAD", "\x00"])
def test_everything_else_is_unknown(checkout, head):
    (checkout / ".git/HEAD").write_text(head)
    assert git_commit(checkout) == "unknown"


def test_no_checkout(tmp_path):
    assert git_commit(tmp_path) == "unknown"
