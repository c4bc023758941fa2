"""Layered inference against its peers: float32 by the same code, and onnxruntime.

    python -m bench.inference [dense] [vgg] [--rounds 3] [-n 3] [--output results/inference]

Each round runs the job file of a network (its variants are shuffled and repeated in there) and,
before and after it, times onnxruntime in float32 on the same samples with as many threads as this
process has cores. Medians over all rounds, with nonparametric 95 % intervals; every ratio is to
one-shot float32 of the same rounds, by BLAS on all cores.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import start
from hpcrefine import launch
from hpcrefine.analysis.statistics import Summary
from hpcrefine.errors import InputError
from hpcrefine.inference.evaluate import evaluate
from hpcrefine.inference.network import INPUT, Network, Node, decisions, padding, window
from hpcrefine.inputs.samples import read as read_samples
from hpcrefine.inputs.samples import read_network
from hpcrefine.job import InferenceJob
from hpcrefine.jobfile import load
from hpcrefine.record.reader import Record, read

_JOBS = Path(__file__).parents[1] / "jobs"
_PEER = "onnxruntime float32"
_BASE = "oneshot"
Times = dict[str, list[float]]


def main() -> int:
    """Measure and print a table for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=["dense", "vgg"], metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("-n", "--ranks", type=int, default=3, help="default 3")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default results/inference-TIME")
    options = parser.parse_args()
    start.require("onnx", "onnxruntime")
    output = options.output or Path("results") / f"inference-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    output.mkdir(parents=True, exist_ok=True)
    launch.prepare_process()
    for name in options.networks:
        print(f"\n{name}\n" + "\n".join(_measured(name, options, output)), flush=True)
    return 0


def _measured(name: str, options: argparse.Namespace, output: Path) -> Iterator[str]:
    path = _JOBS / f"inference-{name}.toml"
    job = load(path)
    if not isinstance(job, InferenceJob):
        raise InputError(f"{path}: found no job of inference")
    network = read_network(job)
    peer = Peer(network, read_samples(job, "samples", network).images)
    times: Times = {}
    for number in range(options.rounds):
        peer.measure(times)
        record = output / f"{name}-{number}.h5"
        words = [sys.executable, "-m", "hpcrefine", "run", str(path), "-n", str(options.ranks)]
        subprocess.run([*words, "-o", str(record), "--force"], check=True)
        _collect(read(record), times)
        peer.measure(times)
    base = float(np.median(times[_BASE]))
    yield f"{'variant':34} {'median [ms]':>12} {'95 % [ms]':>18} {'ratio':>7}   n"
    for variant, seconds in sorted(times.items()):
        found = Summary.of(seconds)
        interval = f"{1e3 * found.low:.1f} .. {1e3 * found.high:.1f}"
        yield (
            f"{variant:34} {1e3 * found.median:12.1f} {interval:>18} {found.median / base:7.3f} "
            f"{len(seconds):3}"
        )
    yield f"ratio to {_BASE}, {1e3 * base:.1f} ms; {_PEER} agrees on {100 * peer.agreement:.2f} %"


def _collect(record: Record, times: Times) -> None:
    """Add when each variant had released each upgrade."""
    measured = record.jobs[~record.jobs["warmup"]]
    for job in measured:
        variant = job["variant"].decode() if isinstance(job["variant"], bytes) else job["variant"]
        rows = record.upgrades[record.upgrades["job"] == job["job"]]
        for row in rows:
            label = variant if len(rows) == 1 else f"{variant}, upgrade {row['upgrade']}"
            times.setdefault(label, []).append(float(row["ready"]))


class Peer:
    """onnxruntime, given the same network.

    Attributes
    ----------
    agreement : float
        Share of samples that it decides like our float32 evaluation.
    """

    def __init__(self, network: Network, samples: NDArray[Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = launch.available_cores()
        self._session = onnxruntime.InferenceSession(
            to_onnx(network), options, providers=["CPUExecutionProvider"]
        )
        self._samples = samples
        self._scale = np.float32(network.input_scale)
        self.agreement = float(
            (decisions(self._scores()) == decisions(evaluate(network, samples))).mean()
        )

    def measure(self, times: Times, repeats: int = 5) -> None:
        """Time some evaluations of all samples."""
        for _ in range(repeats):
            before = time.perf_counter()
            self._scores()
            times.setdefault(_PEER, []).append(time.perf_counter() - before)

    def _scores(self, block: int = 500) -> NDArray[np.float32]:
        parts = []
        for first in range(0, len(self._samples), block):
            part = np.multiply(self._samples[first : first + block], self._scale, dtype=np.float32)
            parts.append(self._session.run(None, {INPUT: part})[0])
        return np.concatenate(parts)


def to_onnx(network: Network) -> bytes:
    """Write a network of dense, conv, maxpool, flatten and relu layers as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []
    for node in network.scoring:
        names = []
        for key, array in node.weights.items():
            names.append(f"{node.name}/{key}")
            weights.append(numpy_helper.from_array(np.asarray(array), names[-1]))
        kind, attributes = _operator(node)
        nodes.append(helper.make_node(kind, [*node.inputs, *names], [node.name], **attributes))
    shapes = {INPUT: network.input_shape, network.scoring[-1].name: (network.classes,)}
    places = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples", *shape])
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(nodes, "network", places[:1], places[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def _operator(node: Node) -> tuple[str, dict[str, Any]]:
    windowed = {"strides": window(node, "stride"), "pads": padding(node)}
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "dense": ("Gemm", {"transB": 1}),
        "conv": ("Conv", windowed | {"group": node.attributes.get("groups", 1)}),
        "maxpool": ("MaxPool", windowed | {"kernel_shape": window(node, "kernel")}),
        "flatten": ("Flatten", {}),
        "relu": ("Relu", {}),
    }
    if node.op not in known:
        raise InputError(f"{node.described}: found no operator of ONNX for it here")
    return known[node.op]


if __name__ == "__main__":
    sys.exit(main())
