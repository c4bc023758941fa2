"""Operands: their defaults, and what they refuse to be."""

import pytest
from pydantic import ValidationError

from hpcrefine.job import FileOperand, RandomOperand


def test_random_defaults():
    assert RandomOperand(random="integers", shape=(1, 1), low=0, high=2).element_type == "int64"
    uniform = RandomOperand(random="uniform", shape=(1, 1))
    assert (uniform.element_type, uniform.limits) == ("float64", (0.0, 1.0))


@pytest.mark.parametrize("rows", [(-1, 2), (2, 2), (3, 2), (0,), (0, 1, 2), (0.0, 1.0)])
def test_rows_ascend(rows):
    with pytest.raises(ValidationError, match="rows"):
        FileOperand(file="x.npy", rows=rows)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (2, 2**31), (-1, 2), (2,), (2, 2, 2)])
def test_shapes_hold_something(shape):
    with pytest.raises(ValidationError, match="shape"):
        RandomOperand(random="normal", shape=shape)
    assert RandomOperand(random="normal", shape=(1, 2**31 - 1)).shape == (1, 2**31 - 1)
