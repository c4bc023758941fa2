"""Pools themselves: which ranks, how many, one after another, beside other traffic."""

import os

import numpy as np
import pytest
from mpi4py import MPI

import hpcrefine
from hpcrefine import InputError, Pool

OPERANDS = (13, 11, 9)


@pytest.mark.mpi(min_size=2)
def test_roles(comm):
    with Pool(comm) as pool:
        assert (pool is not None) == (comm.rank == 0)
        if pool:
            assert (pool.size, pool.workers) == (comm.size, comm.size - 1)
            assert pool.mpi["mpi"]
            assert pool.mpi["mpi4py"]


@pytest.mark.mpi(min_size=2)
def test_the_world_is_the_default(comm, check):
    with hpcrefine.Pool() as pool:
        if pool:
            assert pool.size == comm.size
            check(pool, *check.operands(OPERANDS))


@pytest.mark.mpi(min_size=2)
def test_what_workers_say_of_themselves(comm):
    pids = comm.gather(os.getpid())
    with Pool(comm) as pool:
        if pool:
            rows = pool.configure("float32")
            assert [row["rank"] for row in rows] == list(range(1, comm.size))
            assert [row["pid"] for row in rows] == pids[1:]
            assert all(row["host"] and row["cpus"] and row["threads"] >= 1 for row in rows)
            assert all((row["kernel"], row["error"]) == ("float32", "") for row in rows)


@pytest.mark.mpi(min_size=2)
def test_one_after_another(comm, check):
    for kernel in ("float64", "float32", "auto"):
        with Pool(comm, kernel=kernel) as pool:
            if pool:
                check(pool, *check.operands(OPERANDS))


@pytest.mark.mpi(min_size=2)
def test_no_products_at_all(comm):
    for _ in range(3):
        with Pool(comm):
            pass


@pytest.mark.mpi(min_size=3)
def test_two_at_the_same_time(comm, check):
    """Even and odd ranks each have a pool; of three ranks the odd one has no worker."""
    part = comm.Split(comm.rank % 2, comm.rank)
    with Pool(part) as pool:
        assert (pool is not None) == (comm.rank in (0, 1))
        if pool and pool.workers:
            for _ in range(3):
                check(pool, *check.operands(OPERANDS), code="mds", tasks=3, redundancy=2)
        elif pool:
            with pytest.raises(InputError, match="ranks: found 1"):
                pool.matmul(np.ones((2, 2)), np.ones((2, 2)))
    part.Free()


@pytest.mark.mpi(min_size=3)
def test_some_ranks_only(comm, check):
    part = comm.Split(0 if comm.rank < comm.size - 1 else MPI.UNDEFINED, comm.rank)
    if part != MPI.COMM_NULL:
        with Pool(part) as pool:
            if pool:
                assert pool.workers == comm.size - 2
                check(pool, *check.operands(OPERANDS))
        part.Free()


@pytest.mark.mpi(min_size=2)
def test_the_last_rank_as_master(comm, check):
    turned = comm.Split(0, -comm.rank)
    with Pool(turned) as pool:
        assert (pool is not None) == (comm.rank == comm.size - 1)
        if pool:
            check(pool, *check.operands(OPERANDS))
    turned.Free()


@pytest.mark.mpi(min_size=2)
def test_other_messages_do_not_interfere(comm, check):
    """A receive of anything, open on the caller's communicator, gets what the caller sends."""
    box = np.zeros(1)
    open_receive = comm.Irecv(box, MPI.ANY_SOURCE, MPI.ANY_TAG)
    with Pool(comm) as pool:
        if pool:
            check(pool, *check.operands(OPERANDS))
    comm.Send(np.full(1, comm.rank + 1.0), (comm.rank + 1) % comm.size)
    open_receive.Wait()
    assert box[0] == (comm.rank - 1) % comm.size + 1


@pytest.mark.mpi(min_size=2)
def test_ranks_go_on_after_the_pool(comm, check):
    with Pool(comm) as pool:
        if pool:
            next(pool.matmul(*check.operands(OPERANDS), digits=7))
    assert comm.allreduce(1) == comm.size
