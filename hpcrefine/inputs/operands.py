"""The operands of a job: what they are, cheaply, and their entries.

An operand comes from a file (:mod:`hpcrefine.inputs.formats`) or is drawn at random; it is a matrix
of real numbers. Headers are read without the data, so that a job that cannot run says so at once.
NaN and infinity pass here: they are found at quantisation.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.experiment.turns import generators
from hpcrefine.inputs import feasibility, formats
from hpcrefine.inputs.formats import Matrix
from hpcrefine.job import FileOperand, Job, Operand, RandomOperand

_STREAMED = 0x57AE  # operands of streams are drawn apart from all others


def check(job: Job) -> tuple[int, int, int]:
    """Check a job's operands against each other, its codes and the memory, reading headers only.

    Returns
    -------
    n, k, p : int
        A is n x k and B is k x p.

    Raises
    ------
    InputError
        As :func:`shape`, or if :func:`hpcrefine.inputs.feasibility.check` refuses them.
    """
    n, k, p = shape(job)
    feasibility.check(job, n, k, p)
    return n, k, p


def shape(job: Job) -> tuple[int, int, int]:
    """Check a job's operands against each other, reading headers only.

    Returns
    -------
    n, k, p : int
        A is n x k and B is k x p.

    Raises
    ------
    InputError
        If an operand cannot be read, one is empty, or the shapes do not fit.
    """
    a, b = pair(job)
    with _named(job, "a"):
        n, k = describe(a, job.base)[0]
    rows, p = (k, n)
    if b != "a.T":
        with _named(job, "b"):
            rows, p = describe(b, job.base)[0]
    for key, sides in (("a", (n, k)), ("b", (rows, p))):
        if 0 in sides:
            place = job.where("operands", key)
            raise InputError(f"{place}: found {_by(sides)}, expected at least 1 x 1")
    if rows != k:
        raise InputError(
            f"{job.where('operands', 'b')}: found {_by((rows, p))} with a of {_by((n, k))}, "
            f"expected {k} rows"
        )
    if job.stream is not None and job.stream.columns is not None:
        if isinstance(b, RandomOperand):
            raise InputError(
                f"{job.where('stream', 'columns')}: found {job.stream.columns} with a random b, "
                "expected no such key: each job has a b of that shape"
            )
        if job.stream.columns > p:
            raise InputError(
                f"{job.where('stream', 'columns')}: found {job.stream.columns}, expected at most "
                f"{p}, the columns of b"
            )
        p = job.stream.columns
    return n, k, p


def load_pair(job: Job) -> tuple[Matrix, Matrix]:
    """Check a job's operands, then read them.

    Random operands come from the first two generators spawned from the job's seed.

    Returns
    -------
    A, B : ndarray
        Of shapes (n, k) and (k, p), with the element types of their sources. With ``b = "a.T"``
        B is a view of A.

    Raises
    ------
    InputError
        As :func:`check`, and if the data behind a header turn out broken.
    """
    check(job)
    a, b = pair(job)
    rng_a, rng_b = generators(job)[:2]
    with _named(job, "a"):
        A = read(a, job.base, rng_a)
    if b == "a.T":
        return A, A.T
    with _named(job, "b"):
        return A, read(b, job.base, rng_b)


def of_stream(job: Job, a: Matrix, b: Matrix, begin: int) -> Iterator[tuple[Matrix, Matrix]]:
    """Yield the operands of the jobs of a stream, without end.

    Random ones are drawn anew for each job, A only if it is new; the same job has the same ones
    whenever it is asked for. Of those from files all jobs have the same, or in turns the next
    ``columns`` of B.

    Parameters
    ----------
    job : Job
        With a stream.
    a, b : ndarray
        From :func:`load_pair`.
    begin : int
        Position of the first job that is wanted.
    """
    left, right = pair(job)
    stream = job.stream
    columns = b.shape[1] if stream is None or stream.columns is None else stream.columns
    for position in itertools.count(begin):
        rng_a, rng_b = np.random.default_rng((job.job.seed, _STREAMED, position)).spawn(2)
        mine = a
        if isinstance(left, RandomOperand) and stream is not None and stream.new == "both":
            mine = _draw(left, rng_a)
        if isinstance(right, RandomOperand):
            yield mine, _draw(right, rng_b)
        elif right == "a.T" and mine is not a:
            yield mine, mine.T
        else:
            first = position * columns % b.shape[1]
            window = range(first, first + columns)
            yield mine, b if columns == b.shape[1] else b.take(window, axis=1, mode="wrap")


def pair(job: Job) -> tuple[Operand, Operand | Literal["a.T"]]:
    """Return what a job's operands are.

    Raises
    ------
    InputError
        If there is a size only.
    """
    try:
        return job.operands.pair
    except InputError as error:
        raise InputError(f"{job.path}: {error}") from None


def describe(spec: Operand, base: Path) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Return shape and element type of an operand without reading its data.

    Parameters
    ----------
    spec : FileOperand or RandomOperand
        The operand as a job file describes it.
    base : Path
        Folder that a relative path starts from.

    Returns
    -------
    shape : (int, int)
        After ``rows`` and ``transpose``.
    dtype : dtype
        float64, float32 or an integer type, in native byte order.

    Raises
    ------
    InputError
        If the file is missing, broken, of an unknown format, or holds no real matrix.
    """
    if isinstance(spec, RandomOperand):
        return spec.shape, np.dtype(spec.element_type)
    (rows, columns), dtype = _of_file(spec, base / spec.file)
    return (columns, rows) if spec.transpose else (rows, columns), dtype


def read(spec: Operand, base: Path, rng: np.random.Generator) -> Matrix:
    """Read or draw an operand.

    Parameters
    ----------
    spec, base
        As for :func:`describe`.
    rng : Generator
        Where a random operand is drawn from; not used for files.

    Returns
    -------
    ndarray
        2-D, with the shape and dtype that :func:`describe` tells, C- or F-ordered as it comes.

    Raises
    ------
    InputError
        As :func:`describe`, and if the data are shorter than the header says.
    """
    if isinstance(spec, RandomOperand):
        return _draw(spec, rng)
    path = base / spec.file
    shape, dtype = _of_file(spec, path)
    if 0 in shape:
        M = np.empty(shape, dtype)
    else:
        M = formats.load(path, spec.dataset, slice(*(spec.rows or (0, shape[0]))), dtype)
    if spec.normalise == "rows":
        M = _normalised(M)
    return M.T if spec.transpose else M


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@contextmanager
def _named(job: Job, key: str) -> Iterator[None]:
    """Say in which job file and under which key a mistake was met."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{job.where('operands', key)}: {error}") from None


def _of_file(spec: FileOperand, path: Path) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Return the shape before ``transpose`` and the element type after ``normalise``."""
    shape, dtype = formats.describe(path, spec.dataset, spec.rows)
    if len(shape) != 2:
        raise InputError(
            f"{path}: found shape ({', '.join(map(str, shape))}), expected 2 dimensions"
        )
    return (shape[0], shape[1]), np.dtype(np.float64) if spec.normalise == "rows" else dtype


def _normalised(M: Matrix) -> NDArray[np.float64]:
    """Divide each row by its 2-norm; the power of two taken out first keeps squares in range."""
    M = M.astype(np.float64)
    with np.errstate(invalid="ignore"):
        peaks = np.abs(M).max(axis=1, initial=0, keepdims=True)
        M = np.ldexp(M, -np.frexp(np.where(np.isfinite(peaks), peaks, 1))[1])
        norms = np.sqrt(np.einsum("ij,ij->i", M, M))
        M /= np.where((norms == 0) | ~np.isfinite(norms), 1, norms)[:, None]
    return M


def _draw(spec: RandomOperand, rng: np.random.Generator) -> Matrix:
    dtype = np.dtype(spec.element_type)
    low, high = spec.limits
    if spec.random == "integers":
        drawn = np.dtype(np.int64) if dtype.kind == "f" else dtype
        M = rng.integers(int(low), int(high), spec.shape, dtype=drawn).astype(dtype, copy=False)
    elif spec.random == "uniform":
        M = rng.random(spec.shape, dtype=dtype)
        M *= high - low
        M += low
    else:
        M = rng.standard_normal(spec.shape, dtype=dtype)
    if spec.scale_spread:
        decades = np.linspace(-spec.scale_spread / 2, spec.scale_spread / 2, len(M))
        M *= (10.0 ** rng.permutation(decades)).astype(dtype)[:, None]
    return M
