"""The builders make the networks they claim to make; ONNX Runtime is the judge."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from tests.models import (
    accuracy,
    bert_base,
    build,
    fetch,
    inputs,
    light,
    minilm,
    random_data,
    transformer,
)

EXPECTED_MACS = {"resnet50": 4.09e9, "mobilenet_v2": 0.30e9}  # the papers' figures
SMALL = transformer.Config(
    name="small", layers=2, hidden=32, heads=4, feed_forward=64, vocabulary=1100, positions=20,
    layer_norm_epsilon=1e-12, opset=14, pooler=True,
)  # fmt: skip


def run(model: onnx.ModelProto, feeds: random_data.Feeds) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)


# The encoder once more, straight from the papers' formulas, in float64.


def layer_norm(x: np.ndarray, tensors: transformer.Tensors, name: str) -> np.ndarray:
    normalized = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return normalized * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def linear(x: np.ndarray, tensors: transformer.Tensors, name: str) -> np.ndarray:
    return x @ tensors[f"{name}.weight"].astype(np.float64).T + tensors[f"{name}.bias"]


def self_attention(x: np.ndarray, keep: np.ndarray, tensors: transformer.Tensors, name: str,
                   head_size: int) -> np.ndarray:  # fmt: skip
    query, key, value = (
        linear(x, tensors, f"{name}.{part}") for part in ("query", "key", "value")
    )
    result = np.empty_like(x)
    for begin in range(0, x.shape[1], head_size):
        head = slice(begin, begin + head_size)
        scores = query[:, head] @ key[:, head].T / math.sqrt(head_size)
        weights = np.exp(scores - scores.max(-1, keepdims=True)) * keep
        result[:, head] = weights / weights.sum(-1, keepdims=True) @ value[:, head]
    return result


def encode_sentence(config: transformer.Config, tensors: transformer.Tensors, ids: np.ndarray,
                    mask: np.ndarray) -> np.ndarray:  # fmt: skip
    x = (
        tensors["embeddings.word_embeddings.weight"].astype(np.float64)[ids]
        + tensors["embeddings.position_embeddings.weight"][: len(ids)]
        + tensors["embeddings.token_type_embeddings.weight"][0]
    )
    x = layer_norm(x, tensors, "embeddings.LayerNorm")
    gelu = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        context = self_attention(x, mask, tensors, f"{layer}.attention.self", config.head_size)
        context = linear(context, tensors, f"{layer}.attention.output.dense")
        x = layer_norm(x + context, tensors, f"{layer}.attention.output.LayerNorm")
        hidden = gelu(linear(x, tensors, f"{layer}.intermediate.dense"))
        hidden = linear(hidden, tensors, f"{layer}.output.dense")
        x = layer_norm(x + hidden, tensors, f"{layer}.output.LayerNorm")
    return x


def encode(config: transformer.Config, tensors: transformer.Tensors,
           feeds: random_data.Feeds) -> np.ndarray:  # fmt: skip
    pairs = zip(feeds["input_ids"], feeds["attention_mask"])
    return np.stack([encode_sentence(config, tensors, ids, mask) for ids, mask in pairs])


@pytest.mark.parametrize("opset", [14, 17])
def test_encoder_computes_bert(opset: int) -> None:
    config = transformer.Config(**{**vars(SMALL), "opset": opset})
    tensors = bert_base.random_tensors(config, seed=1)
    model = transformer.encoder(config, tensors)
    onnx.checker.check_model(model, full_check=True)
    feeds = random_data.token_feeds(np.random.default_rng(2), 3, 9, config.vocabulary)
    hidden, pooled = run(model, feeds)
    expected = encode(config, tensors, feeds)
    assert accuracy.relative_error(expected, hidden) < 1e-5
    pooler = np.tanh(linear(expected[:, 0], tensors, "pooler.dense"))
    assert accuracy.relative_error(pooler, pooled) < 1e-5


def test_encoder_writes_layer_norm_as_exporters_of_its_opset_do() -> None:
    tensors = bert_base.random_tensors(SMALL, seed=1)
    old = transformer.encoder(SMALL, tensors)
    new = transformer.encoder(transformer.Config(**{**vars(SMALL), "opset": 17}), tensors)
    assert {"ReduceMean", "Pow", "Sqrt"} <= {node.op_type for node in old.graph.node}
    assert [n.op_type for n in new.graph.node].count("LayerNormalization") == 1 + 2 * SMALL.layers


def word_pieces(sentence: str, vocabulary: dict[str, int]) -> list[int]:
    """WordPiece (longest match first) for lower-case words without punctuation."""
    ids = [vocabulary["[CLS]"]]
    for word in sentence.split():
        rest, prefix = word, ""
        while rest:
            end = next(n for n in range(len(rest), 0, -1) if prefix + rest[:n] in vocabulary)
            ids.append(vocabulary[prefix + rest[:end]])
            rest, prefix = rest[end:], "##"
    return [*ids, vocabulary["[SEP]"]]


def sentence_feeds(sentences: list[str]) -> random_data.Feeds:
    vocabulary = {word: index for index, word in enumerate(minilm.vocabulary())}
    rows = [word_pieces(sentence, vocabulary) for sentence in sentences]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, pieces in zip(ids, rows):
        row[: len(pieces)] = pieces
    mask = (ids != 0).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def test_minilm_computes_its_network_and_knows_what_sentences_mean() -> None:
    feeds = sentence_feeds([
        "a man is playing a guitar on the stage",
        "someone performs music in front of people",
        "the price of crude oil fell sharply on monday",
    ])  # fmt: skip
    (hidden,) = onnxruntime.InferenceSession(build.path("minilm")).run(None, feeds)
    kept = feeds["attention_mask"][..., None]
    expected = encode(minilm.CONFIG, minilm.tensors(), feeds)
    assert accuracy.relative_error(expected * kept, hidden * kept) < 1e-4
    music, concert, oil = accuracy.masked_mean(hidden, feeds["attention_mask"])[:, None]
    assert accuracy.mean_cosine(music, concert) > 0.4
    assert accuracy.mean_cosine(music, oil) < 0.15


def macs(model: onnx.ModelProto) -> float:
    """Multiply-accumulates of Conv and Gemm at batch 1."""
    del model.graph.input[0].type.tensor_type.shape.dim[0:1]
    first = onnx.TensorShapeProto.Dimension(dim_value=1)
    model.graph.input[0].type.tensor_type.shape.dim.insert(0, first)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        info.name: [d.dim_value for d in info.type.tensor_type.shape.dim]
        for info in inferred.value_info
    }
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            pixels = math.prod(shapes[node.output[0]][2:])
            total += pixels * math.prod(weights[node.input[1]])
        elif node.op_type == "Gemm":
            total += math.prod(weights[node.input[1]])
    return total


@pytest.mark.parametrize("name", EXPECTED_MACS)
def test_image_networks_have_their_papers_size_and_a_sane_scale(name: str) -> None:
    model = onnx.load(build.path(name))
    feeds = inputs.shapes_only(name, 3)
    names = [node.output[0] for node in model.graph.node if node.op_type == "BatchNormalization"]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names)
    logits, *normalized = run(model, feeds)
    assert 0.1 < logits.std() < 10
    # scale 0.2 to 1.5 and shift 0.3 around unit variance, whatever the depth
    assert all(0.1 < values.std() < 3 for values in normalized)
    assert logits[0].argmax() != logits[1].argmax() or not np.allclose(logits[0], logits[1])
    del model.graph.output[1:]
    assert macs(model) == pytest.approx(EXPECTED_MACS[name], rel=0.05)


def test_measured_batch_norm_normalizes() -> None:
    rng = np.random.default_rng(3)
    model = build.BUILDERS["mobilenet_v2"].build()
    statistics = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer if tensor.name.startswith("norm.")
    }  # fmt: skip
    first = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(first.input[0]))
    _, values = run(model, {"input": random_data.images(rng, 8)})
    mean, variance = statistics[first.input[3]], statistics[first.input[4]]
    scale = np.sqrt(variance)
    # other images of the same kind: equal up to the sampling error
    assert np.abs(values.mean((0, 2, 3)) - mean).max() < 0.5 * scale.max()
    np.testing.assert_allclose(values.std((0, 2, 3)), scale, rtol=0.3)


@pytest.mark.parametrize("name", ["light_squeezenet", "light_resnet50"])
def test_light_topology_gives_its_expected_output(name: str) -> None:
    (actual,) = run(onnx.load(build.path(name)), light.input_of(name))
    assert accuracy.relative_error(light.expected_output(name), actual) < 1e-3


def test_every_light_topology_is_there() -> None:
    assert all(light.path(name).is_file() for name in light.NAMES)


def test_recognizer_names_all_of_its_classes() -> None:
    path = build.path("ppocr_recognizer")
    (probabilities,) = onnxruntime.InferenceSession(path).run(
        None, inputs.shapes_only("ppocr_recognizer", 1)
    )
    assert len(accuracy.ctc_characters(path)) == probabilities.shape[2]


def test_digits_example_is_accurate() -> None:
    dataset = inputs.dataset("digits")
    (logits,) = onnxruntime.InferenceSession(build.path("digits")).run(None, dataset.evaluation)
    assert accuracy.top1(logits, dataset.labels) > 0.985
    assert inputs.count(dataset.evaluation) >= 500 and inputs.count(dataset.calibration) >= 128
    seen = {image.tobytes() for image in dataset.calibration["image"]}
    assert not seen & {image.tobytes() for image in dataset.evaluation["image"]}


def test_a_wrong_hash_is_refused(tmp_path) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"not a wheel")
    with pytest.raises(fetch.FetchError, match="expected sha256 00"):
        fetch.check_hash(fetch.Package("x", "1", "00"), wheel)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="resnet50"):
        build.path("resnet51")
