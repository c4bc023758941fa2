"""Whether operands of known shapes can be multiplied as a job says: its codes, and the memory."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpcrefine.codes import Code
from hpcrefine.codes.base import growth
from hpcrefine.codes.freivalds import Freivalds
from hpcrefine.errors import InputError
from hpcrefine.job import CodeSection, Job
from hpcrefine.kernels import result_dtype
from hpcrefine.resolution.layers import Layer, layering, significances

_LARGEST = 2**63 - 1


def check(job: Job, n: int, k: int, p: int) -> None:
    """Check each code of a job, and the memory, for the product of n x k and k x p.

    Raises
    ------
    InputError
        If a code makes more parts of a row or column than these have entries, or results that
        outgrow 64 bits (or what Freivalds' check takes), or if the master would need more memory
        than there is.
    """
    for index, (_, section) in enumerate(job.codes):
        code = section.code()
        lengths = {"rows of a": n, "columns of a": k, "columns of b": p}
        for (what, length), parts in zip(lengths.items(), code.grid, strict=True):
            if parts > length:
                raise InputError(
                    f"{job.where_code(index, 'tasks')}: found {section.tasks}, which cuts the "
                    f"{length} {what} into {parts} parts, expected at most {length} parts"
                )
        largest = max(_peaks(job, section, code, k))
        if largest > _LARGEST:
            raise InputError(
                f"{job.where_code(index, 'tasks')}: found {section.tasks} with results of up to "
                f"{largest:.1e}, expected at most {_LARGEST:.1e}: fewer tasks or digit_bits make "
                "them smaller"
            )
    needed, available = memory_needed(job, n, k, p), memory_available()
    if needed > available:
        raise InputError(
            f"{job.where('operands', 'a, b')}: found {n} x {k} times {k} x {p}, which needs about "
            f"{needed / 2**30:.2f} GiB on the master, expected at most the "
            f"{available / 2**30:.2f} GiB available"
        )
    for index, (_, section) in enumerate(job.codes):
        if section.verify == "freivalds":
            _check_verification(job, index, section.code(), (n, k, p))


def _check_verification(job: Job, index: int, code: Code, shape: tuple[int, int, int]) -> None:
    """Let Freivalds' check refuse the sizes; planes of one zero, seen everywhere, will do."""
    n, k, p = shape
    digits, bits = job.resolution.digits, job.resolution.digit_bits
    left, right = (np.broadcast_to(np.int8(0), (digits, *sides)) for sides in ((n, k), (k, p)))
    try:
        Freivalds(code, left, right, bits)
    except InputError as error:
        complaint = str(error).partition(": ")[2]
        raise InputError(f"{job.where_code(index, 'verify')}: {complaint}") from None


def memory_needed(job: Job, n: int, k: int, p: int) -> int:
    """Estimate the bytes that the master needs for the product of n x k and k x p.

    Both operands in float64 (one of them twice while it is placed) and cut into digit planes of
    one byte, a receive buffer for each separate digit sum of each coded task (of the code that
    needs most), each resolution and a one-shot result in float64, and for verification the true
    product and the exact sums, 8 bytes an entry, of all rows or of the eighth that is sampled.
    """
    layers = _layers(job)
    operands = (n * k + k * p) * (8 + job.resolution.digits) + 8 * max(n * k, k * p)
    results = 8 * (len(layers) + 1) * n * p
    work = sum(len(layer.minijobs) for layer in layers) * n * k * p
    checked = {"full": n, "sampled": n // 8, "off": 0}.get(
        job.verify.exact, n if work <= job.verify.limit else n // 8
    )
    most = 0
    for _, section in job.codes:
        code = section.code()
        sums = sum(len(matrices) for matrices in map(significances, _units(section, layers)))
        widths = sum(result_dtype(1, 1, peak).itemsize for peak in _peaks(job, section, code, k))
        received = math.ceil(sums * widths * n * p / code.outputs)
        most = max(most, received + 8 * (1 + sums) * checked * p)
    return operands + results + most


def _layers(job: Job) -> tuple[Layer, ...]:
    return layering(job.resolution.layering, job.resolution.digits, job.resolution.truncate)


def _units(section: CodeSection, layers: tuple[Layer, ...]) -> list[tuple[tuple[int, int], ...]]:
    """Return the digit products of what is cut into tasks, layer by layer."""
    if section.unit == "layer":
        return [layer.minijobs for layer in layers]
    return [(cell,) for layer in layers for cell in layer.minijobs]


def _peaks(job: Job, section: CodeSection, code: Code, k: int) -> list[int]:
    """Return for each coded task the largest magnitude that an entry of a result can have."""
    together = max(
        sum(i + j == significance for i, j in unit)
        for unit in _units(section, _layers(job))
        for significance in significances(unit)
    )
    products = together * math.ceil(k / code.grid.inner) << 2 * (job.resolution.digit_bits - 1)
    return [
        growth(code.left(task)) * growth(code.right(task)) * products for task in range(code.coded)
    ]


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
