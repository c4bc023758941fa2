import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.inference.files import load_network, save_network
from hpcrefine.inference.network import Network, Node


def small() -> Network:
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    padding = (1, 2, 0, 1)
    nodes = (
        Node(
            "images/1",
            "conv",
            ("input",),
            {"stride": (2, 1), "padding": padding, "groups": 2},
            {"weight": normal(4, 1, 3, 3), "bias": normal(4)},
        ),
        Node("p", "prelu", ("images/1",), weights={"weight": normal(4)}),
        Node("clip", "clip", ("p",), {"low": -1.0, "high": float("inf")}),
        Node("flatten", "flatten", ("clip",)),
        Node("größer", "dense", ("flatten",), weights={"weight": normal(3, 84), "bias": normal(3)}),
        Node("softmax", "softmax", ("größer",)),
    )
    return Network((2, 6, 6), nodes, 1 / 255, -0.5, {"accuracy": "92 %"})


def check_equal(found: Network, expected: Network) -> None:
    assert found.facts == expected.facts
    assert (found.input_shape, found.input_scale, found.input_offset) == (
        *(expected.input_shape, expected.input_scale, expected.input_offset),
    )
    for left, right in zip(found.nodes, expected.nodes, strict=True):
        assert (left.name, left.op, left.inputs) == (right.name, right.op, right.inputs)
        assert left.attributes == right.attributes
        assert list(left.weights) == list(right.weights)
        for key, array in left.weights.items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, right.weights[key])


def test_round_trip(tmp_path):
    save_network(small(), tmp_path / "net.npz")
    check_equal(load_network(tmp_path / "net.npz"), small())
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


def test_numbers_of_numpy_are_attributes_too(tmp_path):
    nodes = list(small().nodes)
    nodes[2] = replace(nodes[2], attributes={"low": np.float32(-1), "high": np.int64(6)})
    save_network(replace(small(), nodes=tuple(nodes)), tmp_path / "net.npz")
    assert load_network(tmp_path / "net.npz").nodes[2].attributes == {"low": -1.0, "high": 6}


def test_half_rounds_to_float16_and_halves_the_file(tmp_path):
    save_network(small(), tmp_path / "half.npz", half=True)
    with np.load(tmp_path / "half.npz") as arrays:
        assert arrays["größer/weight"].dtype == np.float16
    weight = small().nodes[0].weights["weight"]
    found = load_network(tmp_path / "half.npz").nodes[0].weights["weight"]
    np.testing.assert_array_equal(found, weight.astype(np.float16).astype(np.float32))


def test_half_of_a_weight_beyond_float16(tmp_path):
    nodes = list(small().nodes)
    nodes[1] = replace(nodes[1], weights={"weight": np.array([1, 2, -1e5, 3], np.float32)})
    network = replace(small(), nodes=tuple(nodes))
    with pytest.raises(InputError, match=r"half.npz: p/weight: found a weight of 1?e?100000"):
        save_network(network, tmp_path / "half.npz", half=True)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    save_network(small(), path)

    def fails(stream, **arrays):
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fails)
    with pytest.raises(InputError, match=r"net.npz: cannot be written: No space left"):
        save_network(small(), path)
    check_equal(load_network(path), small())
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["net.pt", "net", "net.onnx"])
def test_only_npz_is_written(tmp_path, name):
    with pytest.raises(InputError, match=r"found suffix .*, expected .npz"):
        save_network(small(), tmp_path / name)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        save_network(small(), tmp_path / "nowhere" / "net.npz")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_any_float_is_read(tmp_path, kind):
    path = rewritten(tmp_path, lambda arrays: arrays.update({"p/weight": np.ones(4, kind)}))
    assert load_network(path).nodes[1].weights["weight"].dtype == np.float32


def rewritten(folder, change):
    """Write the small network with its arrays, and the graph among them, changed."""
    path = folder / "net.npz"
    save_network(small(), path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["network"] = json.loads(arrays["network"].item())
    change(arrays)
    if isinstance(arrays.get("network"), dict):
        arrays["network"] = np.asarray(json.dumps(arrays["network"]))
    np.savez(path, **arrays)
    return path


def in_graph(**entries):
    return lambda arrays: arrays["network"].update(entries)


def in_node(index, **entries):
    return lambda arrays: arrays["network"]["nodes"][index].update(entries)


def with_array(key, array):
    return lambda arrays: arrays.update({key: array})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_graph(version=2), "version: found 2, expected 1"),
        (lambda arrays: arrays.pop("network"), "network: found no such array"),
        (lambda arrays: arrays.pop("p/weight"), "p/weight: found no such array"),
        (
            with_array("p/weight", np.ones(4, np.int8)),
            "p/weight: found type int8, expected float16",
        ),
        (with_array("p/weight", np.ones(4, np.longdouble)), "p/weight: found type .*, expected f"),
        (with_array("p/weight", np.array([1, None])), "p/weight: cannot be read: Object arrays"),
        (with_array("p/weight", np.array([1, 1, 1, 1e300])), r"'p' \(prelu\): weight: found inf"),
        (with_array("p/weight", np.ones(3)), r"node 'p' \(prelu\): found slopes of shape \(3,\)"),
        (with_array("network", np.ones(3)), "network: found type float64, expected text"),
        (with_array("network", np.array("{")), "cannot be read: Expecting property name"),
        (with_array("network", np.array("[]")), "cannot be read: list indices"),
        (in_graph(nodes=[]), "network: found no nodes"),
        (in_graph(nodes=[{}]), "cannot be read: 'attributes'"),
        (in_graph(input_shape=[2, 5, 6]), r"node 'größer' \(dense\): found input of shape"),
        (in_node(1, op="tanh"), "node 'p': found activation 'tanh', .* expected hard tanh"),
        (in_node(1, op="lstm"), "node 'p': found operator 'lstm', expected one of"),
        (in_node(2, attributes={"low": "a", "high": 1}), "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    path = rewritten(tmp_path, change)
    with pytest.raises(InputError, match=message) as raised:
        load_network(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_damaged_files(tmp_path):
    path = tmp_path / "net.npz"
    save_network(small(), path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("größer/weight.npy").header_offset
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"net.npz: found no zip archive, or a part of one"):
        load_network(path)
    path.write_bytes(whole[: start + 200] + bytes(50) + whole[start + 250 :])
    with pytest.raises(InputError, match=r"net.npz: größer/weight: cannot be read"):
        load_network(path)


def test_files_that_are_not_networks(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match="found a folder"):
        load_network(tmp_path / "folder.npz")
    with pytest.raises(InputError, match="found no such file"):
        load_network(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"found suffix .pt, expected .npz or .onnx"):
        load_network(tmp_path / "net.pt")
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(InputError, match="found no zip archive"):
        load_network(tmp_path / "array.npz")
