#include "runtime/quantized_pack.h"

#include <cmath>
#include <cstdlib>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/binary_form.h"
#include "runtime/fingerprint.h"
#include "runtime/network_delta.h"
#include "runtime/quantize_report.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using ::testing::HasSubstr;
using testing::RandomFloats;

testing::GraphBuilder::Finished Network() {
  testing::GraphBuilder builder;
  graph::ValueId value = builder.Input("x", {kUnknownDim, 24});
  for (const char* name : {"first", "second"}) {
    value = builder.Apply(
        "MatMul", name,
        {value, builder.Constant(absl::StrCat(name, ".w"), RandomFloats({24, 24}, name[0], 0.2f))});
    value = builder.Apply("Relu", absl::StrCat(name, ".relu"), {value});
  }
  builder.Output(value, "y");
  return builder.Finish(/*optimize=*/true);
}

QuantizedModel Quantized(const testing::GraphBuilder::Finished& network) {
  CalibrationData data{.source = "memory"};
  for (uint32_t i = 0; i < 12; ++i) data.samples.push_back({RandomFloats({1, 24}, 40 + i)});
  auto quantized = QuantizeModel(network.graph, network.example_shapes, data, {});
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return *std::move(quantized);
}

QuantizedPack Pack() {
  const auto network = Network();
  QuantizedModel quantized = Quantized(network);
  quantized.report.transforms = {"smooth_quant(0.8)"};
  quantized.report.warnings = {"first", "second"};
  return {.key = {"network", "data", "settings", "avx2", "build"},
          .report = quantized.report,
          .smoothing = {{graph::ValueId{3}, {0.5f, 2.0f}}},
          .network = EncodeNetwork(quantized.graph, ConstantsOf(network.graph)),
          .fingerprint = "made"};
}

absl::StatusOr<QuantizedPack> Decode(const std::string& bytes) {
  return DecodePack(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

TEST(QuantizedPack, HasWhatWasDecidedAndReported) {
  const QuantizedPack pack = Pack();
  const auto copy = Decode(EncodePack(pack));
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(copy->key, pack.key);
  EXPECT_EQ(copy->fingerprint, "made");
  EXPECT_EQ(copy->network, pack.network);
  EXPECT_EQ(ReportText(copy->report), ReportText(pack.report));
  ASSERT_EQ(copy->smoothing.size(), 1u);
  EXPECT_EQ(copy->smoothing[0].value, graph::ValueId{3});
  EXPECT_EQ(copy->smoothing[0].factors, pack.smoothing[0].factors);
}

TEST(QuantizedPack, EveryBitCounts) {
  const std::string bytes = EncodePack(Pack());
  for (size_t i = 0; i < bytes.size(); i += i < 400 ? 1 : 37) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    EXPECT_FALSE(Decode(damaged).ok()) << "byte " << i;
  }
}

TEST(QuantizedPack, EveryLengthCounts) {
  const std::string bytes = EncodePack(Pack());
  for (size_t size = 0; size < bytes.size(); size += size < 400 ? 1 : 37) {
    EXPECT_FALSE(Decode(bytes.substr(0, size)).ok()) << size << " bytes";
  }
  EXPECT_THAT(std::string(Decode(bytes + "x").status().message()), HasSubstr("after its end"));
}

TEST(QuantizedPack, AnotherFormIsNotDamaged) {
  std::string bytes = EncodePack(Pack());
  bytes[8] = 9;
  const absl::Status status = Decode(bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("form 9"));
  EXPECT_THAT(std::string(Decode("ONNX").status().message()), HasSubstr("not a .qpack file"));
}

TEST(QuantizedPack, SaysWhatIsDifferent) {
  const PackKey key = {"network", "data", "settings", "avx2", "build 1"};
  EXPECT_EQ(Difference(key, key), "");
  PackKey other = key;
  other.data = "more";
  other.processor = "avx512_core";
  EXPECT_EQ(Difference(other, key),
            "the calibration data is another, it is for avx512_core, the processor is avx2");
}

// A length that promises more than there is must not be believed.
TEST(BinaryForm, FalseLengthsEndWithTheBytes) {
  BinaryWriter writer;
  writer(uint64_t{1} << 60, 1.0f);
  const auto bytes = std::as_bytes(std::span(writer.bytes().data(), writer.bytes().size()));
  std::vector<float> numbers;
  std::vector<std::string> texts;
  std::string text;
  Shape shape;
  for (const int what : {0, 1, 2, 3}) {
    BinaryReader reader(bytes);
    if (what == 0) reader(numbers);
    if (what == 1) reader(texts);
    if (what == 2) reader(text);
    if (what == 3) reader(shape);
    EXPECT_FALSE(reader.Finish()) << what;
  }
}

class NetworkDelta : public ::testing::Test {
 protected:
  absl::StatusOr<graph::Graph> Decode(const std::string& bytes) const {
    return DecodeNetwork(std::as_bytes(std::span(bytes.data(), bytes.size())), network_.graph);
  }
  // What an encoder would make of the network after `change`.
  void ExpectRefused(const std::function<void(graph::Graph&)>& change, const std::string& why) {
    graph::Graph changed = quantized_.graph;
    change(changed);
    const absl::Status status =
        Decode(EncodeNetwork(changed, ConstantsOf(network_.graph))).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
  }
  // The first value whose codes have as many scales.
  static graph::QuantParams& Quantizer(graph::Graph& graph, size_t scales) {
    for (size_t i = 0; i < graph.value_count(); ++i) {
      auto& quant = graph.mutable_type(static_cast<graph::ValueId>(i)).quant;
      if (quant && quant->scales.size() == scales) return *quant;
    }
    ADD_FAILURE() << "no value has " << scales << " scales";
    std::abort();
  }

  const testing::GraphBuilder::Finished network_ = Network();
  const QuantizedModel quantized_ = Quantized(network_);
  const std::string bytes_ = EncodeNetwork(quantized_.graph, ConstantsOf(network_.graph));
};

TEST_F(NetworkDelta, IsTheSameNetwork) {
  const absl::StatusOr<graph::Graph> copy = Decode(bytes_);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(Fingerprint(*copy), Fingerprint(quantized_.graph));
  EXPECT_EQ(graph::ToText(*copy), graph::ToText(quantized_.graph));
  EXPECT_EQ(EncodeNetwork(*copy, ConstantsOf(network_.graph)), bytes_);
}

TEST_F(NetworkDelta, HasNoConstantsOfTheBase) {
  const Tensor& weights =
      *network_.graph.value(network_.graph.node(network_.graph.Nodes()[0]).inputs[1]).constant;
  const std::string floats(reinterpret_cast<const char*>(weights.data()), weights.byte_size());
  const KnownConstants known = ConstantsOf(network_.graph);
  const std::string base = EncodeNetwork(network_.graph, known);
  EXPECT_EQ(base.find(floats), std::string::npos);
  EXPECT_EQ(bytes_.find(floats), std::string::npos);
  EXPECT_NE(EncodeNetwork(network_.graph, {}).find(floats), std::string::npos);
  EXPECT_EQ(Fingerprint(*Decode(base)), Fingerprint(network_.graph));
}

TEST_F(NetworkDelta, IsNotOfAnotherModel) {
  testing::GraphBuilder builder;
  builder.Output(builder.Apply("Relu", "relu", {builder.Input("x", {kUnknownDim, 7})}), "y");
  const auto other = builder.Finish(true);
  const auto bytes = std::as_bytes(std::span(bytes_.data(), bytes_.size()));
  EXPECT_EQ(DecodeNetwork(bytes, other.graph).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(NetworkDelta, RefusesWhatNoQuantizerMakes) {
  for (const float scale : {0.0f, -1.0f, NAN, INFINITY}) {
    ExpectRefused([&](graph::Graph& graph) { Quantizer(graph, 24).scales[5] = scale; },
                  "finite positive scales");
    ExpectRefused([&](graph::Graph& graph) { Quantizer(graph, 1).scales[0] = scale; },
                  "finite positive scales");
  }
  ExpectRefused([](graph::Graph& graph) { Quantizer(graph, 1).zero_points[0] = 256; },
                "zero points");
  ExpectRefused([](graph::Graph& graph) { Quantizer(graph, 24).scales.pop_back(); },
                "that fit its shape");
  ExpectRefused([](graph::Graph& graph) { Quantizer(graph, 24).axis = 2; }, "that fit its shape");
  ExpectRefused([](graph::Graph& graph) { graph.mutable_node(graph.Nodes()[0]).op = "Conjure"; },
                "operator Conjure is unknown");
  ExpectRefused(
      [](graph::Graph& graph) {
        graph.mutable_node(graph.Nodes()[0]).fused.push_back({.op = "Add", .input = 9});
      },
      "reads or makes what is not there");
  ExpectRefused(
      [](graph::Graph& graph) {
        graph.mutable_node(graph.Nodes()[0]).outputs[0] = graph.inputs()[0].value;
      },
      "reads or makes what is not there");
}

TEST_F(NetworkDelta, EveryLengthCounts) {
  for (size_t size = 0; size < bytes_.size(); ++size) {
    EXPECT_FALSE(Decode(bytes_.substr(0, size)).ok()) << size << " bytes";
  }
}

}  // namespace
}  // namespace octet::runtime
