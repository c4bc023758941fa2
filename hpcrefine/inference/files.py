"""Networks in files: our own .npz, and ONNX by way of :mod:`hpcrefine.inference.onnx`.

An .npz file of ours holds the array ``network``, a JSON text (format version, input, nodes with
their attributes, facts), and each weight as ``node/key`` in float16, float32 or float64. Nothing is
ever pickled.

A trained torch ``Sequential`` of linear layers and ReLUs is exported like this::

    from torch import nn
    from hpcrefine.inference.network import Network, Node

    kinds = {nn.Linear: "dense", nn.ReLU: "relu"}
    nodes, before = [], "input"
    for name, layer in model.named_children():
        weights = {key: value.detach().numpy() for key, value in layer.named_parameters()}
        nodes.append(Node(name, kinds[type(layer)], (before,), weights=weights))
        before = name
    save_network(Network((784,), tuple(nodes)), Path("trained.npz"))

Any other torch model goes through ONNX, which :func:`load_network` reads just as well::

    torch.onnx.export(model.eval(), torch.zeros(1, 1, 28, 28), "trained.onnx")

A trained ``MLPClassifier(activation="relu")`` of scikit-learn::

    nodes, before = [], "input"
    for layer, (matrix, bias) in enumerate(zip(model.coefs_, model.intercepts_)):
        weights = {"weight": matrix.T.astype("float32"), "bias": bias.astype("float32")}
        nodes.append(Node(f"dense{layer}", "dense", (before,), weights=weights))
        nodes.append(Node(f"relu{layer}", "relu", (f"dense{layer}",)))
        before = f"relu{layer}"
    nodes[-1] = Node("final", {"logistic": "sigmoid"}.get(model.out_activation_, "softmax"),
                     (nodes[-2].name,))
    save_network(Network((model.n_features_in_,), tuple(nodes)), Path("trained.npz"))
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference.network import Floats, Network, Node

VERSION = 1
_GRAPH = "network"


def load_network(path: Path) -> Network:
    """Read a network, .npz of ours or .onnx, told apart by suffix.

    Returns
    -------
    Network
        With its weights in float32 and batch normalisations folded.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds no network of ours; the message begins with its
        name.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".onnx"):
        raise InputError(f"{path}: found suffix {path.suffix or 'none'}, expected .npz or .onnx")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: found {found}, expected a file with a network")
    try:
        if path.suffix == ".npz":
            return _read(path)
        from hpcrefine.inference.onnx import load_onnx  # needed for few

        return load_onnx(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (
        *(OSError, EOFError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError),
        *(LookupError, ArithmeticError, zlib.error, zipfile.BadZipFile),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read: {reason}") from None


def save_network(network: Network, path: Path, half: bool = False) -> None:
    """Write a network as .npz: wholly or not at all.

    Parameters
    ----------
    network : Network
        The network.
    path : Path
        With suffix .npz; what is there is replaced.
    half : bool
        Round weights to float16, which halves the file.

    Raises
    ------
    InputError
        If the suffix is another, the file cannot be written, or a weight is beyond float16.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path}: found suffix {path.suffix or 'none'}, expected .npz")
    arrays: dict[str, NDArray[Any]] = {
        f"{node.name}/{key}": _halved(array, f"{path}: {node.name}/{key}") if half else array
        for node in network.nodes
        for key, array in node.weights.items()
    }
    arrays[_GRAPH] = np.asarray(json.dumps(_described(network), default=_plain))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _plain(number: np.generic) -> Any:
    return number.item()


def _halved(array: Floats, where: str) -> NDArray[np.float16]:
    most = float(np.finfo(np.float16).max)
    found = float(np.abs(array).max())
    if found > most:
        raise InputError(f"{where}: found a weight of {found:g}, expected at most {most:g}")
    return array.astype(np.float16)


def _described(network: Network) -> dict[str, Any]:
    return {
        "version": VERSION,
        "input_shape": network.input_shape,
        "input_scale": network.input_scale,
        "input_offset": network.input_offset,
        "nodes": [
            {
                "name": node.name,
                "op": node.op,
                "inputs": node.inputs,
                "attributes": dict(node.attributes),
                "weights": list(node.weights),
            }
            for node in network.nodes
        ],
        "facts": dict(network.facts),
    }


def _read(path: Path) -> Network:
    if not zipfile.is_zipfile(path):
        raise InputError("found no zip archive, or a part of one, expected .npz")
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return _network(json.loads(_member(arrays, _GRAPH, "U").item()), arrays)


def _network(graph: Mapping[str, Any], arrays: Mapping[str, Any]) -> Network:
    if graph["version"] != VERSION:
        raise InputError(f"version: found {graph['version']!r}, expected {VERSION}")
    return Network(
        tuple(graph["input_shape"]),
        tuple(_node(entry, arrays) for entry in graph["nodes"]),
        float(graph["input_scale"]),
        float(graph["input_offset"]),
        graph["facts"],
    )


def _node(entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> Node:
    attributes = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry["attributes"].items()
    }
    weights = {key: _weight(arrays, f"{entry['name']}/{key}") for key in entry["weights"]}
    return Node(entry["name"], entry["op"], tuple(entry["inputs"]), attributes, weights)


def _weight(arrays: Mapping[str, Any], key: str) -> Floats:
    array = _member(arrays, key, "f")
    with np.errstate(over="ignore"):  # infinity is found, and named, by Network
        return array.astype(np.float32)


def _member(arrays: Mapping[str, Any], key: str, kind: str) -> NDArray[Any]:
    """Return an array of the file, of type text ("U") or float ("f")."""
    if key not in arrays:
        raise InputError(f"{key}: found no such array, expected one")
    try:
        array = np.asarray(arrays[key])
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{key}: cannot be read: {reason}") from None
    if array.dtype.kind != kind or (kind == "f" and array.dtype.itemsize > 8):
        expected = {"U": "text", "f": "float16, float32 or float64"}[kind]
        raise InputError(f"{key}: found type {array.dtype}, expected {expected}")
    return array
