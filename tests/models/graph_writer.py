"""Writes an ONNX graph node by node, in the order of execution.

Every method returns the name of the value it made, so that a network reads as nested calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dimensions = Sequence[int | str]


class GraphWriter:
    def __init__(self, name: str, opset: int) -> None:
        self.name = name
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._used: dict[str, int] = {}

    def unique(self, name: str) -> str:
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        return f"{name}_{count}" if count else name

    def input(self, name: str, dimensions: Dimensions, data_type: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, data_type, dimensions))
        return self.unique(name)

    def output(self, name: str, dimensions: Dimensions) -> None:
        """Declares a value that a node has written as an output of the graph."""
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions))

    def weight(self, name: str, value: np.ndarray) -> str:
        name = self.unique(name)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def constant(self, value: np.ndarray) -> str:
        """A Constant node: how exporters write the small numbers inside a formula."""
        return self.node("Constant", [], value=numpy_helper.from_array(np.asarray(value)))

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def node(self, op_type: str, inputs: Sequence[str], name: str | None = None,
             **attributes: object) -> str:  # fmt: skip
        output = self.unique(name or op_type.lower())
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        return output

    def model(self, ir_version: int = 8) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, self.initializers
        )
        return helper.make_model(
            graph, producer_name="octet-tests", ir_version=ir_version,
            opset_imports=[helper.make_opsetid("", self.opset)],
        )  # fmt: skip
