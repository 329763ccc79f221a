// That BatchNormalization is folded where a load is told to, and not otherwise.

#include "gtest/gtest.h"
#include "runtime/evaluate.h"
#include "runtime/load.h"
#include "tests/support/onnx_model.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using octet::testing::AddNode;

constexpr int64_t kChannels = 16;

void AddFloats(onnx::GraphProto* graph, const std::string& name, const Tensor& values) {
  onnx::TensorProto* const tensor = graph->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t dim : values.shape()) tensor->add_dims(dim);
  tensor->set_raw_data(values.data(), values.byte_size());
}

// A convolution and a BatchNormalization.
std::string Normalized() {
  onnx::ModelProto model = testing::XyModel({-1, kChannels, 4, 4});
  onnx::GraphProto* const graph = model.mutable_graph();
  AddFloats(graph, "weights", testing::RandomFloats({kChannels, kChannels, 1, 1}, 1));
  for (const char* name : {"gamma", "beta", "mean"}) {
    AddFloats(graph, name, testing::RandomFloats({kChannels}, static_cast<uint32_t>(name[0])));
  }
  Tensor variance = testing::RandomFloats({kChannels}, 5);
  for (float& value : variance.MutableAs<float>()) value = 0.5f + value * value;
  AddFloats(graph, "variance", variance);
  AddNode(graph, "Conv", {"x", "weights"}, {"sum"});
  AddNode(graph, "BatchNormalization", {"sum", "gamma", "beta", "mean", "variance"}, {"y"});
  return model.SerializeAsString();
}

TEST(FoldBatchNorm, IsAMatterOfOptions) {
  testing::TemporaryDirectory folder;
  folder.Write("model.onnx", Normalized());
  const std::vector<std::vector<Tensor>> samples = {
      {testing::RandomFloats({2, kChannels, 4, 4}, 9)}};
  std::vector<std::vector<Tensor>> outputs;
  for (const bool fold : {true, false}) {
    const auto model =
        PrepareModel((folder.path() / "model.onnx").string(), {.fold_batch_norm = fold});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->graph.NodesOfType("BatchNormalization").empty(), fold);
    kernels::WeightCache weights;
    const auto run = RunAll(model->graph, samples, weights);
    ASSERT_TRUE(run.ok()) << run.status();
    outputs.push_back((*run)[0]);
  }
  EXPECT_GT(OutputSqnrDb({outputs[0]}, {outputs[1]}), 90);
}

}  // namespace
}  // namespace octet::runtime
