"""Writes ONNX's own backend test cases as files, with an index that onnx_cases reads.

usage: make_cases.py FOLDER

The cases come with the PyPI package `onnx`: node cases are generated, the others are data of the
package. FOLDER/<onnx version>/ gets SUITE/CASE/{model.onnx, test_data_set_*/{input,output}_*.pb}
and index.tsv; if the index is there already, nothing is done. FOLDER/current names that folder.

Octet plans memory before it runs, so inputs that decide shapes (the `shape` of Reshape, the `axes`
of ReduceSum, ...) must be constants. Node cases pass them at run time; here they become
initializers of the model, which is how exporters write them.

Most of the PyTorch cases are of opset 6; ONNX's own version converter makes them opset 7, the
oldest that Octet reads.
"""

import dataclasses
import hashlib
import pathlib
import shutil
import sys
import warnings

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper, version_converter
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

OLDEST_OPSET = 7

SUITES = ["node", "simple", "pytorch-converted", "pytorch-operator", "real"]

# Inputs that decide shapes, or which kernel runs, by operator.
PARAMETER_INPUTS = {
    "AffineGrid": [1],
    "BlackmanWindow": [0],
    "CenterCropPad": [1],
    "Col2Im": [1, 2],
    "Compress": [1],
    "ConstantOfShape": [0],
    "DFT": [1, 2],
    "Expand": [1],
    "HammingWindow": [0],
    "HannWindow": [0],
    "MaxUnpool": [2],
    "NonZero": [0],
    "OneHot": [1],
    "Pad": [1, 3],
    "Range": [0, 1, 2],
    "ReduceL1": [1],
    "ReduceL2": [1],
    "ReduceLogSum": [1],
    "ReduceLogSumExp": [1],
    "ReduceMax": [1],
    "ReduceMean": [1],
    "ReduceMin": [1],
    "ReduceProd": [1],
    "ReduceSum": [1],
    "ReduceSumSquare": [1],
    "Reshape": [1],
    "Resize": [1, 2, 3],
    "Slice": [1, 2, 3, 4],
    "Split": [1],
    "Squeeze": [1],
    "Tile": [1],
    "TopK": [1],
    "Unsqueeze": [1],
    "Upsample": [1],
}

UNSUPPORTED_TYPES = {
    "STRING": "strings",
    "COMPLEX64": "complex",
    "COMPLEX128": "complex",
    "FLOAT8E4M3FN": "float8",
    "FLOAT8E4M3FNUZ": "float8",
    "FLOAT8E5M2": "float8",
    "FLOAT8E5M2FNUZ": "float8",
    "FLOAT8E8M0": "float8",
    "UINT4": "4-bit types",
    "INT4": "4-bit types",
    "FLOAT4E2M1": "4-bit types",
    "UINT2": "2-bit types",
    "INT2": "2-bit types",
    "FLOAT6E2M3": "float6",
    "FLOAT6E3M2": "float6",
}

BORDER_NAMES = {
    "FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16", "BFLOAT16": "BF16", "INT8": "INT8",
    "UINT8": "UINT8", "INT16": "INT16", "UINT16": "UINT16", "INT32": "INT32", "UINT32": "UINT32",
    "INT64": "INT64", "UINT64": "UINT64", "BOOL": "BOOL",
}


@dataclasses.dataclass
class Case:
    suite: str
    name: str
    model: ModelProto
    data_sets: list  # of (inputs, outputs), both lists of serialized protos
    rtol: float
    atol: float


def type_reason(type_proto):
    kind = type_proto.WhichOneof("value")
    if kind in ("sequence_type", "optional_type", "map_type"):
        return "sequences, optionals and maps"
    if kind == "sparse_tensor_type":
        return "sparse tensors"
    return element_reason(type_proto.tensor_type.elem_type)


def element_reason(element_type):
    if element_type == 0:
        return ""
    return UNSUPPORTED_TYPES.get(TensorProto.DataType.Name(element_type), "")


def all_nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def node_reason(node):
    if node.domain == "ai.onnx.preview.training":
        return "training"
    for attribute in node.attribute:
        if attribute.name == "training_mode" and attribute.i != 0:
            return "training"
        if attribute.name in ("to", "dtype", "output_dtype") and element_reason(attribute.i):
            return element_reason(attribute.i)
        if attribute.type == AttributeProto.TENSOR and element_reason(attribute.t.data_type):
            return element_reason(attribute.t.data_type)
        if attribute.type in (AttributeProto.STRINGS, AttributeProto.STRING):
            if node.op_type == "Constant":
                return "strings"
        if attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
            return "sparse tensors"
    return ""


def skip_reason(model):
    """Why Octet cannot be asked to run the model at all, or ""."""
    graph = model.graph
    reasons = [type_reason(v.type) for v in [*graph.input, *graph.output, *graph.value_info]]
    reasons += [element_reason(t.data_type) for t in graph.initializer]
    reasons += [node_reason(node) for node in all_nodes(graph)]
    if len(graph.sparse_initializer) > 0:
        reasons.append("sparse tensors")
    if any(n.op_type == "Dropout" and len(n.input) == 3 for n in graph.node):
        reasons.append("training")  # the only cases that give Dropout a training_mode
    return next(filter(None, reasons), "")


def operators(model):
    names = set()
    for node in all_nodes(model.graph):
        domain = "" if node.domain in ("", "ai.onnx") else node.domain + "."
        names.add(domain + node.op_type)
    return sorted(names)


def parameter_names(model):
    names = set()
    for node in model.graph.node:
        for index in PARAMETER_INPUTS.get(node.op_type, []):
            if index < len(node.input):
                names.add(node.input[index])
    return names


def serialized(value, type_proto, name):
    if isinstance(value, TensorProto):
        return value.SerializeToString()
    kind = type_proto.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, name).SerializeToString()
    if kind == "optional_type":
        return numpy_helper.from_optional(value, name).SerializeToString()
    if kind == "map_type":
        return numpy_helper.from_dict(value, name).SerializeToString()
    return numpy_helper.from_array(np.asarray(value), name).SerializeToString()


def node_cases():
    tests = sorted(load_model_tests(kind="node"), key=lambda test: test.name)
    parameters = {test.name: parameter_names(test.model) for test in tests}
    for test in tests:
        model = upgraded(test.model)
        # A function's expansion uses its parameters far from the inputs: same names, same role.
        base = test.name.split("_expanded")[0]
        names = parameters[test.name] | parameters.get(base, set())
        sets = [([serialized(v, i.type, i.name) for v, i in zip(inputs, model.graph.input)],
                 [serialized(v, o.type, o.name) for v, o in zip(outputs, model.graph.output)])
                for inputs, outputs in test.data_sets]
        yield Case("node", test.name, *with_constants(model, sets, names), test.rtol, test.atol)


def with_constants(model, data_sets, names):
    chosen = [i for i, value in enumerate(model.graph.input) if value.name in names]
    if not chosen or skip_reason(model) or len(data_sets) != 1:
        return model, data_sets
    result = ModelProto()
    result.CopyFrom(model)
    inputs, outputs = data_sets[0]
    for i in chosen:
        tensor = TensorProto.FromString(inputs[i])
        tensor.name = model.graph.input[i].name
        result.graph.initializer.append(tensor)
    kept = [i for i in range(len(model.graph.input)) if i not in chosen]
    del result.graph.input[:]
    result.graph.input.extend(model.graph.input[i] for i in kept)
    return result, [([inputs[i] for i in kept], outputs)]


def numbered(folder, prefix):
    return [p.read_bytes() for p in sorted(folder.glob(prefix + "_*.pb"),
                                           key=lambda p: int(p.stem.rsplit("_", 1)[1]))]


def upgraded(model):
    opsets = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if not opsets or opsets[0] >= OLDEST_OPSET:
        return model
    return version_converter.convert_version(model, OLDEST_OPSET)


def packaged_cases(suite):
    for test in sorted(load_model_tests(kind=suite), key=lambda test: test.name):
        folder = pathlib.Path(test.model_dir)
        model = upgraded(onnx.load(folder / "model.onnx"))
        sets = [(numbered(d, "input"), numbered(d, "output"))
                for d in sorted(folder.glob("test_data_set_*"))]
        yield Case(suite, test.name, *with_constants(model, sets, parameter_names(model)),
                   test.rtol, test.atol)


def light_cases():
    """The topologies with weights that the graph makes; inputs as the package's runner makes them."""
    package = pathlib.Path(onnx.__file__).parent.parent
    for test in sorted(load_model_tests(kind="real"), key=lambda test: test.name):
        path = package / test.url
        model = onnx.load(path)
        initialized = {tensor.name for tensor in model.graph.initializer}
        inputs = [Runner.generate_dummy_data(value, seed=0, name=test.model_name, random=False)
                  for value in model.graph.input if value.name not in initialized]
        outputs = [path.with_name(f"{path.stem}_output_{i}.pb").read_bytes()
                   for i in range(len(model.graph.output))]
        sets = [([numpy_helper.from_array(x).SerializeToString() for x in inputs], outputs)]
        yield Case("real", test.name, model, sets, test.rtol, test.atol)


def cases(suite):
    if suite == "node":
        return node_cases()
    if suite == "real":
        return light_cases()
    return packaged_cases(suite)


def write(case, root):
    folder = root / case.suite / case.name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for k, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{k}"
        data.mkdir()
        for kind, tensors in (("input", inputs), ("output", outputs)):
            for i, tensor in enumerate(tensors):
                (data / f"{kind}_{i}.pb").write_bytes(tensor)
    types = [BORDER_NAMES.get(TensorProto.DataType.Name(o.type.tensor_type.elem_type), "?")
             for o in case.model.graph.output]
    return "\t".join([case.suite, case.name, str(case.rtol), str(case.atol),
                      skip_reason(case.model), ",".join(operators(case.model)), ",".join(types)])


def main(folder):
    script = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:12]
    version = f"{onnx.__version__}-{script}"
    root = folder / version
    if not (root / "index.tsv").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        lines = [write(case, root) for suite in SUITES for case in cases(suite)]
        (root / "index.tsv").write_text("\n".join(lines) + "\n")
    current = folder / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(version)
    print(root, sum(1 for _ in (root / "index.tsv").open()), "cases")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the cases divide by zero on purpose
    main(pathlib.Path(sys.argv[1]))
