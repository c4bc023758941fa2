"""Samples of a network: what is read from files, and what each mistake is answered with."""

import gzip

import h5py
import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.inference.files import save_network
from hpcrefine.inference.network import Network, Node
from hpcrefine.inputs import samples
from hpcrefine.jobfile import load

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 3, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0, 1, 2, 0], np.uint8)


def network(classes=3, input_shape=(12,)):
    dense = Node(
        *("scores", "dense", ("flat",)),
        weights={
            "weight": np.ones((classes, 12), np.float32),
            "bias": np.zeros(classes, np.float32),
        },
    )
    return Network(input_shape, (Node("flat", "flatten", ("input",)), dense))


TINY = network()


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Write a network, images and labels; load a job with overrides of its keys."""
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", IMAGES)
    np.save("labels.npy", LABELS)

    def loaded(*overrides, network=TINY):
        save_network(network, tmp_path / "net.npz")
        files = "images = {file = 'images.npy'}\nlabels = {file = 'labels.npy'}\n"
        (tmp_path / "x.toml").write_text(
            f"[job]\nkind = 'inference'\n[network]\nfile = 'net.npz'\n[adaptive]\nrule = 'none'\n"
            f"[samples]\n{files}[calibration]\n{files}"
        )
        return load("x.toml", overrides)

    return loaded


def read(job, split="samples"):
    return samples.read(job, split, samples.read_network(job))


def images(name, **keys):
    more = "".join(f", {key} = {value}" for key, value in keys.items())
    return f"samples.images={{file = '{name}'{more}}}"


def labels(name, **keys):
    return images(name, **keys).replace("images", "labels", 1)


@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 3, 4)])
def test_images_take_the_network_s_shape(job, shape):
    flat = shape if len(shape) != 2 else (12,)
    given = job(network=network(input_shape=flat))
    np.save("images.npy", IMAGES.reshape(9, *shape))
    found = read(given)
    assert samples.check(given) == 9
    assert found.images.dtype == np.uint8
    assert np.array_equal(found.images, IMAGES.reshape(9, *flat))
    assert found.images.flags.c_contiguous
    assert found.labels.dtype == np.int64
    assert np.array_equal(found.labels, LABELS)


def idx(array):
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes((0, 0, 8, array.ndim)) + lengths + array.tobytes()


def test_every_format(job, tmp_path):
    (tmp_path / "i.idx.gz").write_bytes(gzip.compress(idx(IMAGES)))
    (tmp_path / "l.idx").write_bytes(idx(LABELS))
    np.savez("both.npz", x=IMAGES, y=LABELS)
    with h5py.File("both.h5", "w") as file:
        file["x"], file["y"] = IMAGES, LABELS
    for first, second in (
        (images("i.idx.gz"), labels("l.idx")),
        *((images(f, dataset="'x'"), labels(f, dataset="'y'")) for f in ("both.npz", "both.h5")),
    ):
        for shape in ((12,), (1, 3, 4)):
            given = job(first, second, network=network(input_shape=shape))
            assert samples.check(given) == 9
            found = read(given)
            assert np.array_equal(found.images, IMAGES.reshape(9, *shape))
            assert found.images.dtype == np.uint8
            assert np.array_equal(found.labels, LABELS)


def test_rows(job):
    given = job(images("images.npy", rows="[2, 6]"), labels("labels.npy", rows="[2, 6]"))
    assert samples.check(given) == 4
    assert np.array_equal(read(given).images, IMAGES[2:6].reshape(4, 12))
    assert read(given).labels.tolist() == [2, 2, 1, 0]
    assert len(read(given, "calibration").images) == 9


def test_even_labels_are_ones(job):
    given = job("samples.classes=even", network=network(classes=1))
    expected = [1, 0, 1, 1, 0, 1, 0, 1, 1]
    assert read(given).labels.tolist() == expected
    assert read(given, "calibration").labels.tolist() == expected


def test_without_labels(job, tmp_path):
    given = job()
    text = (tmp_path / "x.toml").read_text().replace("labels = ", "# ")
    (tmp_path / "x.toml").write_text(text)
    given = load("x.toml")
    assert samples.check(given) == 9
    assert read(given).labels is None


def mistake(job, call=samples.check):
    with pytest.raises(InputError) as caught:
        call(job)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("x.toml: [")
    return message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES[:, :, :3], "images of shape (9, 3, 3), expected (samples, 12)"),
        (IMAGES.reshape(-1), "images of shape (108,), expected (samples, 12)"),
        (np.empty((0, 12)), "found no images, expected at least one"),
        (IMAGES.astype(complex), "found complex128, expected real numbers"),
        (IMAGES.astype(object), "images.npy"),
        (np.float32(3), "images of shape (), expected (samples, 12)"),
    ],
)
def test_wrong_images(job, array, message):
    given = job()
    np.save("images.npy", array, allow_pickle=True)
    found = mistake(given)
    assert message in found
    assert "x.toml: [samples] images: images.npy" in found


def test_axes_in_another_order_are_no_samples_of_the_network(job):
    given = job(network=network(input_shape=(3, 2, 2)))
    np.save("images.npy", IMAGES.reshape(9, 2, 2, 3))
    assert "shape (9, 2, 2, 3), expected (samples, 3, 2, 2)" in mistake(given)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (LABELS[:8], "found 8 labels, expected 9, one for each image"),
        (LABELS.astype(float), "found labels of type float64, expected integers"),
        (np.eye(9, dtype=int), "found labels of shape (9, 9), expected (samples,)"),
        (np.int64(3), "found labels of shape (), expected (samples,)"),
    ],
)
def test_wrong_labels(job, array, message):
    given = job()
    np.save("labels.npy", array)
    found = mistake(given)
    assert message in found
    assert "x.toml: [samples] labels: labels.npy" in found


@pytest.mark.parametrize("wrong", [3, -1])
def test_labels_beyond_the_classes(job, wrong):
    given = job()
    np.save("labels.npy", np.where(np.arange(9) == 4, wrong, LABELS.astype(int)))
    assert f"found label {wrong} at 4, expected 0..2, the classes" in mistake(given, read)


def test_labels_of_a_binary_decision(job):
    given = job(network=network(classes=1))
    assert "found label 2 at 2, expected 0..1" in mistake(given, read)


def test_missing_files_are_named(job):
    for key in ("samples.images", "samples.labels", "calibration.images", "calibration.labels"):
        section, name = key.split(".")
        found = mistake(job(f"{key}={{file = 'none.npy'}}"))
        assert f"[{section}] {name}: none.npy: found no such file" in found
    found = mistake(job("network.file=none.npz"))
    assert "[network] file: none.npz: found no such file" in found


def test_images_that_are_no_numbers(job):
    given = job()
    broken = IMAGES.astype(np.float32)
    broken[5, 1, 1] = np.nan
    np.save("images.npy", broken)
    found = mistake(given, read)
    assert "[samples] images: images.npy: found NaN or infinity, expected finite numbers" in found


def test_settings_that_do_not_suit_the_network(job):
    found = mistake(job("samples.classes=even"))
    assert '[samples] classes: found "even" with a network of 3 classes' in found
    found = mistake(job("adaptive.rule=interval"))
    assert '[adaptive] rule: found "interval" with a network of 3 classes' in found
    entry = "{name = 'p', digits = 'truncate', digit_bits = 1, leading = [0, 1]}"
    found = mistake(job(f"compare.settings=[{entry}]"))
    assert "[compare] settings[0].leading: found 2 exponents, expected 1, one for each" in found


def test_a_calibration_split_that_is_too_small(job):
    found = mistake(job("adaptive.rule=calibrated", "adaptive.epsilon=0.2"))
    assert found == (
        "x.toml: [calibration] images: found 9 samples, expected at least 14 for [adaptive] "
        "epsilon = 0.2 with 95 % confidence"
    )
    assert samples.check(job("adaptive.rule=calibrated", "adaptive.epsilon=0.3")) == 9
