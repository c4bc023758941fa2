"""The polynomial code's integer product, done as its authors do it.

Yu, Maddah-Ali, Avestimehr, "Polynomial Codes: an Optimal Design for High-Dimensional Coded Matrix
Multiplication", NIPS 2017, and their experiment (github.com/yu0215/Polynomial-Code): 8-bit
integers, A in m = 4 blocks of rows, B in n = 4 blocks of columns, N = mn + 1 = 17 workers, all in
int64 modulo 65537. The master encodes every operand for every worker; a worker multiplies its two
encoded blocks with NumPy's int64 ``@`` and reduces; any 16 results are interpolated. B is kept
transposed, as they have it: NumPy's integer product is 2.6 times faster so. Encoding and
decoding are one product with a small matrix each, which is no slower than the authors' loops; the
points are theirs: the 16 powers of 64, a 16th root of unity, and 3.

Against it the same product of the same integers by hpcrefine, one 8-bit digit, coded too: 16 tasks
of which one more makes 17 (``mds``), on the same 17 workers. Both are checked bit for bit, and both
start and end in the master's memory. The authors' clock starts when all is encoded; both clocks are
given. Ratios are to the whole, encoding counted, as hpcrefine's times are.

    python -m bench.polynomial_code
"""

import time

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from bench import start
from bench.case import Case, Contender, Outcome
from bench.harness import Site, measure
from bench.turns import Turns, lead
from hpcrefine.cluster.backoff import Backoff, wait_all
from hpcrefine.launch import under_mpi

PRIME = 65537
_SIZE, _SHAPE, _BLOCK, _RESULT = range(4)  # tags
Integers = NDArray[np.int64]


def points(parts: int) -> list[int]:
    """Return the ``parts**2 + 1`` points: powers of a root of unity, and 3."""
    count = parts * parts
    root = pow(64, 16 // count, PRIME)
    return [pow(root, i, PRIME) for i in range(count)] + [3]


def vandermonde(at: list[int], exponents: range) -> Integers:
    """Return powers modulo the prime."""
    return np.array([[pow(x, e, PRIME) for e in exponents] for x in at], np.int64)


def inverse(matrix: Integers) -> Integers:
    """Invert a matrix modulo the prime, by Gauss and Jordan."""
    count = len(matrix)
    work = np.hstack([matrix, np.eye(count, dtype=np.int64)])
    for column in range(count):
        pivot = column + int(np.flatnonzero(work[column:, column])[0])
        work[[column, pivot]] = work[[pivot, column]]
        work[column] = work[column] * pow(int(work[column, column]), -1, PRIME) % PRIME
        factors = work[:, column].copy()
        factors[column] = 0
        work = (work - factors[:, None] * work[column]) % PRIME
    return work[:, count:]


def encode(a: Integers, turned: Integers, parts: int) -> tuple[Integers, Integers]:
    """Encode A and the transpose of B for all workers, (workers, rows, k) each."""
    left, right = (matrix.reshape(parts, -1, matrix.shape[1]) for matrix in (a, turned))
    at, count = points(parts), parts * parts
    return (
        np.tensordot(vandermonde(at, range(parts)), left, 1) % PRIME,
        np.tensordot(vandermonde(at, range(0, count, parts)), right, 1) % PRIME,
    )


def decode(results: list[Integers], workers: list[int], parts: int) -> Integers:
    """Interpolate the product, modulo the prime, from the results of some workers."""
    at = [points(parts)[worker] for worker in workers]
    solve = inverse(vandermonde(at, range(parts * parts)))
    blocks = np.tensordot(solve, np.stack(results), 1) % PRIME  # block i + parts * j
    height, width = results[0].shape
    grid = blocks.reshape(parts, parts, height, width)
    return grid.transpose(1, 2, 0, 3).reshape(parts * height, parts * width)


def serve(comm: MPI.Comm) -> None:
    """Multiply one pair of encoded blocks."""
    shape = np.zeros(3, np.int64)
    wait_all([comm.Irecv(shape, 0, _SHAPE)])
    rows, inner, columns = map(int, shape)
    a, turned = np.empty((rows, inner), np.int64), np.empty((columns, inner), np.int64)
    wait_all([comm.Irecv(a, 0, _BLOCK), comm.Irecv(turned, 0, _BLOCK)])
    wait_all([comm.Isend((a @ turned.T) % PRIME, 0, _RESULT)])


def multiply(
    turns: Turns, a: Integers, turned: Integers, parts: int
) -> tuple[Integers, float, float]:
    """Run once; return product mod the prime, seconds without and with encoding."""
    turns.begin("polynomial")
    comm, count = turns.comm, parts * parts
    begun = time.perf_counter()
    left, right = encode(a, turned, parts)
    encoded = time.perf_counter()
    shape = np.array([*left.shape[1:], right.shape[1]], np.int64)
    results = [np.empty((left.shape[1], right.shape[1]), np.int64) for _ in left]
    sends, answers = [], []
    for worker in range(count + 1):
        rank = worker + 1
        sends.append(comm.Isend(shape, rank, _SHAPE))
        sends.append(comm.Isend(left[worker], rank, _BLOCK))
        sends.append(comm.Isend(right[worker], rank, _BLOCK))
        answers.append(comm.Irecv(results[worker], rank, _RESULT))
    fastest: list[int] = []

    def enough() -> bool:
        fastest.extend(MPI.Request.Testsome(answers) or [])
        return len(fastest) >= count

    Backoff().until(enough)
    used = sorted(fastest[:count])
    value = decode([results[worker] for worker in used], used, parts)
    end = time.perf_counter()
    wait_all([*sends, *(request for request in answers if request != MPI.REQUEST_NULL)])
    return value, end - encoded, end - begun


def body(options: start.Options) -> None:
    """Run the comparison."""
    turns = Turns({"polynomial": serve})
    lead(turns, lambda: _measure(turns, options))


def _measure(turns: Turns, options: start.Options) -> None:
    parts, size = _parameters(options)
    generator = np.random.default_rng(0)
    a, b = generator.integers(-127, 128, (2, size, size))
    turned = np.ascontiguousarray(b.T)
    exact = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)  # below 2**53
    workers = parts * parts + 1

    def polynomial() -> Outcome:
        value, authors, whole = multiply(turns, a, turned, parts)
        right = np.array_equal(value, exact % PRIME)
        return Outcome((authors, whole), verdict="exact" if right else "wrong")

    def refine() -> Outcome:
        with turns.pool() as pool:
            (resolution,) = pool.matmul(
                a, b, digits=1, code="mds", tasks=workers - 1, redundancy=workers / (workers - 1)
            )
            right = np.array_equal(resolution.value, exact)
        return Outcome((resolution.seconds,), verdict="exact" if right else "wrong")

    shape = (size, size, size)
    case = Case(
        name="polynomial-code",
        note=f"A @ B, {size} x {size} each, 8-bit integers, {workers} workers, any {workers - 1} "
        "suffice. Base: the polynomial code, int64 modulo 65537.",
        bases=("polynomial code",),
        contenders=(
            Contender("polynomial code", shape, polynomial, ("authors' clock", "with encoding")),
            Contender("hpcrefine mds", shape, refine),
        ),
        repeats=options.runs(6),
    )
    with turns.pool() as pool:
        site = Site.of(pool)
    measure(case, site, options.output)


def _parameters(options: start.Options) -> tuple[int, int]:
    return (2, 64) if options.quick else (4, 2000)


def main() -> None:
    """Start as many ranks as the code has workers, and the master."""
    parts, _ = _parameters(start.parse(__doc__)) if not under_mpi() else (0, 0)
    start.run("bench.polynomial_code", __doc__, parts * parts + 2, body)


if __name__ == "__main__":
    main()
