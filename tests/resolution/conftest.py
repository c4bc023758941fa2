"""Exact arithmetic, real matrices and resolutions for the tests of the mathematics.

All fixtures are functions, made once a session, so that hypothesis may use them.
"""

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpcrefine.resolution.layers import significances
from hpcrefine.resolution.refine import Refiner

GRID = 1800  # every float64, and 2**-490 of every unit of a digit, is a multiple of 2**-GRID
DTYPES = ("f8", "f4", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
}


def on_grid(array):
    """Entries as Python integers in units of 2**-GRID, without any rounding."""
    ratios = (x.as_integer_ratio() for x in np.asarray(array).ravel().tolist())
    whole = np.empty(np.size(array), object)
    whole[:] = [above << (GRID + 1 - below.bit_length()) for above, below in ratios]
    return whole.reshape(np.shape(array))


def shift_up(integers, exponents):
    """Python integers ``integers * 2**exponents`` in units of 2**-GRID."""
    whole, powers = np.broadcast_arrays(integers, exponents)
    out = np.empty(whole.size, object)
    out[:] = [int(x) << (int(e) + GRID) for x, e in zip(whole.flat, powers.flat, strict=True)]
    return out.reshape(whole.shape)


def scaled_normal(seed, shape, spread=100, dtype="f8"):
    """Normal entries whose rows and columns differ by factors of up to 4**spread."""
    generator = np.random.default_rng(seed)
    rows, columns = (generator.uniform(-spread, spread, n).round() / 2 for n in shape)
    return (generator.standard_normal(shape) * 2.0 ** (rows[:, None] + columns)).astype(dtype)


def any_matrices(dtypes=DTYPES, max_side=5, shape=None):
    """Any finite entries of any type, and normal ones with wild scales, in any memory layout."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=max_side)

    def fill(name, size):
        dtype = np.dtype(name)
        finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
        entries = hnp.arrays(
            dtype, size, elements=hnp.from_dtype(dtype, **finite), fill=st.nothing()
        )
        if name != "f8":
            return entries
        return entries | st.builds(scaled_normal, st.integers(0, 2**32), st.just(size))

    def laid_out(size):
        filled = st.sampled_from(dtypes).flatmap(lambda name: fill(name, size))
        return st.builds(lambda x, layout: LAYOUTS[layout](x), filled, st.sampled_from([*LAYOUTS]))

    return laid_out(shape) if shape else shapes.flatmap(laid_out)


def all_resolutions(a, b, layers):
    """The resolution after each layer, from exact integer sums through the Refiner."""
    refiner, value = Refiner.of(a, b), None
    left, right = (x.planes.astype(np.float64) for x in (a, b))  # their sums stay below 2**53
    for layer in layers:
        groups = significances(layer.minijobs)
        sums = [
            sum((left[i] @ right[j]).astype(np.int64) for i, j in layer.minijobs if i + j == group)
            for group in groups
        ]
        previous, value = value, np.empty((a.shape[0], b.shape[1]))
        refiner.add(slice(0, a.shape[0]), np.stack(sums), groups, previous, value)
        yield value


@pytest.fixture(scope="session")
def exact():
    return on_grid


@pytest.fixture(scope="session")
def times_power():
    return shift_up


@pytest.fixture(scope="session")
def matrices():
    return any_matrices


@pytest.fixture(scope="session")
def scaled():
    return scaled_normal


@pytest.fixture(scope="session")
def layouts():
    return LAYOUTS


@pytest.fixture(scope="session")
def resolutions():
    return all_resolutions
