"""Records on a node's own disk."""

import h5py
import pytest

from hpcrefine.errors import InputError
from hpcrefine.record.reader import read
from hpcrefine.study.scratch import Scratch
from hpcrefine.study.states import look


@pytest.fixture
def folders(tmp_path):
    for name in ("kept", "local"):
        (tmp_path / name).mkdir()
    return tmp_path / "kept", tmp_path / "local"


def test_without_one_records_are_written_where_they_are_kept(folders):
    kept, _ = folders
    scratch = Scratch(kept, None)
    assert scratch.fetch("x.h5") == kept / "x.h5"
    scratch.bring("x.h5")


def test_a_new_record(folders, write_record):
    kept, local = folders
    scratch = Scratch(kept, local / "deeper")
    target = scratch.fetch("x.h5")
    assert target == local / "deeper" / "x.h5"
    assert not target.exists()
    write_record(target, 3)
    scratch.bring("x.h5")
    assert not target.exists()
    assert len(read(kept / "x.h5").jobs) == 3


@pytest.mark.parametrize(("before", "left", "there"), [(2, None, 2), (2, 1, 2), (2, 4, 4)])
def test_the_one_with_more_jobs_is_gone_on_with(folders, write_record, before, left, there):
    kept, local = folders
    write_record(kept / "x.h5", before, complete=False)
    if left is not None:
        write_record(local / "x.h5", left, complete=False)
    assert len(read(Scratch(kept, local).fetch("x.h5")).jobs) == there
    assert len(read(kept / "x.h5").jobs) == before


def test_what_is_damaged_on_the_node_is_not_used(folders, write_record):
    kept, local = folders
    (local / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    write_record(kept / "x.h5", 1, complete=False)
    assert len(read(Scratch(kept, local).fetch("x.h5")).jobs) == 1


def test_a_folder_that_cannot_be(folders):
    kept, local = folders
    (local / "file").write_text("")
    with pytest.raises(InputError, match=r"--scratch .*file"):
        Scratch(kept, local / "file").fetch("x.h5")


def test_states(tmp_path, write_record):
    path = tmp_path / "x.h5"
    assert look(path).kind == "pending"
    write_record(path, 2, complete=False)
    assert (look(path).kind, look(path).jobs) == ("interrupted", 2)
    write_record(tmp_path / "y.h5", 3)
    assert (look(tmp_path / "y.h5").kind, look(tmp_path / "y.h5").jobs) == ("done", 3)
    path.write_text("text")
    assert look(path).kind == "damaged"
    assert "not an HDF5 file" in look(path).problem
    with h5py.File(tmp_path / "z.h5", "w"):
        pass
    assert "no record of hpcrefine" in look(tmp_path / "z.h5").problem
