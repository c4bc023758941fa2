"""The suite of comparisons runs, and nothing in it is wrong. Nothing here is timed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hpcrefine.record.reader import read

ROOT = Path(__file__).parents[1]
CASES = {
    *("products-4096", "products-8192", "products-resident", "ladder"),
    *("executor-product", "executor-tasks", "polynomial-code", "machine-kernel", "machine-mpi"),
    *("overheads-waiting", "overheads-idle", "overheads-recording"),
}


def test_every_comparison_runs_and_is_right(tmp_path, int8_fault):
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--output", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = {path.stem: read(path) for path in tmp_path.glob("*.h5")}
    dask = {"dask-product"} if find_spec("distributed") else set()
    assert records.keys() >= CASES | dask
    page = (tmp_path / "summary.md").read_text()
    for name, record in records.items():
        assert record.complete
        assert len(record.jobs)
        assert "wrong" not in record.jobs["verdict"]
        assert f"## {name}\n" in page
    verdicts = {}
    for row in records["machine-kernel"].jobs:
        verdicts.setdefault(row["variant"], set()).add(row["verdict"])
    assert verdicts["hpcrefine kernel"] == {"exact (sampled)"}
    for name in ("raw oneDNN", "raw oneDNN, best shape"):
        assert verdicts[name] == {"unchecked" if int8_fault else "exact (sampled)"}
    assert (int8_fault in page) if int8_fault else ("timed only" not in page)
    if not dask:
        assert "dask_product: skipped" in page
    assert (tmp_path / "summary.svg").read_text().startswith("<?xml")


def test_a_record_at_size_is_measured():
    command = [sys.executable, "-m", "bench.record", "--jobs", "2", "--repeats", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    figures = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    programs = {"hpcrefine report", "hpcrefine report --html", "hpcrefine watch --once"}
    assert figures.keys() == {"append", "size", "read", "hpcrefine.load"} | programs
