#include "quant/embeddings.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/quantize_model.h"
#include "tests/support/graph_builder.h"
#include "tests/support/random_tensor.h"

namespace octet::runtime {
namespace {

using graph::ValueId;
using testing::GraphBuilder;
using ::testing::HasSubstr;
using testing::RandomFloats;

constexpr int64_t kRows = 600, kColumns = 40;

Tensor Table() {
  Tensor table = RandomFloats({kRows, kColumns}, 3);
  const auto values = table.MutableAs<float>();
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t c = 0; c < kColumns; ++c) {
      // Rows of very different sizes, and one of zeros.
      values[row * kColumns + c] *= row == 7 ? 0 : std::pow(10.0f, static_cast<float>(row % 5 - 2));
    }
  }
  return table;
}

// Rows of a table, and a layer behind them.
struct Words {
  explicit Words(const Tensor& table, int64_t axis = 0) {
    ids = builder.Input("ids", {kUnknownDim, kUnknownDim}, DataType::kInt64);
    words = builder.Constant("words", table);
    rows = builder.Apply("Gather", "gather", {words, ids}, {{"axis", axis}});
    builder.Output(rows, "rows");
  }
  GraphBuilder builder;
  ValueId ids{}, words{}, rows{};
};

TEST(QuantizeEmbeddings, RowsAreWithinHalfAStepOfTheirOwn) {
  const Tensor table = Table();
  graph::Graph graph = Words(table).builder.Finish().graph;
  quant::EmbeddingsById known;
  const auto tables = quant::QuantizeEmbeddings(false, known, graph);
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_EQ(*tables, 1);
  EXPECT_TRUE(graph.Verify().ok());
  EXPECT_TRUE(graph.NodesOfType("Gather").empty());
  const std::vector<int64_t> ids = {0, 7, 599, -1, 123, 124, 125, 126, -600, 7};
  kernels::WeightCache weights;
  const std::vector<std::vector<Tensor>> samples = {{Tensor::Of<int64_t>({2, 5}, ids)}};
  const auto outputs = RunAll(graph, samples, weights);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const Tensor& rows = (*outputs)[0][0];
  EXPECT_EQ(rows.shape(), (Shape{2, 5, kColumns}));
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t row = ids[i] < 0 ? ids[i] + kRows : ids[i];
    const auto exact = table.As<float>().subspan(static_cast<size_t>(row * kColumns), kColumns);
    const auto actual = rows.As<float>().subspan(i * kColumns, kColumns);
    float largest = 0;
    for (const float value : exact) largest = std::max(largest, std::abs(value));
    for (size_t c = 0; c < exact.size(); ++c) {
      EXPECT_LE(std::abs(actual[c] - exact[c]), largest / 127 * 0.5001f) << row;
    }
  }
  // A row that is not there is the client's error, not another row.
  const std::vector<std::vector<Tensor>> beyond = {{Tensor::Of<int64_t>({1, 1}, {kRows})}};
  EXPECT_EQ(RunAll(graph, beyond, weights).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(QuantizeEmbeddings, OtherTablesStayAsTheyAre) {
  const auto unchanged = [](Words words) {
    graph::Graph graph = words.builder.Finish().graph;
    quant::EmbeddingsById known;
    const auto tables = quant::QuantizeEmbeddings(false, known, graph);
    return tables.ok() && *tables == 0 && !graph.NodesOfType("Gather").empty();
  };
  EXPECT_TRUE(unchanged(Words(Table(), /*axis=*/1))) << "columns";
  EXPECT_TRUE(unchanged(Words(RandomFloats({100, 40}, 1)))) << "a small table";
  EXPECT_TRUE(unchanged(Words(RandomFloats({100, 40, 40}, 1)))) << "rows of matrices";
  Words shared(Table());
  shared.builder.Output(shared.builder.Apply("Relu", "relu", {shared.words}), "y");
  EXPECT_TRUE(unchanged(std::move(shared))) << "somebody else reads it";
}

TEST(QuantizeEmbeddings, NumbersThatAreNotFiniteAreRefusedByName) {
  Tensor table = Table();
  table.MutableAs<float>()[50] = NAN;
  graph::Graph graph = Words(table).builder.Finish().graph;
  quant::EmbeddingsById known;
  const absl::Status refused = quant::QuantizeEmbeddings(false, known, graph).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("embedding table words"));
  EXPECT_TRUE(quant::QuantizeEmbeddings(true, known, graph).ok());
}

TEST(QuantizeModel, EmbeddingsAreInt8WhereLayersAre) {
  Words words(Table());
  const ValueId layer = words.builder.Apply(
      "MatMul", "layer",
      {words.rows, words.builder.Constant("w", RandomFloats({kColumns, 24}, 5, 0.2f))});
  words.builder.Output(layer, "y");
  const auto model = words.builder.Finish(/*optimize=*/true);
  const auto lookups = [&](bool embeddings, Mode mode) {
    QuantizeOptions options;
    options.mode = mode;
    options.embeddings = embeddings;
    const auto quantized = QuantizeModel(model.graph, model.example_shapes, {}, options);
    EXPECT_TRUE(quantized.ok()) << quantized.status();
    return quantized->graph.NodesOfType("octet.Embedding").size();
  };
  EXPECT_EQ(lookups(true, Mode::kInt8), 1u);
  EXPECT_EQ(lookups(false, Mode::kInt8), 0u);
  EXPECT_EQ(lookups(true, Mode::kBFloat16), 0u);
}

}  // namespace
}  // namespace octet::runtime
