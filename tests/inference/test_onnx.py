"""Each operator against the reference evaluator of package onnx; what is not supported."""

import sys

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from hpcrefine.errors import InputError
from hpcrefine.inference.evaluate import evaluate
from hpcrefine.inference.files import load_network, save_network

operator = helper.make_node

RNG = np.random.default_rng(1)
IMAGE = (2, 7, 6)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def spread(*shape):
    return RNG.uniform(0.5, 2, shape).astype(np.float32)


def built(operators, shape=IMAGE, constants=None, samples="batch", version=17, last="y"):
    """Return a model from value x to value y, or another last one."""
    graph = helper.make_graph(
        operators,
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (samples, *shape))],
        [helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, (samples, "classes"))],
        [onnx.numpy_helper.from_array(a, name) for name, a in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def loaded(folder, model):
    onnx.save(model, folder / "model.onnx")
    return load_network(folder / "model.onnx")


def check(folder, model, shape=IMAGE):
    """Compare the scores of some samples, also of what is saved as .npz."""
    network = loaded(folder, model)
    save_network(network, folder / "model.npz")
    samples = RNG.standard_normal((5, *shape)).astype(np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": samples})
    for one in (network, load_network(folder / "model.npz")):
        found = evaluate(one, samples)
        np.testing.assert_allclose(found, expected.reshape(5, -1), rtol=2e-5, atol=2e-5)
    return network


def headed(operators, length, constants=None, **options):
    """Return a model of images whose value h, of some length when flat, gets a dense head."""
    constants = {**(constants or {}), "head": normal(length, 3)}
    head = [operator("Flatten", ["h"], ["flat"]), operator("MatMul", ["flat", "head"], ["y"])]
    return built([*operators, *head], constants=constants, **options)


@pytest.mark.parametrize(
    ("attributes", "bias"),
    [
        ({}, (3,)),
        ({"transB": 1}, (1, 3)),
        ({"alpha": 0.5, "beta": -2.0}, (3,)),
        ({"beta": 3.0}, ()),
        ({"transB": 1, "alpha": 2.0}, (1, 1)),
        ({}, None),
    ],
)
def test_gemm(tmp_path, attributes, bias):
    constants = {"w": normal(*((3, 4) if attributes.get("transB") else (4, 3)))}
    if bias is not None:
        constants["b"] = normal(*bias) if bias else np.float32(1.5)
        constants["b"] = np.asarray(constants["b"])
    model = built([operator("Gemm", ["x", *constants], ["y"], **attributes)], (4,), constants)
    check(tmp_path, model, (4,))


@pytest.mark.parametrize("inputs", [["h", "b"], ["b", "h"]])
def test_matmul_and_a_bias_are_one_dense_node(tmp_path, inputs):
    operators = [operator("MatMul", ["x", "w"], ["h"]), operator("Add", inputs, ["y"])]
    model = built(operators, (4,), {"w": normal(4, 3), "b": normal(3)})
    assert [node.op for node in check(tmp_path, model, (4,)).nodes] == ["dense"]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 3], "pads": [1, 0, 2, 1]},
        {"group": 2, "pads": [1, 1, 1, 1], "dilations": [1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "VALID", "strides": [1, 2]},
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_conv(tmp_path, attributes, bias):
    constants = {"w": normal(4, 2 // attributes.get("group", 1), 2, 3)}
    if bias:
        constants["b"] = normal(4)
    conv = operator("Conv", ["x", *constants], ["h"], **attributes)
    probe = built([conv], constants=constants, last="h")
    shape = ReferenceEvaluator(probe).run(None, {"x": np.zeros((1, *IMAGE), "f")})
    check(tmp_path, headed([conv], shape[0].size, constants))


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [2, 3]}),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 2]}),
        ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("AveragePool", {"kernel_shape": [2, 3], "strides": [1, 2]}),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("AveragePool", {"kernel_shape": [2, 2], "count_include_pad": 1}),
    ],
)
def test_pools(tmp_path, kind, attributes):
    pool = operator(kind, ["x"], ["h"], **attributes)
    samples = np.zeros((1, *IMAGE), np.float32)
    (out,) = ReferenceEvaluator(built([pool], last="h")).run(None, {"x": samples})
    check(tmp_path, headed([pool], out.size))


@pytest.mark.parametrize(
    ("after", "ops"),
    [
        (operator("Flatten", ["g"], ["h"]), ["globalaveragepool", "dense"]),
        (operator("Squeeze", ["g", "axes"], ["h"]), ["globalaveragepool", "dense"]),
        (operator("Reshape", ["g", "target"], ["h"]), ["globalaveragepool", "dense"]),
        (
            operator("Conv", ["g", "one"], ["h"]),
            ["globalaveragepool", "reshape", "conv", "flatten", "dense"],
        ),
    ],
)
def test_what_follows_a_global_average(tmp_path, after, ops):
    constants = {
        "axes": np.array([2, -1]),
        "target": np.array([-1, 2]),
        "one": normal(2, 2, 1, 1),
    }
    model = headed([operator("GlobalAveragePool", ["x"], ["g"]), after], 2, constants)
    assert [node.op for node in check(tmp_path, model).nodes] == ops


@pytest.mark.parametrize(
    ("inputs", "attributes", "version"),
    [
        (["x", "axes"], {"keepdims": 0}, 18),
        (["x", "axes"], {}, 18),
        (["x"], {"axes": [-1, 2], "keepdims": 0}, 13),
    ],
)
def test_a_mean_over_images_is_a_global_average(tmp_path, inputs, attributes, version):
    mean = operator("ReduceMean", inputs, ["h"], **attributes)
    network = check(tmp_path, headed([mean], 2, {"axes": np.array([2, 3])}, version=version))
    assert [node.op for node in network.nodes] == ["globalaveragepool", "dense"]


def test_squeeze_by_attribute(tmp_path):
    squeeze = operator("Squeeze", ["g"], ["h"], axes=[2, 3])
    model = headed([operator("GlobalAveragePool", ["x"], ["g"]), squeeze], 2, version=11)
    check(tmp_path, model)


@pytest.mark.parametrize("target", [[0, -1], [-1, 84], [0, 84], [-1, 7, 0, 6], [0, 0, 6, -1]])
def test_reshape(tmp_path, target):
    reshape = operator("Reshape", ["x", "target"], ["h"])
    target = [2 if length == 0 and axis == 2 else length for axis, length in enumerate(target)]
    check(tmp_path, headed([reshape], 84, {"target": np.array(target)}))


def test_a_fixed_number_of_samples(tmp_path):
    reshape = operator("Reshape", ["x", "target"], ["h"])
    model = headed([reshape], 84, {"target": np.array([5, 84])}, samples=5)
    check(tmp_path, model)


def test_reshaping_back_and_forth_is_nothing(tmp_path):
    operators = [
        operator("Flatten", ["x"], ["f"]),
        operator("Reshape", ["f", "target"], ["h"]),
    ]
    model = headed(operators, 84, {"target": np.array([-1, *IMAGE])})
    assert [node.op for node in check(tmp_path, model).nodes] == ["flatten", "dense"]


@pytest.mark.parametrize(
    ("kind", "attributes", "op"),
    [
        ("Relu", {}, "relu"),
        ("LeakyRelu", {}, "leakyrelu"),
        ("LeakyRelu", {"alpha": 0.3}, "leakyrelu"),
        ("HardSigmoid", {}, "hardsigmoid"),
        ("HardSigmoid", {"alpha": 0.25, "beta": 0.4}, "hardsigmoid"),
    ],
)
def test_activations(tmp_path, kind, attributes, op):
    model = headed([operator(kind, ["x"], ["h"], **attributes)], 84)
    assert check(tmp_path, model).nodes[0].op == op


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 2, 1, 1), (1,), (1, 1, 1)])
def test_prelu(tmp_path, shape):
    check(tmp_path, headed([operator("PRelu", ["x", "s"], ["h"])], 84, {"s": normal(*shape)}))


def test_prelu_of_features(tmp_path):
    operators = [operator("PRelu", ["x", "s"], ["h"]), operator("MatMul", ["h", "w"], ["y"])]
    check(tmp_path, built(operators, (4,), {"s": normal(4), "w": normal(4, 3)}), (4,))


@pytest.mark.parametrize(
    ("inputs", "op"),
    [
        (["low", "high"], "clip"),
        (["", "high"], "clip"),
        (["low"], "clip"),
        (["zero", "high"], "clip"),
        (["zero"], "relu"),
    ],
)
def test_clip(tmp_path, inputs, op):
    constants = {"low": np.array(-1, "f"), "high": np.array(0.7, "f"), "zero": np.array(0, "f")}
    model = headed([operator("Clip", ["x", *inputs], ["h"])], 84, constants)
    assert check(tmp_path, model).nodes[0].op == op


def test_clip_by_attributes_and_constants_from_nodes(tmp_path):
    clip = operator("Clip", ["x"], ["h"], min=-0.5, max=0.25)
    network = check(tmp_path, headed([clip], 84, version=10))
    assert network.nodes[0].attributes == {"low": -0.5, "high": 0.25}
    constants = [
        operator("Constant", [], ["low"], value=onnx.numpy_helper.from_array(np.array(-1, "f"))),
        operator("Constant", [], ["six"], value_float=6.0),
        operator("Identity", ["six"], ["high"]),
    ]
    model = headed([*constants, operator("Clip", ["x", "low", "high"], ["h"])], 84)
    assert check(tmp_path, model).nodes[0].attributes == {"low": -1.0, "high": 6.0}


def normalised(source, target, channels, name="n"):
    """Return a batch normalisation and its constants."""
    keys = [f"{name}.{key}" for key in ("scale", "shift", "mean", "variance")]
    arrays = (normal(channels), normal(channels), normal(channels), spread(channels))
    node = operator("BatchNormalization", [source, *keys], [target], epsilon=1e-3)
    return node, dict(zip(keys, arrays, strict=True))


@pytest.mark.parametrize("between", [None, "Identity", "Dropout"])
def test_normalisation_becomes_part_of_the_conv_before(tmp_path, between):
    node, constants = normalised("c" if between is None else "d", "h", 4)
    operators = [operator("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])]
    operators += [operator(between, ["c"], ["d"])] if between else []
    constants["w"] = normal(4, 2, 3, 3)
    network = check(tmp_path, headed([*operators, node], 168, constants))
    assert [n.op for n in network.nodes] == ["conv", "flatten", "dense"]


def test_normalisation_with_nothing_before_becomes_a_layer(tmp_path):
    node, constants = normalised("x", "r", 2)
    model = headed([node, operator("Relu", ["r"], ["h"])], 84, constants)
    assert [n.op for n in check(tmp_path, model).nodes] == ["conv", "relu", "flatten", "dense"]


def test_normalisation_of_features(tmp_path):
    """First one that stands alone, then one that follows Gemm, twice."""
    first, constants = normalised("x", "a", 4, "first")
    second, more = normalised("b", "c", 3, "second")
    third, most = normalised("c", "y", 3, "third")
    operators = [first, operator("Gemm", ["a", "w"], ["b"]), second, third]
    model = built(operators, (4,), {**constants, **more, **most, "w": normal(4, 3)})
    assert [node.op for node in check(tmp_path, model, (4,)).nodes] == ["dense", "dense"]


def test_normalisation_leaves_a_layer_with_other_readers_alone(tmp_path):
    node, constants = normalised("c", "n", 2)
    constants["w"] = normal(2, 2, 1, 1)
    operators = [
        operator("Conv", ["x", "w"], ["c"]),
        node,
        operator("Relu", ["n"], ["r"]),
        operator("Add", ["r", "c"], ["h"]),
    ]
    network = check(tmp_path, headed(operators, 84, constants))
    ops = ["conv", "conv", "relu", "add", "flatten", "dense"]
    assert [n.op for n in network.nodes] == ops


def test_a_residual_block_without_names(tmp_path):
    first, constants = normalised("a", "b", 2, "first")
    second, more = normalised("c", "d", 2, "second")
    constants |= {
        **more,
        "v": normal(2, 2, 3, 3),
        "w": normal(2, 2, 3, 3),
        "shift": normal(2, 1, 1),
    }
    operators = [
        operator("Conv", ["x", "v"], ["a"], pads=[1, 1, 1, 1]),
        first,
        operator("Relu", ["b"], ["r"]),
        operator("Conv", ["r", "w"], ["c"], pads=[1, 1, 1, 1]),
        second,
        operator("Add", ["d", "x"], ["e"]),
        operator("Add", ["e", "shift"], ["h"]),
        operator("Relu", ["h"], ["unread"]),
        operator("Relu", ["unread"], ["unused"]),
    ]
    network = check(tmp_path, headed(operators, 84, constants))
    ops = ["conv", "relu", "conv", "add", "conv", "flatten", "dense"]
    assert [node.op for node in network.nodes] == ops


@pytest.mark.parametrize(
    ("kind", "op"), [("Sigmoid", "sigmoid"), ("Softmax", "softmax"), ("LogSoftmax", "softmax")]
)
def test_final(tmp_path, kind, op):
    operators = [operator("MatMul", ["x", "w"], ["h"]), operator(kind, ["h"], ["y"])]
    network = loaded(tmp_path, built(operators, (4,), {"w": normal(4, 3)}))
    assert network.final == op


def test_names_that_are_given_twice_or_taken(tmp_path):
    operators = [
        operator("Relu", ["x"], ["a"], name="same"),
        operator("Relu", ["a"], ["b"], name="same"),
        operator("MatMul", ["b", "w"], ["c"], name="input"),
        operator("Identity", ["c"], ["y"]),
    ]
    network = loaded(tmp_path, built(operators, (4,), {"w": normal(4, 3)}))
    assert [node.name for node in network.nodes] == ["a", "b", "input'"]


DENSE = {"w": normal(4, 3)}


def dense_then(*operators, **constants):
    first = operator("MatMul", ["x", "w"], ["h"], name="first")
    return built([first, *operators], (4,), {**DENSE, **constants})


def of_image(node, **constants):
    return headed([node], 84, constants)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            dense_then(operator("Tanh", ["h"], ["y"], name="t")),
            r"node 't': found activation 'Tanh', which is not piecewise linear, expected hard tanh",
        ),
        (dense_then(operator("Erf", ["h"], ["y"])), "node 'y': found activation 'Erf'"),
        (
            headed([operator("Sigmoid", ["x"], ["h"], name="s")], 84),
            "node 's': found activation 'sigmoid', .* expected hardsigmoid instead",
        ),
        (
            dense_then(operator("LSTM", ["h"], ["y"], name="l")),
            "node 'l': found operator 'LSTM', expected one of Gemm, MatMul",
        ),
        (
            dense_then(operator("Relu", ["h"], ["y"], name="r", domain="mine")),
            "node 'r': found operator 'mine.Relu', expected one of",
        ),
        (
            dense_then(operator("Gemm", ["h", "v"], ["y"], transA=1), v=normal(3, 3)),
            r"node 'y' \(Gemm\): transA: found 1, expected 0",
        ),
        (
            dense_then(operator("Gemm", ["h", "v", "b"], ["y"]), v=normal(3, 2), b=normal(3)),
            r"node 'y' \(Gemm\): input 'b': found shape \(3,\), expected \(2,\)",
        ),
        (
            dense_then(operator("MatMul", ["h", "h"], ["y"])),
            r"node 'y' \(MatMul\): input 'h': found a computed value, expected a constant",
        ),
        (
            dense_then(operator("MatMul", ["v", "h"], ["y"]), v=normal(3, 3)),
            r"node 'y' \(MatMul\): input 'h': found a computed value, expected a constant",
        ),
        (
            dense_then(operator("MatMul", ["h", "v"], ["y"]), v=normal(2, 3)),
            r"node 'y' \(dense\): found input of shape \(3,\), expected \(2,\)",
        ),
        (
            dense_then(operator("MatMul", ["h", "v"], ["y"]), v=np.full((3, 3), np.nan, "f")),
            r"node 'y' \(dense\): weight: found nan at \[0, 0\], expected finite",
        ),
        (
            dense_then(operator("Clip", ["h", "h"], ["y"])),
            r"node 'y' \(Clip\): input 'h': found a computed value, expected a constant",
        ),
        (
            dense_then(operator("Clip", ["h", "v"], ["y"]), v=normal(3)),
            r"node 'y' \(Clip\): input 'v': found shape \(3,\), expected a number",
        ),
        (
            dense_then(operator("Softmax", ["h"], ["y"], axis=0)),
            r"node 'y' \(Softmax\): axis: found 0, expected -1 or 1",
        ),
        (
            dense_then(operator("Add", ["h", "v"], ["y"]), v=normal(5, 3)),
            r"node 'y' \(Add\): input 'v': found shape \(5, 3\), expected \(3,\)",
        ),
        (
            dense_then(operator("Add", ["h", "x"], ["y"])),
            r"node 'y' \(add\): found inputs of shapes \(3,\) and \(4,\)",
        ),
        (
            of_image(operator("Conv", ["x", "v"], ["h"], dilations=[2, 2]), v=normal(1, 2, 2, 2)),
            r"node 'h' \(Conv\): dilations: found \[2, 2\], expected \[1, 1\]",
        ),
        (
            of_image(operator("Conv", ["x", "v"], ["h"], strides=[0, 1]), v=normal(1, 2, 2, 2)),
            r"node 'h' \(Conv\): strides: found \(0, 1\), expected 2 integers >= 1",
        ),
        (
            of_image(operator("Conv", ["x", "v"], ["h"], pads=[0, 1]), v=normal(1, 2, 2, 2)),
            r"node 'h' \(Conv\): pads: found \(0, 1\), expected 4 integers >= 0",
        ),
        (
            of_image(operator("Conv", ["x", "v"], ["h"], group=0), v=normal(1, 2, 2, 2)),
            r"node 'h' \(Conv\): group: found 0, expected >= 1",
        ),
        (
            of_image(operator("Conv", ["x", "v"], ["h"]), v=normal(1, 3, 2, 2)),
            r"node 'h' \(conv\): found 2 channels, expected 3",
        ),
        (
            of_image(operator("Conv", ["x", "v"], ["h"]), v=normal(1, 2, 2)),
            r"node 'h' \(Conv\): input 'v': found shape \(1, 2, 2\), expected 4 axes",
        ),
        (
            of_image(operator("Conv", ["x", "v", "b"], ["h"]), v=normal(1, 2, 2, 2), b=normal(2)),
            r"node 'h' \(Conv\): input 'b': found shape \(2,\), expected \(1,\)",
        ),
        (
            of_image(operator("MaxPool", ["x"], ["h"], kernel_shape=[2, 2], ceil_mode=1)),
            r"node 'h' \(MaxPool\): ceil_mode: found 1, expected 0",
        ),
        (
            of_image(
                operator(
                    *("AveragePool", ["x"], ["h"]),
                    kernel_shape=[3, 3],
                    pads=[1, 1, 1, 1],
                    count_include_pad=1,
                )
            ),
            r"node 'h' \(AveragePool\): count_include_pad: found 1, expected 0",
        ),
        (
            of_image(operator("MaxPool", ["x"], ["z", "h"], kernel_shape=[2, 2])),
            r"node 'flat' \(Flatten\): input 'h': found an output that is not supported",
        ),
        (
            of_image(operator("Flatten", ["x"], ["h"], axis=2)),
            r"node 'h' \(Flatten\): axis: found 2, expected 1 or -3",
        ),
        (
            of_image(operator("Reshape", ["x", "v"], ["h"]), v=np.array([1, -1])),
            r"node 'h' \(Reshape\): shape: found \[1, -1\], expected \[0, ...\]",
        ),
        (
            of_image(operator("Reshape", ["x", "v"], ["h"]), v=np.array([-1, -1])),
            r"node 'h' \(Reshape\): shape: found \[-1, -1\], expected \[0, ...\]",
        ),
        (
            of_image(operator("Reshape", ["x", "v"], ["h"]), v=np.array([-1, 14, 6])),
            r"node 'h' \(Reshape\): shape: found \[-1, 14, 6\] for samples of shape \(2, 7, 6\)",
        ),
        (
            of_image(operator("Squeeze", ["x", "v"], ["h"]), v=np.array([2])),
            r"node 'h' \(Squeeze\): axes: found \[2\] for samples of shape \(2, 7, 6\)",
        ),
        (
            of_image(operator("Squeeze", ["x", "v"], ["h"]), v=np.array([0])),
            r"node 'h' \(Squeeze\): axes: found \[0\] for samples of shape \(2, 7, 6\)",
        ),
        (
            of_image(operator("ReduceMean", ["x"], ["h"], axes=[1])),
            r"node 'h' \(ReduceMean\): axes: found \[1\], expected \[2, 3\] of images",
        ),
        (
            of_image(operator("PRelu", ["x", "v"], ["h"]), v=normal(6)),
            r"node 'h' \(PRelu\): input 'v': found shape \(6,\), expected \(2, 1, 1\)",
        ),
        (
            of_image(operator("BatchNormalization", ["x", *"vvvv"], ["h"]), v=-spread(2)),
            r"node 'h' \(conv\): weight: found nan at \[0, 0, 0, 0\], expected finite",
        ),
        (
            of_image(operator("BatchNormalization", ["x", *"vvvv"], ["h"]), v=normal(3)),
            r"node 'h' \(BatchNormalization\): input 'v': found shape \(3,\), expected \(2,\)",
        ),
        (
            of_image(
                operator("BatchNormalization", ["x", *"vvvv"], ["h", "m", "s"], training_mode=1),
                v=normal(2),
            ),
            r"node 'h' \(BatchNormalization\): training_mode: found 1, expected 0",
        ),
        (built([operator("Relu", ["x"], ["y"])]), "found no layer with weights"),
        (built([operator("Identity", ["w"], ["y"])], constants=DENSE), "output 'y': found a const"),
        (built([operator("Identity", ["x"], ["y"])]), "network: found no nodes"),
        (dense_then(operator("Relu", ["missing"], ["y"])), "cannot be read as ONNX: .*missing"),
        (
            built([operator("Flatten", ["x"], ["y"])], (1, "height", 28)),
            r"input 'x': found shape \(batch, 1, height, 28\), expected .* all but samples known",
        ),
        (built([operator("Flatten", ["x"], ["y"])], (28, 28)), r"input 'x': found shape \(batch, "),
        (built([operator("Relu", ["x"], ["y"])], version=6), "found operator set 6, expected 7"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, model, message):
    with pytest.raises(InputError, match=message) as raised:
        loaded(tmp_path, model)
    assert str(raised.value).startswith(f"{tmp_path / 'model.onnx'}: ")
    assert "\n" not in str(raised.value)


def test_two_inputs_or_outputs(tmp_path):
    model = dense_then(operator("Relu", ["h"], ["y"]))
    model.graph.output.append(helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, (None, 3)))
    with pytest.raises(InputError, match=r"graph: found 2 outputs \(y, h\), expected one output"):
        loaded(tmp_path, model)


def test_a_file_that_is_no_onnx(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"something else" * 100)
    with pytest.raises(InputError, match=r"model.onnx: cannot be read as ONNX: "):
        load_network(tmp_path / "model.onnx")


def test_without_package_onnx(tmp_path, monkeypatch):
    onnx.save(dense_then(operator("Relu", ["h"], ["y"])), tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'hpcrefine\[onnx\]'"):
        load_network(tmp_path / "model.onnx")
