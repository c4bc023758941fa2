"""Where the tests' records and studies go."""

import pytest

from tests.studies import write_record, write_study


@pytest.fixture
def record(tmp_path):
    """Write a record by name, see `write_record`."""
    return lambda name, times, **options: write_record(tmp_path / name, times, **options)


@pytest.fixture
def make_study(tmp_path):
    """Write a study's folder, see `write_study`."""
    return lambda points, name="sweep", **options: write_study(tmp_path / name, points, **options)
