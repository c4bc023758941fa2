"""Shared memory: lent, recycled, found by another process, refused where it is not ours."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hpcrefine.cluster.arena import Arena, Attachments, Offer, accept
from hpcrefine.cluster.protocol import SEGMENT
from hpcrefine.cluster.remote import GoneError, has_ended, read_memory

PAGE = 4096


@pytest.fixture
def forgotten():
    return []


@pytest.fixture
def arena(forgotten):
    arena = Arena(forgotten.append)
    yield arena
    arena.close()


@pytest.fixture
def offer():
    offer = Offer()
    yield offer
    offer.close()


def elsewhere(code, *arguments):
    """Run code in another Python process; return what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def number(arena, array):
    return int(arena.row(array)["number"][0])


def test_an_array_is_what_was_asked_for(arena):
    for dtype, shape in (("f8", (3, 5)), ("i1", (2, 7, 1)), ("i4", (11,))):
        array = arena.empty(shape, dtype)
        array[...] = 1
        assert array.dtype == dtype
        assert array.shape == shape
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert arena.holds(array)
        assert not arena.holds(array[1:])
        assert not arena.holds(array.copy())


def test_a_segment_comes_back_with_the_last_view_of_its_array(arena):
    first = arena.empty((100, 5), np.float64)
    name, view = number(arena, first), first[10:, 1:].T
    del first
    other = arena.empty((100, 5), np.float64)
    assert number(arena, other) != name
    other[...] = 2
    view[...] = 1
    assert (other == 2).all()
    del view
    assert number(arena, arena.empty((100, 4), np.float64)) == name


def test_two_arrays_never_share(arena):
    arrays = [arena.empty((512,), np.float64) for _ in range(5)]
    for value, array in enumerate(arrays):
        array[:] = value
    assert [float(array.mean()) for array in arrays] == [0, 1, 2, 3, 4]


def test_sizes_that_alternate_keep_their_segments(arena, forgotten):
    for _ in range(4):
        large = arena.empty((100 * PAGE,), np.uint8)
        small = [arena.empty((30 * PAGE,), np.uint8) for _ in range(2)]
        del large, small
        other = arena.empty((40 * PAGE,), np.uint8)
        del other
    assert len(forgotten) <= 1


def test_what_is_free_too_long_is_given_up(arena, forgotten):
    names = []
    for pages in (10, 30, 90):
        array = arena.empty((pages * PAGE,), np.uint8)
        names.append(number(arena, array))
        del array
    arena.empty((100 * PAGE,), np.uint8)
    assert forgotten == names  # the longest first


def test_arrays_outlive_the_arena(arena):
    array = arena.empty((1000,), np.float64)
    arena.close()
    array[:] = 7
    assert (array == 7).all()


def test_another_process_reads_and_writes(arena, offer):
    array = arena.empty((50, 3), np.float64)
    array[...] = np.arange(150).reshape(50, 3)
    row = arena.row(array)[0].tolist()
    code = """if True:
        import sys
        import numpy as np
        from hpcrefine.cluster.arena import accept
        from hpcrefine.cluster.protocol import SEGMENT
        memory, _ = accept(sys.argv[1])
        row = np.array([tuple(map(int, sys.argv[2:5]))], SEGMENT)[0]
        found = memory.array(row, (50, 3), np.float64)
        print(found.sum())
        found += 1
        memory.forget(int(row["number"]))
        found += 1
    """
    assert elsewhere(code, offer, *row) == [str(float(np.arange(150).sum()))]
    assert (array == np.arange(150).reshape(50, 3) + 2).all()


def test_another_process_reads_what_is_not_shared(offer):
    matrix = np.arange(60, dtype=np.int16).reshape(20, 3)
    code = """if True:
        import sys
        import numpy as np
        from hpcrefine.cluster.arena import accept
        from hpcrefine.cluster.remote import RemoteMatrix
        memory, readable = accept(sys.argv[1])
        if readable:
            there = RemoteMatrix(memory.pid, int(sys.argv[2]), (20, 3), "i2")
            print(*there.read(slice(4, 9), np.empty((5, 3))).ravel())
    """
    found = elsewhere(code, offer, matrix.ctypes.data)
    if not found:
        pytest.skip("this system does not let processes read one another")
    assert [int(x) for x in found] == matrix[4:9].ravel().tolist()


def test_memory_that_is_not_there_cannot_be_read():
    with pytest.raises(OSError, match="cannot be read"):
        read_memory(2**22 + 1, 4096, np.empty(8))


def test_a_process_that_has_ended_is_told_from_one_that_does_not_share():
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    segment = np.array([(1, 999, PAGE)], SEGMENT)[0]
    try:
        assert not has_ended(living.pid)
        with pytest.raises(FileNotFoundError):
            Attachments(living.pid).array(segment, (8,), "f8")
        living.kill()
        os.waitid(os.P_PID, living.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        for _ in range(2):
            assert has_ended(living.pid)
            with pytest.raises(GoneError):
                Attachments(living.pid).array(segment, (8,), "f8")
            with pytest.raises(GoneError, match="cannot be read"):
                read_memory(living.pid, 4096, np.empty(8))
            living.communicate(timeout=60)  # nothing at all
    finally:
        living.kill()
        living.communicate(timeout=60)


def test_offers_that_are_not_ours_are_refused(offer):
    boot, pid, descriptor, address, token = str(offer).split()
    assert accept(str(offer))[0] is not None
    other = "00" * (len(token) // 2)
    for refused in (
        "",
        f"another-boot {pid} {descriptor} {address} {token}",
        f"{boot} {pid} {descriptor} {address} {other}",
        f"{boot} {2**22 + 1} {descriptor} {address} {token}",
        f"{boot} {pid} 0 {address} {token}",
        f"{boot} {pid} 999 {address} {token}",
    ):
        assert accept(refused) == (None, False)
    assert accept(f"{boot} {pid} {descriptor} 1 {token}")[1] is False
