"""ONNX networks: built node by node, and run on one thread.

Source: the operators of ONNX opset 13; ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, np.dtype[np.float32]]
Shape = Sequence[int | None]  # None: any size

OPSET = 13


def start_graph(name: str, input_name: str, shape: Shape) -> GraphProto:
    """A graph without nodes whose one input is float32 of this shape."""
    pixels = helper.make_tensor_value_info(input_name, TensorProto.FLOAT, shape)
    return GraphProto(name=name, input=[pixels])


def add(graph: GraphProto, operator: str, *inputs: str | Array, **attributes: Any) -> str:
    """Append a node and return the name of its one output.

    An input is the name of another node's output, or an array, which is stored in the graph.
    """
    names = [each if isinstance(each, str) else _store(graph, each) for each in inputs]
    output = f"{operator}_{len(graph.node)}"
    graph.node.append(helper.make_node(operator, names, [output], **attributes))
    return output


def finish_graph(graph: GraphProto, outputs: Mapping[str, Shape]) -> ModelProto:
    """A model that computes the named float32 outputs, in this order."""
    for name, shape in outputs.items():
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    # The lowest version of the format that has these operators, for older runtimes.
    return helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", OPSET)])


def open_session(model: ModelProto) -> onnxruntime.InferenceSession:
    """The model ready to run; its `run` may be called by several threads at a time."""
    options = onnxruntime.SessionOptions()
    # One thread per image: the same bits on any number of cores. Images run in parallel instead.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # hides a warning per unused stored array
    # Stored int8 weights are converted to float once, not at every run.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _store(graph: GraphProto, array: Array) -> str:
    name = f"array_{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(array, name))
    return name
