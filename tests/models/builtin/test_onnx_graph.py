"""A graph built node by node computes what its nodes say."""

import numpy as np

from megastyle_cli.models.builtin.onnx_graph import add, finish_graph, open_session, start_graph


def test_a_graph_computes_its_outputs_in_order() -> None:
    graph = start_graph("test", "x", (None, 3))
    doubled = add(graph, "Mul", "x", np.array(2, np.float32))
    summed = add(graph, "Add", doubled, "x")
    session = open_session(finish_graph(graph, {summed: (None, 3), doubled: (None, 3)}))
    x = np.random.default_rng(0).random((4, 3)).astype(np.float32)

    outputs = session.run(None, {"x": x})

    assert np.allclose(outputs[0], 3 * x) and np.allclose(outputs[1], 2 * x)


def test_attributes_reach_their_node() -> None:
    graph = start_graph("test", "x", (2, 3))
    session = open_session(finish_graph(graph, {add(graph, "Softmax", "x", axis=0): (2, 3)}))

    (shares,) = session.run(None, {"x": np.eye(2, 3, dtype=np.float32)})

    assert np.allclose(shares.sum(axis=0), 1)


def test_a_session_runs_on_one_thread() -> None:
    graph = start_graph("test", "x", (1,))
    session = open_session(finish_graph(graph, {add(graph, "Relu", "x"): (1,)}))

    options = session.get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
