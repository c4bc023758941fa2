"""What other programs get: CSV, JSON, Parquet, Extra-P, and the records as they are."""

import json
import os
import shutil
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from hpcrefine.analysis.export import export
from hpcrefine.cli import main
from hpcrefine.errors import InputError
from hpcrefine.record import schema
from hpcrefine.record.reader import read
from tests.studies import steady


@pytest.fixture
def folder(make_study):
    return make_study(
        [
            (w, {"code.scheme": scheme, "size": [8, w]}, {"layered": steady(1 / w)})
            for scheme in ("mds", None)
            for w in (1, 2)
        ]
    )


def test_csv_has_units_and_the_reader_s_values(folder, tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(folder), "-o", str(out), "--format", "csv"]) == 0
    names = {path.stem for path in out.iterdir()}
    assert names == {"points", "environment", "jobs", "layers", "tasks", "workers"}
    layers = pd.read_csv(out / "layers.csv")
    assert {"point [1]", "ready [s]", "decode [s]", "layer [1]"} <= {*layers.columns}
    stored = read(folder / "001.h5").layers["ready"]
    assert np.array_equal(layers["ready [s]"][layers["point [1]"] == 1], stored)
    points = pd.read_csv(out / "points.csv")
    assert list(points["size [1]"]) == ["[8, 1]", "[8, 2]"] * 2


def test_parquet_keeps_types_and_units(folder, tmp_path):
    export([folder], tmp_path / "out", "parquet")
    table = parquet.read_table(tmp_path / "out" / "layers.parquet")
    assert table.schema.field("ready").metadata[b"unit"] == b"s"
    frame = pd.read_parquet(tmp_path / "out" / "jobs.parquet")
    assert frame["variant"].dtype == "category"
    for column in schema.TABLES["jobs"]:
        kind = np.dtype(column.dtype)
        assert frame[column.name].dtype == ("category" if kind.kind == "S" else kind)


def test_json_is_one_document_with_its_provenance(folder, tmp_path):
    (target,) = export([folder], tmp_path, "json")
    found = json.loads(target.read_text(), parse_constant=pytest.fail)
    assert found["units"]["layers"]["ready"] == "s"
    assert found["files"] == [str(folder / f"{number:03}.h5") for number in range(4)]
    assert found["written_by"] == [found["exported_by"]]
    jobs = found["tables"]["jobs"]
    assert len(jobs) == 48
    assert jobs[0]["deadline"] is None
    assert jobs[0]["warmup"] is True
    assert found["tables"]["layers"][1]["ready"] == 0.99
    assert found["tables"]["points"][1]["size"] == [8, 2]


def test_files_are_replaced_by_force_alone(folder, tmp_path, capsys):
    given = ["export", str(folder), "-o", str(tmp_path / "x"), "--format", "json"]
    assert main(given) == 0
    assert main(given) == 2
    assert "tables.json: found a file, expected none, or --force" in capsys.readouterr().err
    assert main([*given, "--force"]) == 0
    assert main([*given[:-1], "xml"]) == 2
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        export([folder], tmp_path / "file" / "x", "csv")


def test_extrap_input_has_workers_and_swept_numbers_as_parameters(make_study, tmp_path):
    points = [
        (w, {"code.scheme": scheme, "code.redundancy": r}, {"layered": steady(r / w)})
        for scheme in ("mds", "lt")
        for r in (1.0, 1.5)
        for w in (1, 2)
    ]
    (target,) = export([make_study(points)], tmp_path / "out", "extrap")
    found = json.loads(target.read_text())
    assert found["parameters"] == ["p", "code.redundancy"]
    assert list(found["measurements"]) == [
        f"code.scheme={scheme}->layered->layer 0" for scheme in ("mds", "lt")
    ]
    first, *_, last = found["measurements"]["code.scheme=lt->layered->layer 0"]["time"]
    assert first == {"point": [1.0, 1.0], "values": list(steady(1.0))}
    assert last["point"] == [2.0, 1.5]


@pytest.mark.skipif(
    "HPCREFINE_EXTRAP" not in os.environ, reason="HPCREFINE_EXTRAP names no command of Extra-P"
)
def test_extra_p_finds_the_law_in_our_file(make_study, tmp_path):
    points = [(w, {}, {"layered": steady(1 + 0.5 * w)}) for w in (1, 2, 4, 8, 16, 32)]
    (target,) = export([make_study(points)], tmp_path / "out", "extrap")
    command = [os.environ["HPCREFINE_EXTRAP"], "--json", "--print", "all", "--disable-progress"]
    said = subprocess.check_output([*command, str(target)], text=True)
    assert "Callpath: layered->layer 0" in said
    assert "Metric: time" in said
    (model,) = [line for line in said.splitlines() if "Model: " in line]
    constant, slope = model.partition("Model: ")[2].split(" + ")
    assert float(constant) == pytest.approx(1, rel=0.02)
    assert float(slope.removesuffix(" * p^(1)")) == pytest.approx(0.5, rel=0.02)


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="no h5dump here (Debian: hdf5-tools)")
def test_h5dump_reads_a_record(record):
    path = record("run.h5", {"layered": [[0.125, 0.25]]})
    said = subprocess.check_output(["h5dump", "-d", "/layers", str(path)], text=True)
    assert 'H5T_IEEE_F64LE "ready";' in said
    assert "0.125," in said
    assert 'ATTRIBUTE "units"' in said


def test_pandas_reads_a_record_by_h5py_alone(record):
    path = record("run.h5", {"layered": [[0.125, 0.25]]})
    with h5py.File(path) as file:
        frame = pd.DataFrame(file["layers"][:])
    assert list(frame.columns) == [column.name for column in schema.TABLES["layers"]]
    assert list(frame["ready"]) == [9.0, 9.0, 0.125, 0.25]
