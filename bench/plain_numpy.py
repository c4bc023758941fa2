"""The layered product against plain ``A @ B`` of NumPy with all cores.

Compared are the times to each resolution of ``Pool.matmul`` (quantising, sending, multiplying,
collecting and combining all counted) and one float64 call of NumPy's BLAS on rank 0, threaded over
all its cores while the workers sleep. Both multiply the same matrices, take turns in random order
in one run, and start from operands in memory. OpenBLAS runs its AVX-512 kernels where the CPU has
them; its rank-0 threads are set by threadpoolctl since worker ranks keep one each.

    mpiexec --oversubscribe -n 3 python -m bench.plain_numpy [--size 4096] [--repeats 11]
"""

import argparse
import time

from hpcrefine import launch

launch.prepare_process()

import numpy as np  # noqa: E402
from threadpoolctl import threadpool_info, threadpool_limits  # noqa: E402

import hpcrefine  # noqa: E402
from hpcrefine.report.statistics import Summary  # noqa: E402


def main() -> None:
    """Measure and print a table of medians, intervals and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--digits", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=11)
    options = parser.parse_args()
    with hpcrefine.Pool() as pool:
        if pool:
            measure(pool, options)


def measure(pool: hpcrefine.Pool, options: argparse.Namespace) -> None:
    """Interleave both variants and print what came out."""
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, options.size, options.size))
    cores = launch.available_cores()
    times: dict[str, list[float]] = {}
    exact = a @ b
    for repeat in range(-1, options.repeats):  # -1 warms up
        for variant in generator.permutation(["plain", "layered"]):
            if variant == "plain":
                found = {"numpy": plain(a, b, cores)}
            else:
                found = layered(pool, a, b, options, exact)
            if repeat >= 0:
                for name, seconds in found.items():
                    times.setdefault(name, []).append(seconds)
    blas = next(info for info in threadpool_info() if info["user_api"] == "blas")
    base = Summary.of(np.array(times["numpy"])).median
    print(f"{options.size}^3 float64, {options.digits} x 8 bits, {pool.workers} workers")
    print(f"base: numpy on {cores} threads, {blas['architecture']}, {base:.3f} s")
    for name in sorted(times):
        summary = Summary.of(np.array(times[name]))
        print(
            f"{name:12s} median {summary.median:.3f} s  95 % interval {summary.low:.3f} .. "
            f"{summary.high:.3f}  ratio to base {summary.median / base:.2f}"
        )


def plain(a: np.ndarray, b: np.ndarray, cores: int) -> float:
    """Time one float64 product on all cores."""
    with threadpool_limits(cores, user_api="blas"):
        start = time.perf_counter()
        a @ b
        return time.perf_counter() - start


def layered(
    pool: hpcrefine.Pool,
    a: np.ndarray,
    b: np.ndarray,
    options: argparse.Namespace,
    exact: np.ndarray,
) -> dict[str, float]:
    """Time each resolution; check each against its bound."""
    resolutions = list(pool.matmul(a, b, digits=options.digits, tasks=options.tasks))
    for r in resolutions:
        error = float(np.abs(r.value - exact).max())
        if error > r.error_bound:
            raise SystemExit(f"layer {r.layer}: error {error} above its bound {r.error_bound}")
    return {f"layer {r.layer}": r.seconds for r in resolutions}


if __name__ == "__main__":
    main()
