// Weights that were released come from the model's files again, and from nothing else.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/load.h"
#include "tests/support/npy_writer.h"
#include "tests/support/onnx_model.h"
#include "tests/support/random_tensor.h"
#include "tests/support/temporary_directory.h"

namespace octet::runtime {
namespace {

using octet::testing::AddNode;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kPositions = 64;
constexpr int64_t kWidth = 64;

void AddInt64(onnx::GraphProto* graph, const std::string& name, int64_t value) {
  onnx::TensorProto* const tensor = graph->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::INT64);
  tensor->add_dims(1);
  tensor->add_int64_data(value);
}

std::string WeightBytes(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), tensor.byte_size()};
}

// y = x * table + table[0:length of x]: the product packs the table, so that its own bytes are
// released, and every length wants another part of them. `file` is where the table is, empty: in
// the model.
std::string Positions(const Tensor& table, const std::string& file = "") {
  onnx::ModelProto model = testing::XyModel({-1, -1, kWidth});
  onnx::GraphProto* const graph = model.mutable_graph();
  onnx::TensorProto* const weight = graph->add_initializer();
  weight->set_name("table");
  weight->set_data_type(onnx::TensorProto::FLOAT);
  weight->add_dims(kPositions);
  weight->add_dims(kWidth);
  if (file.empty()) {
    weight->set_raw_data(WeightBytes(table));
  } else {
    weight->set_data_location(onnx::TensorProto::EXTERNAL);
    auto* const location = weight->add_external_data();
    location->set_key("location");
    location->set_value(file);
  }
  AddInt64(graph, "zero", 0);
  AddInt64(graph, "one", 1);
  AddNode(graph, "Shape", {"x"}, {"shape"});
  AddNode(graph, "Gather", {"shape", "one"}, {"length"});
  AddNode(graph, "Slice", {"table", "zero", "length", "zero"}, {"part"});
  AddNode(graph, "MatMul", {"x", "table"}, {"product"});
  AddNode(graph, "Add", {"product", "part"}, {"y"});
  return model.SerializeAsString();
}

// What the model adds to zeros of this length.
absl::StatusOr<std::vector<float>> Added(const CompiledModel& model, int64_t length) {
  const Tensor x = *Tensor::Allocate(DataType::kFloat32, {1, length, kWidth});
  InputRows rows;
  rows.rows = 1;
  rows.inputs.push_back({.shape = x.shape(), .pieces = {{x.data(), x.byte_size()}}});
  const std::vector<const InputRows*> callers = {&rows};
  OCTET_ASSIGN_OR_RETURN(const auto context, model.NewContext());
  OCTET_RETURN_IF_ERROR(context->Load(callers));
  OCTET_RETURN_IF_ERROR(context->Execute());
  std::vector<float> y(static_cast<size_t>(length * kWidth));
  context->Store(0, 0, std::as_writable_bytes(std::span(y)));
  return y;
}

std::vector<float> Start(const Tensor& table, int64_t length) {
  const auto values = table.As<float>();
  return {values.begin(), values.begin() + length * kWidth};
}

class RereadTest : public ::testing::Test {
 protected:
  void ExpectRefused(const CompiledModel& model, int64_t length, const std::string& file) {
    const absl::Status status = Added(model, length).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(file), HasSubstr("load the model again")));
  }

  testing::TemporaryDirectory folder_;
  const Tensor table_ = testing::RandomFloats({kPositions, kWidth}, 1);
  const Tensor other_ = testing::RandomFloats({kPositions, kWidth}, 2);
};

TEST_F(RereadTest, OnlyTheFileThatWasLoadedWillDo) {
  const std::string path = folder_.Write("model.onnx", Positions(table_)).string();
  const auto model = LoadModel(path, {.max_batch_size = 1});
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(Added(**model, 20).value(), Start(table_, 20));

  folder_.Write("model.onnx", Positions(other_));
  ExpectRefused(**model, 30, path + ": has changed");
  EXPECT_EQ(Added(**model, 20).value(), Start(table_, 20));  // what is there still works

  folder_.Write("model.onnx", "no model any more");
  ExpectRefused(**model, 30, path + ": has changed");
  std::filesystem::remove(path);
  ExpectRefused(**model, 30, path);

  folder_.Write("model.onnx", Positions(table_));
  EXPECT_EQ(Added(**model, 30).value(), Start(table_, 30));
}

TEST_F(RereadTest, ExternalDataIsCheckedToo) {
  const std::string path = folder_.Write("model.onnx", Positions(table_, "weights.bin")).string();
  folder_.Write("weights.bin", WeightBytes(table_));
  const auto model = LoadModel(path, {.max_batch_size = 1});
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(Added(**model, 20).value(), Start(table_, 20));
  folder_.Write("weights.bin", WeightBytes(other_));
  ExpectRefused(**model, 30, "weights.bin: has changed");
  EXPECT_EQ(Added(**model, 20).value(), Start(table_, 20));
}

TEST_F(RereadTest, CalibrationSamplesAreCheckedToo) {
  const std::string path = folder_.Write("model.onnx", Positions(table_)).string();
  const auto samples = [&](uint64_t seed) {
    return testing::Npy(testing::RandomFloats({4, 8, kWidth}, seed), "<f4");
  };
  const std::string data = folder_.Write("samples.npy", samples(3)).string();
  LoadOptions options{.max_batch_size = 1, .mode = Mode::kInt8, .calibration_path = data};
  // In int8 nothing would be left to read again.
  options.quantization.layers = {{.match = "op:MatMul", .mode = Mode::kFloat32}};
  const auto model = LoadModel(path, options);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(Added(**model, 30).value(), Start(table_, 30));
  folder_.Write("samples.npy", samples(4));
  ExpectRefused(**model, 40, data + ": has changed");
  std::filesystem::remove(data);
  ExpectRefused(**model, 40, data);
}

}  // namespace
}  // namespace octet::runtime
