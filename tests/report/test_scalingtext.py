"""What people and programs get to see of studies: scaling and comparisons."""

import csv
import json

import numpy as np
import pytest

from hpcrefine.cli import main
from hpcrefine.errors import InputError
from hpcrefine.report import report
from tests.studies import steady, write_record, write_study


def cells(text):
    """The rows of a report's first table, by heading; of equal ones the last counts."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(header, row, strict=False)) for row in rows]


@pytest.fixture
def folder(tmp_path):
    times = {1: 0.8, 2: 0.5, 4: 0.4}
    points = [(w, {}, {"layered": steady(t), "oneshot": steady(1.0)}) for w, t in times.items()]
    return write_study(tmp_path / "sweep", [*points, (8, {}, None)])


def test_a_folder_shows_its_points_and_how_they_scale(folder):
    text = report([folder])
    lines = text.splitlines()
    assert lines[:5] == [
        "sweep: strong scaling",
        "0: ranks=2: 22 jobs",
        "1: ranks=3: 22 jobs",
        "2: ranks=5: 22 jobs",
        "3: ranks=9: no record yet",
    ]
    row = cells(text)[2]
    assert (row["variant"], row["workers"], row["ranks"], row["jobs"]) == (
        "layered",
        "4",
        "5",
        "11",
    )
    assert (row["median [ms]"], row["speed-up"], row["efficiency"]) == ("400", "2.00", "0.500")
    assert row["verdict"] == "exact"
    assert (
        "Base p0: 1 worker (2 ranks, the master does not count): layered 0 0.8 s, oneshot 0 1 s."
    ) in lines
    assert "do not count the master (rank 0)" in text
    assert "efficiency: p0 T(p0) / (p T(p))" in text
    assert "| layered |     0 |      3 |" in text  # its model
    assert lines[-1] == "warning: missing point: ranks=9: no record yet"


def test_a_study_on_one_worker_count_shows_its_times(tmp_path):
    points = [(2, {"code.redundancy": r}, {"layered": steady(r)}) for r in (1.0, 1.5)]
    text = report([write_study(tmp_path / "codes", points, scaling="")])
    assert text.startswith("codes: no scaling\n")
    assert [row["series"] for row in cells(text)] == [
        *("code.redundancy=1.0", "code.redundancy=1.5")
    ]
    assert "speed-up" not in text
    assert "Base" not in text


def test_a_study_of_lost_jobs_shows_that(tmp_path):
    lost = {"status": "lost"}
    points = [(w, {}, {"layered": [np.nan, np.nan]}, lost) for w in (1, 2)]
    text = report([write_study(tmp_path / "lost", points)])
    assert [(row["jobs"], row["median [s]"]) for row in cells(text)] == [("0 of 2", "-")] * 2
    assert "warning: jobs were lost: ranks=2; ranks=3" in text


def test_lone_records_scale_when_asked(tmp_path):
    paths = [
        write_record(tmp_path / f"{w}.h5", {"layered": steady(1 / w)}, workers=w) for w in (1, 2)
    ]
    text = report(paths, scaling=True)
    assert [row["efficiency"] for row in cells(text)] == ["1.000", "1.000"]
    with pytest.raises(InputError, match=r"1\.h5: found worker counts 1 "):
        report(paths[:1], scaling=True)
    assert "efficiency" not in report(paths)
    report(paths, scaling=True, plot=tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert "1, 2-scaling" in names
    assert all(name[:1] in "12" for name in names)


def test_what_changed_against_another_study(folder, tmp_path, capsys):
    points = [(w, {}, {"layered": steady(t)}) for w, t in [(1, 0.8), (2, 0.25), (16, 0.1)]]
    options = {"environment": {"cpu": "y"}}
    new = write_study(tmp_path / "new", [(*point, options) for point in points])
    assert main(["report", str(new), "--against", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("new against sweep\n")
    same, faster, *alone = cells(text)
    assert (same["ratio"], same["verdict"]) == ("1.000", "no difference found")
    assert (faster["ranks"], faster["ratio"], faster["verdict"]) == ("3", "0.500", "faster")
    assert {(row["variant"], row["verdict"]) for row in alone} == {
        *(("layered", "only in base"), ("oneshot", "only in base"), ("layered", "only in new"))
    }
    assert "Holm's correction for 2 rows" in text
    assert "warning: cpu differs: x in base, y in new" in text
    assert "warning: base: ranks=9: no record yet" in text


def test_programs_get_the_same(folder, tmp_path):
    out = tmp_path / "out"
    (scaling,) = json.loads(report([folder], json=True, csv=out))
    assert scaling["rows"][1]["efficiency"] == pytest.approx(0.8 / (2 * 0.5))
    assert scaling["models"][0]["points"] == 3
    assert "replicates" not in scaling["models"][0]
    rows = [*csv.DictReader((out / "sweep-scaling.csv").open())]
    assert rows[0]["times_median [s]"] == "0.8"
    assert float(rows[1]["efficiency [1]"]) == pytest.approx(0.8)
    (found,) = json.loads(report([folder], json=True, csv=out, against=[folder]))
    assert [row["significant"] for row in found["rows"]] == [False] * 6
    (first, *_) = csv.DictReader((out / "comparison.csv").open())
    assert (first["base [1]"], first["ratio [1]"], first["new_median [s]"]) == (
        "sweep",
        "1.0",
        "0.8",
    )


def test_other_tables_take_the_records_of_a_folder(folder):
    assert report([folder], phases=True).count("rank 0") == 0
    assert report([folder], phases=True).count("ready [") == 3
    assert report([folder], codes=True).count("exact") == 2


def test_times_of_unlike_size_have_one_unit(tmp_path):
    points = [(w, {}, {"layered": np.stack([steady(2e-4), steady(0.3)], 1)}) for w in (1, 2)]
    text = report([write_study(tmp_path / "wide", points)])
    assert [row["median [us]"] for row in cells(text)] == ["200", "200", "3e+05", "3e+05"]
