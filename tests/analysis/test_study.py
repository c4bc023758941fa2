"""Records and study folders as one study: what is in it, what is warned of, what is refused."""

import subprocess
import sys

import numpy as np
import pytest

import hpcrefine
from hpcrefine.analysis.study import load
from hpcrefine.errors import InputError
from hpcrefine.record import schema
from tests.studies import steady

ONE = {"layered": [[0.1, 0.2]] * 6}


def test_a_folder_and_a_record_are_one_study(make_study, record):
    folder = make_study(
        [
            (1, {"code.redundancy": 1.0}, {"layered": steady(1.0)}),
            (2, {"code.redundancy": 1.5}, {"layered": steady(0.5)}),
        ]
    )
    alone = record("alone.h5", {"layered": [[0.1, 0.2]], "oneshot": [0.3]}, workers=4)
    study = hpcrefine.load([folder, alone])
    assert (study.name, study.scaling) == ("sweep", "strong")
    points = study.points
    assert points.index.name == "point"
    assert list(points["workers"]) == [1, 2, 4]
    assert list(points["ranks"]) == [2, 3, 5]
    assert list(points["nodes"]) == [1, 1, 1]
    assert list(points["jobs"]) == [11, 11, 2]
    assert list(points["name"]) == [
        *("ranks=2, code.redundancy=1.0", "ranks=3, code.redundancy=1.5", "alone")
    ]
    assert list(points["code.redundancy"]) == [1.0, 1.5, None]
    assert study.settings == ("code.redundancy",)
    assert (study.warnings, study.missing) == ((), ())


def test_tables_have_the_schema_s_columns_and_values(record):
    study = load(record("run.h5", {"layered": [[0.1, 0.2]], "oneshot": [0.3]}))
    for name, columns in schema.TABLES.items():
        frame = getattr(study, name)
        assert list(frame.columns) == ["point", *(column.name for column in columns)]
        for column in columns:
            kind = np.dtype(column.dtype)
            found = frame[column.name].dtype
            assert found == ("category" if kind.kind == "S" else kind), (name, column.name)
    assert list(study.layers["ready"]) == [9.0, 9.0, 0.1, 0.2, 9.0, 0.3]
    assert list(study.jobs["variant"]) == ["layered"] * 2 + ["oneshot"] * 2
    assert list(study.tasks["point"]) == [0] * 4
    assert study.environment.loc[0, "cpu"] == "x"
    assert study.environment.loc[0, "hpcrefine_version"] == hpcrefine.__version__


def test_only_the_tables_asked_for_are_read(record):
    study = load(record("run.h5", ONE), tables=["layers"])
    assert (len(study.tasks), len(study.layers), len(study.jobs)) == (0, 14, 7)
    assert list(study.tasks.columns) == ["point", *(c.name for c in schema.TABLES["tasks"])]
    with pytest.raises(InputError, match="found table taskz, expected some of workers, jobs"):
        load(record("other.h5", ONE), tables=["taskz"])


def test_lone_records_are_told_apart_by_what_their_jobs_say_otherwise(record):
    text = '[job]\nname = "{}"\n[code]\nscheme = "mds"\nredundancy = 1.25\n[matrix]\nn = 8\n'
    study = load(
        [
            record("a.h5", ONE, text=text.format("a")),
            record("b.h5", ONE, text=text.format("b") + "# --set code.redundancy=1.5\n"),
            record("c.h5", ONE, text=text.format("c") + "# --set code.scheme=lt\n"),
        ]
    )
    assert study.settings == ("code.scheme", "code.redundancy")
    assert list(study.points["code.redundancy"]) == [1.25, 1.5, 1.25]
    assert list(study.points["code.scheme"]) == ["mds", "mds", "lt"]


def test_surroundings_that_differ_are_named_with_how_many_have_them(record):
    study = load(
        [
            record("a.h5", ONE),
            record("b.h5", ONE, environment={"host": "b", "mpi": "MPICH 4"}),
            record("c.h5", ONE, environment={"host": "b", "kernel_warning": "slow"}, status="lost"),
            record("d.h5", ONE, complete=False, verdict="wrong"),
        ]
    )
    assert study.warnings == (
        "host differs: a (2 points), b (2 points)",
        "mpi differs: Open MPI 5 (3 points), MPICH 4 (1 points)",
        "slow: c",
        "interrupted or still running: d",
        "WRONG results, their times mean nothing: d",
        "jobs were lost: c",
    )


def test_a_kernel_that_is_swept_is_no_surprise(make_study):
    folder = make_study(
        [
            (1, {"workers.kernel": kernel}, ONE, {"environment": {"kernel": kernel}})
            for kernel in "ab"
        ]
    )
    assert load(folder).warnings == ()


def test_runs_with_other_workers_than_planned_are_named(make_study):
    folder = make_study([(1, {}, ONE), (2, {}, ONE, {"workers": 1})])
    assert load(folder).warnings == ("resumed with other workers or ranks than planned: ranks=3",)


def test_points_without_a_record_are_named_and_the_rest_is_there(make_study):
    folder = make_study([(1, {}, ONE), (2, {}, None), (3, {}, ONE), (4, {}, {})])
    damaged = folder / "002.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    damaged.with_suffix(".log").write_text("it broke\n")
    study = load(folder)
    assert list(study.points["jobs"]) == [6, 0, 0, 0]
    assert list(study.layers["point"].unique()) == [0]
    second, third, fourth = study.missing
    assert second == "ranks=3: no record yet"
    assert third.startswith(f"ranks=4: {damaged}: damaged or unreadable record: ")
    assert third.endswith(f"; see {damaged.with_suffix('.log')}")
    assert fourth == "ranks=5: no finished job"


def test_what_is_no_study(make_study, record, tmp_path):
    measured, simulated = record("m.h5", ONE), record("s.h5", ONE, kind="simulated")
    inference = record("i.h5", ONE, text='[job]\nkind = "inference"\n')
    empty = make_study([(1, {}, None), (2, {}, None)])
    (empty / "000.log").write_text("no such host\n")
    (tmp_path / "text.h5").write_text("no record")
    later = make_study([(1, {}, ONE)], name="later")
    manifest = later / "study.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    for paths, complaint in [
        ([measured, simulated], "s.h5: found a record of simulated times, expected measured times"),
        (
            [measured, inference],
            "i.h5: found a record of inference, expected products as in",
        ),
        ([measured, measured], "m.h5: found twice"),
        ([tmp_path / "text.h5"], "not an HDF5 file"),
        ([tmp_path / "none.h5"], "no such file"),
        ([tmp_path], "found no study.json, expected a study's folder, or a record"),
        ([later], "expected a manifest of version 1"),
        ([empty], "found no finished job .ranks=2: no record yet; see .*000.log; ranks=3: no rec"),
        ([record("e.h5", {})], "e.h5: found no finished job"),
        ([], "found no finished job"),
    ]:
        with pytest.raises(InputError, match=complaint):
            load(paths)


def test_without_pandas_it_says_what_to_install():
    script = (
        "import sys; sys.modules['pandas'] = None\n"
        "import hpcrefine\n"
        "try:\n    hpcrefine.load('x.h5')\n"
        "except hpcrefine.InputError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'hpcrefine[report]'" in done.stdout
