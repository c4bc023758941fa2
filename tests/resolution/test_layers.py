"""Layers: a partition of the mini-jobs, released as growing staircases."""

import pytest

from hpcrefine.errors import InputError
from hpcrefine.resolution.layers import LAYERINGS, layering, significances

names = pytest.mark.parametrize("name", ["antidiagonal", "product", "square", "whole"])
widths = pytest.mark.parametrize("digits", range(1, 8))


@names
@widths
def test_layers_partition_what_is_kept_and_grow_as_staircases(name, digits):
    for truncate in (None, *range(2 * digits + 1)):
        layers = layering(name, digits, truncate)
        highest = 2 * digits if truncate is None else truncate
        cells = {(i, j) for i in range(digits) for j in range(digits) if i + j <= highest}
        released = [cell for layer in layers for cell in layer.minijobs]
        assert len(released) == len(set(released))
        assert set(released) == cells
        assert [layer.index for layer in layers] == list(range(len(layers)))
        done = set()
        for layer in layers:
            assert layer.minijobs
            done |= set(layer.minijobs)
            assert all((i - 1, j) in done for i, j in done if i)
            assert all((i, j - 1) in done for i, j in done if j)
            assert layer.share == len(done) / digits**2
        assert (layers[-1].share == 1) == (highest >= 2 * digits - 2)


@widths
def test_counts_of_the_sources(digits):
    def counts(name):
        return [len(layer.minijobs) for layer in layering(name, digits)]

    assert counts("antidiagonal") == [*range(1, digits + 1), *range(digits - 1, 0, -1)]
    assert counts("product") == [1] * digits**2
    assert counts("square") == [2 * r + 1 for r in range(digits)]
    assert counts("whole") == [digits**2]


def test_contents_of_the_sources():
    def cells(name, truncate=None):
        return [set(layer.minijobs) for layer in layering(name, 3, truncate)]

    assert cells("antidiagonal")[2] == {(0, 2), (1, 1), (2, 0)}
    assert cells("square")[1] == {(0, 1), (1, 0), (1, 1)}
    assert cells("square", 2)[2] == {(0, 2), (2, 0)}
    in_order = [i + j for layer in layering("product", 3) for i, j in layer.minijobs]
    assert in_order == sorted(in_order)


@names
@widths
def test_minijobs_are_computed_by_significance(name, digits):
    for layer in layering(name, digits):
        order = [i + j for i, j in layer.minijobs]
        assert order == sorted(order)
        assert list(significances(layer.minijobs)) == sorted(set(order))


def test_errors_name_what_is_known():
    assert set(LAYERINGS) == {"antidiagonal", "product", "square", "whole"}
    with pytest.raises(InputError, match="found 'diagonal', expected one of antidiagonal, "):
        layering("diagonal", 2)
    with pytest.raises(InputError, match="truncate: found -1, expected 0 or more"):
        layering("square", 2, -1)
