"""The machine's own limits: raw oneDNN and raw MPI.

``machine-kernel``: one thread of ``dnnl_gemm_s8s8s32``, called through ctypes with everything
prepared, at the shape of a worker's task and at other shapes, the fastest of which a short search
picks first; beside it hpcrefine's kernel at the task's shape, as a worker chooses and calls it, and
one thread of float32 and float64 BLAS. Times are divided by the multiply-adds, so that shapes
compare. On rank 0 while the workers sleep. Where oneDNN is not exact on this processor, it is timed
but not checked, and hpcrefine's kernel is the next one.

``machine-mpi``: raw mpi4py with buffers between ranks 0 and 1: bytes per second of one large
message each way, at several sizes (n counts bytes of one message, k the messages of a run), beside
a copy in memory. What hpcrefine sends cannot be faster.

    python -m bench.machine
"""

import ctypes
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from bench import start
from bench.case import Case, Contender, Outcome, Shape
from bench.contenders import Array
from bench.harness import Site, measure
from bench.turns import Turns, lead
from hpcrefine.kernels import check_exactness, choose_kernel
from hpcrefine.kernels.int8 import Int8Kernel

RANKS = 3
_RAW = "raw oneDNN"
_BEST = "raw oneDNN, best shape"
_STREAM = "stream"


def body(options: start.Options) -> None:
    """Run both cases."""
    turns = Turns({_STREAM: echo})
    lead(turns, lambda: _measure(turns, options))


def _measure(turns: Turns, options: start.Options) -> None:
    with turns.pool() as pool:
        site = Site.of(pool)
    if options.wants("machine-kernel"):
        _kernel(site, options)
    if options.wants("machine-mpi"):
        _messages(turns, site, options)


def raw(shape: Shape, exact: bool) -> Callable[[], Outcome]:
    """Prepare a raw call of oneDNN at a shape; results are checked if oneDNN is exact here."""
    rows, inner, columns = shape
    gemm = ctypes.CDLL(Int8Kernel().library).dnnl_gemm_s8s8s32
    operands = _digits(shape)
    out = np.zeros((rows, columns), np.int32)
    offset, one, zero = ctypes.c_int32(0), ctypes.c_float(1), ctypes.c_float(0)
    i64, i8, none = ctypes.c_int64, ctypes.c_int8, ctypes.c_char(b"N")
    pointers = [ctypes.c_void_p(matrix.ctypes.data) for matrix in (*operands, out)]
    call = (
        *(none, none, ctypes.c_char(b"F"), i64(rows), i64(columns), i64(inner), one),
        *(pointers[0], i64(inner), i8(0), pointers[1], i64(columns), i8(0)),
        *(zero, pointers[2], i64(columns), ctypes.byref(offset)),
    )

    def run() -> Outcome:
        begun = time.perf_counter()
        status = gemm(*call)
        seconds = time.perf_counter() - begun
        if status == 0 and not exact:
            return Outcome((seconds,))
        right = status == 0 and _right(operands, out)
        return Outcome((seconds,), verdict="exact (sampled)" if right else "wrong")

    return run


def kernel(shape: Shape) -> Callable[[], Outcome]:
    """Prepare a call of hpcrefine's kernel, as a task makes it."""
    chosen = choose_kernel().kernel
    left, right = operands = _digits(shape)
    a, b = chosen.load(left), chosen.load(right)

    def run() -> Outcome:
        begun = time.perf_counter()
        out = np.empty((shape[0], shape[2]), np.int32)
        chosen.multiply(a, b, out, peak=128 * 128, accumulate=False)
        seconds = time.perf_counter() - begun
        verdict = "exact (sampled)" if _right(operands, out) else "wrong"
        return Outcome((seconds,), verdict=verdict)

    return run


def blas(shape: Shape, dtype: type[np.floating]) -> Callable[[], Outcome]:
    """Prepare one thread of BLAS."""
    a, b = (digits.astype(dtype) for digits in _digits(shape))

    def run() -> Outcome:
        begun = time.perf_counter()
        a @ b
        return Outcome((time.perf_counter() - begun,))

    return run


def echo(comm: MPI.Comm) -> None:
    """Take messages of an announced size and count, answer the last; rank 1 alone."""
    if comm.rank != 1:
        return
    order = np.zeros(2, np.int64)
    comm.Recv(order, 0)
    buffer = np.empty(int(order[0]), np.uint8)
    for _ in range(int(order[1])):
        comm.Recv(buffer, 0)
    comm.Send(order, 0)


def stream(turns: Turns, size: int, count: int) -> Outcome:
    """Time messages of one size from rank 0 to rank 1."""
    order, buffer = np.array([size, count], np.int64), np.ones(size, np.uint8)
    turns.begin(_STREAM)
    turns.comm.Send(order, 1)
    begun = time.perf_counter()
    for _ in range(count):
        turns.comm.Send(buffer, 1)
    turns.comm.Recv(order, 1)
    return Outcome((time.perf_counter() - begun,))


def _copy(size: int, count: int) -> Outcome:
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    begun = time.perf_counter()
    for _ in range(count):
        np.copyto(target, source)
    return Outcome((time.perf_counter() - begun,))


def _kernel(site: Site, options: start.Options) -> None:
    task: Shape = (64, 128, 128) if options.quick else (2048, 4096, 4096)
    side = 128 if options.quick else 4096
    sides = [side // 4, side // 2, side]
    candidates = [task, *((n, k, n) for n in sides for k in sides)]
    fault = check_exactness(Int8Kernel())
    rates = {}
    for shape in candidates:
        run = raw(shape, not fault)
        seconds = min(run().seconds[0] for _ in range(2))
        rates[shape] = np.prod(shape, dtype=float) / seconds
    best = max(rates, key=lambda shape: rates[shape])
    case = Case(
        name="machine-kernel",
        note=f"One thread; a task is {_times(task)}; best of {len(candidates)} shapes: "
        f"{_times(best)}. Base: oneDNN called raw, at its best shape and at the task's."
        + (f" oneDNN is timed only: {fault}; a worker takes the next kernel." if fault else ""),
        bases=(_BEST, _RAW),
        contenders=(
            Contender(_BEST, best, raw(best, not fault)),
            Contender(_RAW, task, raw(task, not fault)),
            Contender("hpcrefine kernel", task, kernel(task)),
            Contender("BLAS float32", task, blas(task, np.float32)),
            Contender("BLAS float64", task, blas(task, np.float64)),
        ),
        repeats=options.runs(6),
    )
    measure(case, site, options.output)


def _messages(turns: Turns, site: Site, options: start.Options) -> None:
    total = 2**20 if options.quick else 2**28
    sizes = [2**10, 2**14] if options.quick else [2**12, 2**16, 2**20, 2**24, 2**26]

    def contender(size: int) -> Contender:
        count = max(1, min(total // size, 4096))
        name = f"messages of {size // 2**10} KiB"
        return Contender(name, (size, count, 1), lambda: stream(turns, size, count))

    largest, count = sizes[-1], total // sizes[-1]
    case = Case(
        name="machine-mpi",
        note="Bytes from rank 0 to rank 1 by raw mpi4py. Base: a copy in memory.",
        bases=("copy",),
        contenders=(
            Contender("copy", (largest, count, 1), lambda: _copy(largest, count)),
            *map(contender, sizes),
        ),
        counts="bytes",
        repeats=options.runs(6),
    )
    measure(case, site, options.output)


def _digits(shape: Shape) -> tuple[Array, Array]:
    generator = np.random.default_rng(0)
    rows, inner, columns = shape
    return (
        generator.integers(-128, 128, (rows, inner), dtype=np.int8),
        generator.integers(-128, 128, (inner, columns), dtype=np.int8),
    )


def _right(operands: tuple[Array, Array], out: Array) -> bool:
    """Check the last row of a product."""
    a, b = operands
    return np.array_equal(out[-1], a[-1].astype(np.float64) @ b.astype(np.float64))


def _times(shape: Shape) -> str:
    return " x ".join(map(str, shape))


if __name__ == "__main__":
    start.run("bench.machine", __doc__, RANKS, body)
