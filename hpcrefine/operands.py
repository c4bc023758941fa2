"""The operands of a job: what they are, cheaply, and their entries.

An operand comes from a file (:mod:`hpcrefine.formats`) or is drawn at random; it is a matrix of
real numbers. Headers are read without the data, so that a job that cannot run says so at once. NaN
and infinity pass here: they are found at quantisation.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine import formats
from hpcrefine.errors import InputError
from hpcrefine.formats import Matrix
from hpcrefine.job import FileOperand, Job, Operand, RandomOperand
from hpcrefine.resolution.layers import layering, significances


def check(job: Job) -> tuple[int, int, int]:
    """Check a job's operands against each other, its code and the memory, reading headers only.

    Returns
    -------
    n, k, p : int
        A is n x k and B is k x p.

    Raises
    ------
    InputError
        If an operand cannot be read, one is empty, the shapes do not fit, there are more tasks
        than rows of A, or the master would need more memory than there is.
    """
    with _named(job, "a"):
        n, k = describe(job.operands.a, job.base)[0]
    rows, p = (k, n)
    if job.operands.b != "a.T":
        with _named(job, "b"):
            rows, p = describe(job.operands.b, job.base)[0]
    for key, shape in (("a", (n, k)), ("b", (rows, p))):
        if 0 in shape:
            place = job.where("operands", key)
            raise InputError(f"{place}: found {_by(shape)}, expected at least 1 x 1")
    if rows != k:
        raise InputError(
            f"{job.where('operands', 'b')}: found {_by((rows, p))} with a of {_by((n, k))}, "
            f"expected {k} rows"
        )
    if job.code.tasks > n:
        raise InputError(
            f"{job.where('code', 'tasks')}: found {job.code.tasks}, expected at most {n}: "
            "more tasks than rows of a"
        )
    needed, available = memory_needed(job, n, k, p), memory_available()
    if needed > available:
        raise InputError(
            f"{job.where('operands', 'a, b')}: found {_by((n, k))} times {_by((rows, p))}, which "
            f"needs about {needed / 2**30:.2f} GiB on the master, "
            f"expected at most the {available / 2**30:.2f} GiB available"
        )
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
    rng_a, rng_b = np.random.default_rng(job.job.seed).spawn(2)
    with _named(job, "a"):
        A = read(job.operands.a, job.base, rng_a)
    if job.operands.b == "a.T":
        return A, A.T
    with _named(job, "b"):
        return A, read(job.operands.b, job.base, rng_b)


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
    (rows, columns), dtype = _checked_header(spec, base / spec.file)
    if spec.rows is not None:
        rows = spec.rows[1] - spec.rows[0]
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
    shape, dtype = _checked_header(spec, path)
    rows = slice(*(spec.rows or (0, shape[0])))
    if 0 in shape:
        M = np.empty((rows.stop - rows.start, shape[1]), dtype)
    else:
        M = formats.load(path, spec.dataset, rows, dtype)
    if spec.normalise == "rows":
        M = _normalised(M)
    return M.T if spec.transpose else M


def memory_needed(job: Job, n: int, k: int, p: int) -> int:
    """Estimate the bytes that the master needs for the product of n x k and k x p.

    Both operands in float64 (one of them twice while it is placed) and cut into digit planes of
    one byte, an int32 receive buffer for each separate digit sum (with its coded surplus), each
    resolution and a one-shot result in float64, and for verification the true product and the
    exact sums, 8 bytes an entry, of all rows or of the eighth that is sampled.
    """
    layers = layering(job.resolution.layering, job.resolution.digits, job.resolution.truncate)
    minijobs = [layer.minijobs for layer in layers]
    sums = sum(len(one if job.code.unit == "minijob" else significances(one)) for one in minijobs)
    operands = (n * k + k * p) * (8 + job.resolution.digits) + 8 * max(n * k, k * p)
    received = math.ceil(sums * 4 * job.code.redundancy) * n * p
    results = 8 * (len(layers) + 1) * n * p
    work = sum(map(len, minijobs)) * n * k * p
    checked = {"full": n, "sampled": n // 8, "off": 0}.get(
        job.verify.exact, n if work <= job.verify.limit else n // 8
    )
    return operands + received + results + 8 * (1 + sums) * checked * p


def memory_available(system: Path = Path("/")) -> int:
    """Return the bytes of memory that new work may take here: all there is, where not known.

    The least of what the kernel counts as available and what is left below the limit of each
    control group (version 1 or 2) this process is in; ``system`` is the root of /proc and /sys.
    """
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines(system / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    return min([free, *_left_in_groups(system)])


def _left_in_groups(system: Path) -> Iterator[int]:
    """Yield limit minus use of this process's control groups, innermost first.

    No limit is the word max in version 2, which is passed over, and about 2**63 in version 1, which
    is never the least. Inside a container the groups' names may be those outside; then its own
    limit is the one at the mount.
    """
    mount = system / "sys/fs/cgroup"
    names = {"": "/", "memory": "/"}  # of version 2, and of version 1's memory controller
    for line in _lines(system / "proc/self/cgroup"):
        _, controllers, name = line.split(":", 2)
        names |= dict.fromkeys(names.keys() & controllers.split(","), name)
    for controller, limit, used, cached in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        top = mount / controller
        group = top / names[controller].lstrip("/")
        for folder in (group, *group.parents):
            limits, uses = _lines(folder / limit), _lines(folder / used)
            if limits and uses and limits[0] != "max":
                statistics = dict(line.split() for line in _lines(folder / "memory.stat"))
                kept = int(uses[0]) - int(statistics.get(cached, 0))  # a file cache gives way
                yield max(0, int(limits[0]) - kept)
            if folder == top:
                break


def _lines(path: Path) -> list[str]:
    """Return the lines of a file of the kernel's, none if it is not there."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@contextmanager
def _named(job: Job, key: str) -> Iterator[None]:
    """Say in which job file and under which key a mistake was met."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{job.where('operands', key)}: {error}") from None


def _checked_header(spec: FileOperand, path: Path) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Return the shape before ``rows`` and the element type after ``normalise``."""
    shape, stored = formats.header(path, spec.dataset)
    if stored.kind not in "biuf" or stored.itemsize > 8:
        raise InputError(f"{path}: dtype: found {stored}, expected real numbers of up to 64 bits")
    if len(shape) != 2:
        raise InputError(
            f"{path}: found shape ({', '.join(map(str, shape))}), expected 2 dimensions"
        )
    if spec.rows is not None and spec.rows[1] > shape[0]:
        raise InputError(f"{path}: rows: found {list(spec.rows)}, expected at most {shape[0]} rows")
    dtype = stored.newbyteorder("=")
    if spec.normalise == "rows":
        dtype = np.dtype(np.float64)
    elif dtype == np.float16:
        dtype = np.dtype(np.float32)
    elif dtype == np.bool_:
        dtype = np.dtype(np.uint8)
    return (shape[0], shape[1]), dtype


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
