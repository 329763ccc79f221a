"""Writes test cases of what ONNX Runtime puts into model files, with the results it computes.

usage: make_ort_cases.py FOLDER

Its optimizers write fused operators (domain com.microsoft), its quantizer integer models. ONNX has
no cases for them: here models are made by ONNX Runtime's own tools, or node by node, and run by
ONNX Runtime. The layout is make_cases.py's; FOLDER/current is the newest.

Tolerances of integer models are in steps of the last quantizer: ONNX Runtime multiplies in other
orders and rounds a code differently now and then.
"""

import hashlib
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static)
from onnxruntime.transformers import optimizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.conformance import ort_recurrent_cases  # noqa: E402
from tests.conformance.make_cases import Case, write  # noqa: E402
from tests.models import bert_base, transformer  # noqa: E402
import onnx_model  # noqa: E402  # onnxruntime.transformers puts its folder on the path

SUITE = "onnxruntime"
FLOAT_TOLERANCE = (1e-4, 1e-5)
DIGITS = ROOT / "examples/models/digits"


def onnx_type(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def run(model, inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           ["CPUExecutionProvider"])
    return session.run(None, inputs)


def case(name, model, inputs, tolerance=FLOAT_TOLERANCE, expected=None):
    """One data set; `inputs` by name, in the order of the model's inputs."""
    outputs = expected if expected is not None else run(model, inputs)
    by_input = [numpy_helper.from_array(inputs[value.name]).SerializeToString()
                for value in model.graph.input]
    by_output = [numpy_helper.from_array(array).SerializeToString() for array in outputs]
    return Case(SUITE, name, model, [(by_input, by_output)], *tolerance)


class Graph:
    """A model node by node; inputs are arrays, whose dimensions are symbolic where asked."""

    def __init__(self, opset=17):
        self.opset = opset
        self.nodes, self.inputs, self.initializers, self.arrays = [], [], [], {}

    def input(self, name, array, symbols=()):
        shape = [symbols[d] if d < len(symbols) and symbols[d] else size
                 for d, size in enumerate(array.shape)]
        self.inputs.append(helper.make_tensor_value_info(name, onnx_type(array), shape))
        self.arrays[name] = array
        return name

    def constant(self, array):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op, inputs, outputs=1, domain="com.microsoft", **attributes):
        names = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def onnx(self, op, *inputs, **attributes):
        return self.node(op, list(inputs), domain="", **attributes)

    def case(self, name, *outputs, tolerance=FLOAT_TOLERANCE, types=None):
        types = types or [TensorProto.FLOAT] * len(outputs)
        values = [helper.make_tensor_value_info(o, t, None) for o, t in zip(outputs, types)]
        graph = helper.make_graph(self.nodes, name, self.inputs, values, self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset),
                                  helper.make_opsetid("com.microsoft", 1)], ir_version=9)
        return case(name, model, self.arrays, tolerance)


RANDOM = np.random.default_rng(7)


def normal(*shape, scale=1.0):
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


def elementwise_cases():
    x = normal(2, 3, 8, scale=2)
    for op, attributes in (("Gelu", {}), ("FastGelu", {}), ("QuickGelu", {"alpha": 1.3})):
        g = Graph()
        yield g.case(f"ms_{op.lower()}", g.node(op, [g.input("x", x, ["batch"])], **attributes))
    for op in ("BiasGelu", "FastGelu"):
        g = Graph()
        y = g.node(op, [g.input("x", x, ["batch"]), g.constant(normal(8))])
        yield g.case(f"ms_{op.lower()}_bias", y)


def matmul_cases():
    for name, left, right, attributes in (
            ("plain", (2, 3, 4), (4, 5), {}),
            ("trans_b", (2, 3, 4), (2, 5, 4), {"transB": 1, "alpha": 0.25}),
            ("trans_a", (2, 4, 3), (2, 4, 5), {"transA": 1}),
            ("both", (4, 3), (5, 4), {"transA": 1, "transB": 1, "alpha": 2.0})):
        g = Graph()
        y = g.node("FusedMatMul", [g.input("a", normal(*left)), g.input("b", normal(*right))],
                   **attributes)
        yield g.case(f"ms_fusedmatmul_{name}", y)


def fused_activation_cases():
    for activation, parameters in (("Relu", []), ("Clip", [-0.5, 0.75]), ("LeakyRelu", [0.2]),
                                   ("HardSigmoid", [0.3, 0.4]), ("Tanh", [])):
        g = Graph()
        attributes = {"activation_params": parameters} if parameters else {}
        y = g.node("FusedConv", [g.input("x", normal(2, 3, 7, 7), ["batch"]),
                                 g.constant(normal(4, 3, 3, 3, scale=0.3)),
                                 g.constant(normal(4))],
                   activation=activation, pads=[1, 1, 1, 1], strides=[2, 2], **attributes)
        yield g.case(f"ms_fusedconv_{activation.lower()}", y)
    g = Graph()
    x = g.input("x", normal(1, 3, 5, 5))
    y = g.node("FusedConv", [x, g.constant(normal(3, 3, 1, 1)), g.constant(normal(3)), x],
               activation="Relu")
    yield g.case("ms_fusedconv_sum", y)
    g = Graph()
    y = g.node("FusedGemm", [g.input("a", normal(3, 8)), g.constant(normal(5, 8)),
                             g.constant(normal(5))],
               activation="LeakyRelu", activation_alpha=0.3, transB=1, alpha=0.5)
    yield g.case("ms_fusedgemm", y)


def normalization_cases():
    x, skip = normal(2, 3, 16), normal(2, 3, 16)
    for name, inputs in (("plain", []), ("bias", [normal(16)])):
        g = Graph()
        outputs = g.node("SkipLayerNormalization",
                         [g.input("x", x, ["batch"]), g.input("skip", skip, ["batch"]),
                          g.constant(normal(16)), g.constant(normal(16)),
                          *[g.constant(i) for i in inputs]], outputs=4, epsilon=1e-5)
        yield g.case(f"ms_skiplayernorm_{name}", outputs[0], outputs[3])
    g = Graph()
    outputs = g.node("SkipSimplifiedLayerNormalization",
                     [g.input("x", x), g.input("skip", skip), g.constant(normal(16))],
                     outputs=4, epsilon=1e-6)
    yield g.case("ms_skiprmsnorm", outputs[0], outputs[3])
    g = Graph(opset=12)
    y = g.onnx("LayerNormalization", g.input("x", x), g.constant(normal(16)),
               g.constant(normal(16)))
    yield g.case("ms_layernorm_opset12", y)


def embedding_cases():
    ids = RANDOM.integers(0, 50, (2, 6)).astype(np.int32)
    segments = RANDOM.integers(0, 2, (2, 6)).astype(np.int32)
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], np.int32)
    tables = [normal(50, 16), normal(10, 16), normal(2, 16), normal(16), normal(16)]
    g = Graph()
    both = ["batch", "length"]
    outputs = g.node("EmbedLayerNormalization",
                     [g.input("ids", ids, both), g.input("segments", segments, both),
                      *[g.constant(t) for t in tables], g.input("mask", mask, both)], outputs=3)
    yield g.case("ms_embedlayernorm", outputs[0], outputs[1],
                 types=[TensorProto.FLOAT, TensorProto.INT32])
    g = Graph()
    positions = np.array([[3, 1, 2, 0, 5, 4]], np.int32).repeat(2, 0)
    outputs = g.node("EmbedLayerNormalization",
                     [g.input("ids", ids), "", g.constant(tables[0]), g.constant(tables[1]), "",
                      g.constant(tables[3]), g.constant(tables[4]), "",
                      g.input("positions", positions)], outputs=2)
    yield g.case("ms_embedlayernorm_positions", outputs[0])


MASKS = {
    "none": None,
    "raw": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32),
    "rows": np.tril(np.ones((2, 5, 5), np.int32)),
    "ends": np.array([3, 5], np.int32),
    "ends_and_starts": np.array([3, 5, 1, 0], np.int32),
}


def attention_cases():
    x = normal(2, 5, 16)
    for name, mask in MASKS.items():
        g = Graph()
        symbols = ["batch"] if name != "ends_and_starts" else []
        inputs = [g.input("x", x, symbols), g.constant(normal(16, 48, scale=0.3)),
                  g.constant(normal(48))]
        if mask is not None:
            inputs.append(g.input("mask", mask, symbols))
        yield g.case(f"ms_attention_{name}", g.node("Attention", inputs, num_heads=4))
    g = Graph()
    y = g.node("Attention", [g.input("x", x), g.constant(normal(16, 40, scale=0.3)),
                             g.constant(normal(40)), "", "", g.input("bias", normal(2, 4, 5, 5))],
               num_heads=4, qkv_hidden_sizes=[16, 16, 8], scale=0.4)
    yield g.case("ms_attention_bias", y)
    g = Graph()
    y = g.node("Attention", [g.input("x", x), g.constant(normal(16, 48, scale=0.3)),
                             g.constant(normal(48))], num_heads=2, unidirectional=1)
    yield g.case("ms_attention_causal", y)
    for name, mask in (("plain", None), ("mask", MASKS["raw"][:, :5])):
        g = Graph()
        query, key, value = normal(2, 3, 16), normal(2, 5, 16), normal(2, 5, 8)
        inputs = [g.input("q", query, ["batch"]), g.input("k", key, ["batch"]),
                  g.input("v", value, ["batch"]), g.constant(normal(40))]
        if mask is not None:
            inputs.append(g.input("mask", mask, ["batch"]))
        yield g.case(f"ms_multiheadattention_{name}",
                     g.node("MultiHeadAttention", inputs, num_heads=4))


TINY_BERT = transformer.Config(
    name="tiny", layers=2, hidden=32, heads=4, feed_forward=64, vocabulary=100, positions=16,
    layer_norm_epsilon=1e-12, opset=14, pooler=True)


# Only used to drop needless casts, and it would want sympy.
onnx_model.OnnxModel.infer_runtime_shape = lambda *_, **__: None


def bert_cases():
    model = transformer.encoder(TINY_BERT, bert_base.random_tensors(TINY_BERT))
    inputs = {value.name: RANDOM.integers(0, 2, (3, 7)) for value in model.graph.input}
    inputs[model.graph.input[0].name] = RANDOM.integers(0, 100, (3, 7))
    mask = next(name for name in inputs if "mask" in name)
    inputs[mask] = np.array([[1] * 7, [1] * 4 + [0] * 3, [1] * 6 + [0]])
    inputs = {name: array.astype(np.int64) for name, array in inputs.items()}
    expected = run(model, inputs)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/bert.onnx"
        onnx.save(model, path)
        fused_path = f"{folder}/fused.onnx"
        optimizer.optimize_model(path, model_type="bert", num_heads=TINY_BERT.heads,
                                 hidden_size=TINY_BERT.hidden,
                                 opt_level=0).save_model_to_file(fused_path)
        fused = onnx.load(fused_path)
        yield case("bert_fused", fused, inputs, expected=expected, tolerance=(1e-3, 1e-4))
        quantize_dynamic(path, f"{folder}/int8.onnx")
        # Octet quantizes each token with its own range, ONNX Runtime the tensor: both are about
        # as far from float32.
        yield case("bert_dynamic_int8", onnx.load(f"{folder}/int8.onnx"), inputs,
                   expected=expected, tolerance=(0.0, 0.25))
        # As its preprocessing marks files whose shapes are known: ONNX cannot infer them here.
        helper.set_model_props(fused, {"onnx.infer": "onnxruntime.quant"})
        if not any(opset.domain == "com.microsoft" for opset in fused.opset_import):
            fused.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        onnx.save(fused, fused_path)
        quantize_dynamic(fused_path, f"{folder}/fused_int8.onnx",
                         extra_options={"DefaultTensorType": TensorProto.FLOAT})
        yield case("bert_fused_dynamic_int8", onnx.load(f"{folder}/fused_int8.onnx"), inputs,
                   expected=expected, tolerance=(0.0, 0.25))


def quantized_node_cases():
    def scalar(value):
        return np.array(value, np.float32)

    def zero(value, dtype=np.uint8):
        return np.array(value, dtype)

    a = RANDOM.integers(0, 256, (2, 4, 6, 6)).astype(np.uint8)
    b = RANDOM.integers(0, 256, (2, 4, 6, 6)).astype(np.uint8)
    pairs = {"QLinearAdd": 0.06, "QLinearMul": 0.05}
    for op, scale in pairs.items():
        g = Graph()
        y = g.node(op, [g.input("a", a, ["batch"]), g.constant(scalar(0.02)),
                        g.constant(zero(100)), g.input("b", b, ["batch"]),
                        g.constant(scalar(0.03)), g.constant(zero(7)), g.constant(scalar(scale)),
                        g.constant(zero(50))])
        real = g.onnx("DequantizeLinear", y, g.constant(scalar(scale)), g.constant(zero(50)))
        yield g.case(f"ms_{op.lower()}", real, tolerance=(0, 1.01 * scale))
    unary = {
        "QLinearSigmoid": ({}, 1 / 256, 0), "QLinearLeakyRelu": ({"alpha": 0.1}, 0.03, 20),
        "QLinearAveragePool": ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 0.02, 90),
        "QLinearGlobalAveragePool": ({}, 0.01, 60),
        "QLinearSoftmax": ({"axis": 1, "opset": 13}, 1 / 256, 0),
    }
    for op, (attributes, scale, offset) in unary.items():
        g = Graph()
        y = g.node(op, [g.input("a", a, ["batch"]), g.constant(scalar(0.02)),
                        g.constant(zero(100)), g.constant(scalar(scale)),
                        g.constant(zero(offset))], **attributes)
        real = g.onnx("DequantizeLinear", y, g.constant(scalar(scale)), g.constant(zero(offset)))
        yield g.case(f"ms_{op.lower()}", real, tolerance=(0, 1.01 * scale))
    g = Graph()
    y = g.node("QLinearConcat",
               [g.constant(scalar(0.03)), g.constant(zero(90)), g.input("a", a, ["batch"]),
                g.constant(scalar(0.02)), g.constant(zero(100)), g.input("b", b, ["batch"]),
                g.constant(scalar(0.03)), g.constant(zero(7))], axis=1)
    real = g.onnx("DequantizeLinear", y, g.constant(scalar(0.03)), g.constant(zero(90)))
    yield g.case("ms_qlinearconcat", real, tolerance=(0, 1.01 * 0.03))
    yield from quantized_product_cases()


def quantized_product_cases():
    weights = RANDOM.integers(-127, 128, (16, 12)).astype(np.int8)
    scales = RANDOM.uniform(0.005, 0.02, 12).astype(np.float32)
    x = normal(3, 5, 16)
    g = Graph()
    y = g.node("DynamicQuantizeMatMul", [g.input("x", x, ["batch"]), g.constant(weights),
                                         g.constant(scales), "", g.constant(normal(12))])
    yield g.case("ms_dynamicquantizematmul", y, tolerance=(0, 0.25))
    g = Graph()
    codes = g.node("DynamicQuantizeLinear", [g.input("x", x, ["batch"])], outputs=3, domain="")
    y = g.node("MatMulIntegerToFloat", [codes[0], g.constant(weights), codes[1],
                                        g.constant(scales), codes[2], "", g.constant(normal(12))])
    yield g.case("ms_matmulintegertofloat", y, tolerance=(0, 0.25))
    g = Graph()
    sums = g.onnx("MatMulInteger", codes[0], g.constant(weights), codes[2])
    g.input("x", x)
    g.nodes[:0] = [helper.make_node("DynamicQuantizeLinear", ["x"], codes)]
    scale = g.onnx("Mul", codes[1], g.constant(scales))
    y = g.onnx("Mul", g.onnx("Cast", sums, to=TensorProto.FLOAT), scale)
    yield g.case("dynamic_matmulinteger", g.onnx("Add", y, g.constant(normal(12))),
                 tolerance=(0, 0.25))


class Images(CalibrationDataReader):
    def __init__(self, name, images):
        self.batches = iter([{name: image[None]} for image in images])

    def get_next(self):
        return next(self.batches, None)


def digits_cases():
    model = onnx.load(DIGITS / "1/model.onnx")
    name = model.graph.input[0].name
    calibration = np.load(DIGITS / "1/calibration/images.npz")
    calibration = calibration[calibration.files[0]].astype(np.float32)
    test = np.load(DIGITS / "test.npz")
    images = next(test[k] for k in test.files if test[k].ndim == 4).astype(np.float32)[:200]
    variants = {
        "qdq_u8s8": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QInt8, True),
        "qdq_s8s8": (QuantFormat.QDQ, QuantType.QInt8, QuantType.QInt8, True),
        "qdq_per_tensor": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QInt8, False),
        "qdq_u8u8": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QUInt8, False),
        "qoperator_u8s8": (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QInt8, True),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/float.onnx"
        onnx.save(model, path)
        for variant, (style, activations, weights, per_channel) in variants.items():
            quantize_static(path, f"{folder}/int8.onnx", Images(name, calibration[:64]),
                            quant_format=style, activation_type=activations, weight_type=weights,
                            per_channel=per_channel)
            quantized = onnx.load(f"{folder}/int8.onnx")
            yield case(f"digits_{variant}", quantized, {name: images},
                       tolerance=(0, 2.01 * output_step(quantized)))


def output_step(model):
    """The scale of the last quantizer."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    last = [node for node in model.graph.node if node.op_type == "DequantizeLinear"][-1]
    return float(values[last.input[1]].max())


def all_cases():
    for make in (elementwise_cases, matmul_cases, fused_activation_cases, normalization_cases,
                 embedding_cases, attention_cases, bert_cases, quantized_node_cases, digits_cases):
        yield from make()
    yield from ort_recurrent_cases.make(Graph, normal)


def main(folder):
    here = pathlib.Path(__file__)
    sources = [here, here.with_name("make_cases.py"), here.with_name("ort_recurrent_cases.py"),
               DIGITS / "1/model.onnx"]
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()[:12]
    version = f"onnxruntime-{onnxruntime.__version__}-{digest}"
    root = folder / version
    if not (root / "index.tsv").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        lines = [write(made, root) for made in all_cases()]
        (root / "index.tsv").write_text("\n".join(lines) + "\n")
    current = folder / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(version)
    print(root, sum(1 for _ in (root / "index.tsv").open()), "cases")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
