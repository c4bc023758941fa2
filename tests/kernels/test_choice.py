"""Choice: what multiplies wrongly here is passed over, and the reason is told."""

import ctypes.util
import sys

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.kernels import KERNELS, Peaks, check_exactness, choice, choose_kernel
from hpcrefine.kernels.blas import Float32Kernel
from hpcrefine.kernels.int8 import LIBRARY_VARIABLE


class Saturating(Float32Kernel):
    """Adds pairs of products in saturating 16 bits, as int8 kernels do where VNNI is missing."""

    name = "saturating"

    def product(self, a, b):
        if a.shape[1] % 2:
            a, b = np.pad(a, ((0, 0), (0, 1))), np.pad(b, ((0, 1), (0, 0)))
        pairs = a[:, 0::2, None] * b[0::2] + a[:, 1::2, None] * b[1::2]
        return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1)


class Forgetful(Float32Kernel):
    """Overwrites where it should add."""

    name = "forgetful"

    def multiply(self, a, b, out, *, peak, accumulate):
        super().multiply(a, b, out, peak=peak, accumulate=False)


class NoVector(Float32Kernel):
    """Wrong for a single row only."""

    name = "novector"

    def product(self, a, b):
        return super().product(a, b) + (a.shape[0] == 1)


BROKEN = [Saturating, Forgetful, NoVector]


def test_saturation_shows_only_on_the_largest_digits(digits):
    a, b = digits(0, (3, 100), "random"), digits(1, (100, 4), "highest")
    out, kernel = np.empty((3, 4), np.int32), Saturating()
    kernel.multiply(kernel.load(a), kernel.load(b), out, peak=2**14, accumulate=False)
    assert (out == a.astype(int) @ b.astype(int)).all()


@pytest.mark.parametrize("broken", BROKEN)
def test_check_finds_wrong_kernels(broken):
    reason = check_exactness(broken())
    assert reason.startswith(f"kernel {broken.name} is not exact here: found ")


def test_check_passes_exact_kernels(any_kernel):
    reason = check_exactness(any_kernel)
    # int8 alone depends on the processor; it may be inexact, but then it must not be chosen
    assert reason == "" or (any_kernel.name == "int8" and choose_kernel().kernel.name != "int8")


@pytest.mark.parametrize("left", [128, 255])
def test_seven_bits_on_the_right_are_exact_with_every_kernel(any_kernel, left):
    assert check_exactness(any_kernel, Peaks(left, 64)) == ""


def test_a_kernel_that_is_inexact_on_large_digits_alone_is_chosen_for_small_ones(monkeypatch):
    monkeypatch.setitem(KERNELS, "int8", lambda library: Saturating())
    assert choose_kernel().kernel.name == "float32"
    assert choose_kernel(peaks=Peaks(128, 64)).kernel.name == Saturating.name


@pytest.mark.parametrize("name", ["auto", "int8"])
@pytest.mark.parametrize("broken", BROKEN)
def test_inexact_kernel_is_replaced_with_a_warning(monkeypatch, broken, name):
    monkeypatch.setitem(KERNELS, "int8", lambda library: broken())
    found = choose_kernel(name)
    assert found.kernel.name == "float32"
    assert f"kernel {broken.name} is not exact here: found " in found.warning
    assert "expected" in found.warning


def test_all_reasons_are_told(monkeypatch):
    monkeypatch.setitem(KERNELS, "int8", lambda library: Saturating())
    monkeypatch.setitem(KERNELS, "float32", lambda library: Forgetful())
    found = choose_kernel()
    assert found.kernel.name == "float64"
    assert "saturating" in found.warning
    assert "forgetful" in found.warning
    monkeypatch.setitem(KERNELS, "float64", lambda library: NoVector())
    with pytest.raises(RuntimeError, match=r"no kernel multiplies exactly .*novector"):
        choose_kernel()


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_kernel_asked_for_is_given_without_warning(name):
    found = choose_kernel(name)
    assert (found.kernel.name, found.warning) == (name, "")


def test_automatic_choice_is_int8_or_says_why_not():
    found = choose_kernel()
    assert (found.kernel.name == "int8") == (found.warning == "")


def no_file(tmp_path):
    return tmp_path / "libdnnl.so.3"


def no_library(tmp_path):
    path = tmp_path / "libdnnl.so.3"
    path.write_text("not a library")
    return path


def another_library(tmp_path):
    return np._core._multiarray_umath.__file__


wrong_libraries = pytest.mark.parametrize("wrong", [no_file, no_library, another_library])


@wrong_libraries
@pytest.mark.parametrize("name", ["auto", "int8"])
def test_wrong_library_that_was_given_is_an_error(monkeypatch, tmp_path, wrong, name):
    monkeypatch.setenv(LIBRARY_VARIABLE, "/elsewhere/libdnnl.so.3")  # the argument goes first
    path = str(wrong(tmp_path))
    with pytest.raises(InputError, match=r"oneDNN library.*expected (libdnnl|dnnl_gemm)") as error:
        choose_kernel(name, path)
    assert path in str(error.value)


@wrong_libraries
def test_wrong_library_of_the_environment_is_a_warning_for_auto(monkeypatch, tmp_path, wrong):
    path = str(wrong(tmp_path))
    monkeypatch.setenv(LIBRARY_VARIABLE, path)
    with pytest.raises(InputError, match=r"oneDNN library.*expected (libdnnl|dnnl_gemm)") as error:
        choose_kernel("int8")
    assert path in str(error.value)
    found = choose_kernel()
    assert found.kernel.name == "float32"
    assert found.warning == str(error.value)


def test_missing_onednn_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(InputError, match="pip install") as error:
        choose_kernel("int8")
    assert choose_kernel().warning == str(error.value)


def test_unknown_name_is_refused():
    with pytest.raises(InputError, match="found 'int4', expected one of auto, int8, float32"):
        choose_kernel("int4")
    assert [*choice.KERNELS] == ["int8", "float32", "float64"]
