"""Recurrent operators in the forms that ONNX's own cases leave out, for make_ort_cases.py."""

import numpy as np

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 19
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}


def recurrent(make_graph, normal, op, name, direction="forward", lengths=None, bias=True,
              initial=True, peepholes=False, outputs=None, steps=STEPS, **attributes):
    """One node; all weights are constants, the other operands inputs of the model."""
    directions, rows = 1 + (direction == "bidirectional"), GATES[op] * HIDDEN
    g = make_graph(14)
    inputs = [g.input("x", normal(steps, BATCH, INPUTS)),
              g.constant(normal(directions, rows, INPUTS, scale=0.5)),
              g.constant(normal(directions, rows, HIDDEN, scale=0.3)),
              g.constant(normal(directions, 2 * rows, scale=0.5)) if bias else "",
              g.input("lengths", np.array(lengths, np.int32)) if lengths else ""]
    states = 2 if op == "LSTM" else 1
    for i in range(states):
        inputs.append(g.input(f"initial{i}", normal(directions, BATCH, HIDDEN, scale=0.5))
                      if initial else "")
    if peepholes:
        inputs.append(g.constant(normal(directions, 3 * HIDDEN, scale=0.5)))
    results = g.node(op, inputs, 1 + states, domain="", hidden_size=HIDDEN, direction=direction,
                     **attributes)
    wanted = range(1 + states) if outputs is None else outputs
    return g.case(f"recurrent_{op.lower()}_{name}", *(results[i] for i in wanted))


def make(make_graph, normal):
    def case(op, name, **arguments):
        return recurrent(make_graph, normal, op, name, **arguments)

    for op in GATES:
        for direction in ("forward", "reverse", "bidirectional"):
            yield case(op, direction, direction=direction)
            yield case(op, f"{direction}_lengths", direction=direction, lengths=[5, 2, 4])
        yield case(op, "bare", bias=False, initial=False)
        yield case(op, "last_state", outputs=[1])
        yield case(op, "long", steps=300, direction="bidirectional")
        yield case(op, "clip", clip=0.4)
        functions = ["HardSigmoid", "ScaledTanh", "LeakyRelu"][-FUNCTIONS[op]:]
        yield case(op, "functions", activations=functions,
                   activation_alpha={"RNN": [0.2], "GRU": [0.7, 0.2],
                                     "LSTM": [0.3, 0.7, 0.2]}[op],
                   **{"RNN": {}, "GRU": {"activation_beta": [0.6]},
                      "LSTM": {"activation_beta": [0.4, 0.6]}}[op])
    for function, parameters in (
            ("Sigmoid", {}), ("Relu", {}), ("Affine", {"alpha": 0.3, "beta": 0.1}),
            ("ThresholdedRelu", {"alpha": 0.2}), ("ScaledTanh", {"alpha": 0.8, "beta": 0.5}),
            ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("Elu", {"alpha": 0.6}),
            ("Softsign", {}), ("Softplus", {})):
        values = {f"activation_{key}": [value] for key, value in parameters.items()}
        yield case("RNN", f"with_{function.lower()}", activations=[function], **values)
    for direction in ("forward", "reverse", "bidirectional"):
        yield case("GRU", f"linear_before_reset_{direction}", direction=direction,
                   linear_before_reset=1)
        yield case("LSTM", f"peepholes_{direction}", direction=direction, peepholes=True)
    yield case("GRU", "linear_before_reset_bare", bias=False, linear_before_reset=1)
    yield case("LSTM", "input_forget", input_forget=1)
