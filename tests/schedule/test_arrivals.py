"""Arrival times: drawn, equally spaced, or from a file."""

import numpy as np
import pytest
from scipy.stats import kstest

from hpcrefine.errors import InputError
from hpcrefine.schedule.arrivals import arrival_times, read_arrivals


def test_poisson():
    times = arrival_times("poisson", 5000, 4.0, np.random.default_rng(0))
    assert kstest(np.diff(times, prepend=0.0) * 4, "expon").pvalue > 1e-3
    again = arrival_times("poisson", 10, 4.0, np.random.default_rng(0))
    assert np.array_equal(again, times[:10])


def test_periodic():
    times = arrival_times("periodic", 4, 0.5, np.random.default_rng(0))
    assert times.tolist() == [0, 2, 4, 6]


def test_a_file(tmp_path):
    path = tmp_path / "times.txt"
    path.write_text("# seconds\n0\n\n1.5 # the second\n1.5\n2e1\n")
    assert read_arrivals(path).tolist() == [0, 1.5, 1.5, 20]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n0.5\n", "line 2: found 0.5 after 1, expected ascending times"),
        ("-1\n", "line 1: found -1, expected seconds >= 0"),
        ("0\nsoon\n", "line 2: found soon, expected seconds >= 0"),
        ("nan\n", "line 1: found nan, expected seconds >= 0"),
        ("inf\n", "line 1: found inf, expected seconds >= 0"),
        ("# none\n", "found no times, expected one a line"),
    ],
)
def test_files_that_are_none(tmp_path, text, message):
    path = tmp_path / "times.txt"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_arrivals(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="No such file or directory, expected a file of arrival"):
        read_arrivals(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="found no text, expected a file of arrival times"):
        read_arrivals(tmp_path / "binary")
