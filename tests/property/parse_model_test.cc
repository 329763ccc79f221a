// Large weights are left in the file when a model is parsed; nothing else is lost.

#include "graph/onnx/parse_model.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/onnx_model.h"

namespace octet::graph {
namespace {

using octet::testing::AsBytes;
using ::testing::ElementsAre;

onnx::TensorProto* AddInitializer(onnx::GraphProto& graph, const std::string& name, size_t bytes) {
  onnx::TensorProto* const tensor = graph.add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::UINT8);
  tensor->add_dims(static_cast<int64_t>(bytes));
  std::string data(bytes, 'a');
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(name[0] + i * 7);
  tensor->set_raw_data(data);
  return tensor;
}

// Weights of many kinds, before and after nodes, inputs and outputs.
onnx::ModelProto Model() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("a test");
  model.add_opset_import()->set_version(17);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("main");
  AddInitializer(graph, "large", 5000)->set_doc_string("behind the bytes");
  AddInitializer(graph, "small", 12);
  graph.add_initializer()->set_name("without bytes");
  onnx::TensorProto* const numbers = graph.add_initializer();
  numbers->set_name("numbers");
  for (int i = 0; i < 3000; ++i) numbers->add_float_data(static_cast<float>(i));
  onnx::NodeProto* const node = graph.add_node();
  node->set_op_type("Constant");
  onnx::AttributeProto* const value = node->add_attribute();
  value->set_name("value");
  value->mutable_t()->set_raw_data(std::string(6000, 'c'));
  AddInitializer(graph, "z, large too", 70'000);
  graph.add_input()->set_name("x");
  graph.add_output()->set_name("y");
  model.set_doc_string("at the end");
  return model;
}

// The model with the bytes that were left in the file.
onnx::ModelProto Whole(const ParsedModel& parsed) {
  onnx::ModelProto model = parsed.proto;
  for (int i = 0; i < model.graph().initializer_size(); ++i) {
    const auto raw = parsed.raw_data.at(static_cast<size_t>(i));
    if (raw.empty()) continue;
    model.mutable_graph()->mutable_initializer(i)->set_raw_data(raw.data(), raw.size());
  }
  return model;
}

std::vector<size_t> SizesLeft(const ParsedModel& parsed) {
  std::vector<size_t> sizes;
  sizes.reserve(parsed.raw_data.size());
  for (const auto& raw : parsed.raw_data) sizes.push_back(raw.size());
  return sizes;
}

TEST(ParseModelTest, LeavesLargeWeightsInTheFile) {
  const std::string file = Model().SerializeAsString();
  const auto parsed = ParseModel(AsBytes(file));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(SizesLeft(*parsed), ElementsAre(5000, 0, 0, 0, 70'000));
  for (const int i : {0, 4}) EXPECT_FALSE(parsed->proto.graph().initializer(i).has_raw_data());
  for (const auto& raw : parsed->raw_data) {
    if (raw.empty()) continue;
    const auto* const at = reinterpret_cast<const char*>(raw.data());
    EXPECT_TRUE(at >= file.data() && at + raw.size() <= file.data() + file.size());
  }
  EXPECT_EQ(Whole(*parsed).SerializeAsString(), file);
}

TEST(ParseModelTest, PartsInSeveralPiecesAreOne) {
  onnx::ModelProto more;
  AddInitializer(*more.mutable_graph(), "q", 4096);
  std::string file = Model().SerializeAsString() + more.SerializeAsString();
  file += "\xf8\x7f\x05";              // a number in a field that nobody knows
  file += "\xf3\x7f\x08\x01\xf4\x7f";  // and a group
  onnx::ModelProto expected;
  ASSERT_TRUE(expected.ParseFromString(file));
  const auto parsed = ParseModel(AsBytes(file));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(SizesLeft(*parsed), ElementsAre(5000, 0, 0, 0, 70'000, 4096));
  EXPECT_EQ(Whole(*parsed).SerializeAsString(), expected.SerializeAsString());
}

// A tensor with its raw_data twice: protobuf takes the last.
TEST(ParseModelTest, TheLastBytesCount) {
  for (const auto& [first, second] :
       {std::pair(9000, 5000), std::pair(9000, 8), std::pair(8, 9000), std::pair(9000, 0)}) {
    onnx::TensorProto one, other;
    one.set_raw_data(std::string(static_cast<size_t>(first), 'x'));
    other.set_raw_data(std::string(static_cast<size_t>(second), 'y'));
    // The name's field becomes the tensor itself: graph { initializer { bytes } }.
    onnx::GraphProto graph;
    graph.set_name(one.SerializeAsString() + other.SerializeAsString());
    std::string inside = graph.SerializeAsString();
    inside[0] = 5 << 3 | 2;  // from GraphProto.name to GraphProto.initializer
    onnx::ModelProto around;
    around.set_producer_name(inside);
    std::string file = around.SerializeAsString();
    file[0] = 7 << 3 | 2;  // from ModelProto.producer_name to ModelProto.graph
    onnx::ModelProto expected;
    ASSERT_TRUE(expected.ParseFromString(file));
    ASSERT_EQ(expected.graph().initializer(0).raw_data().size(), static_cast<size_t>(second));
    const auto parsed = ParseModel(AsBytes(file));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(Whole(*parsed).SerializeAsString(), expected.SerializeAsString());
  }
}

TEST(ParseModelTest, DamagedFilesAreWhatProtobufSaysTheyAre) {
  onnx::ModelProto model = Model();
  model.mutable_graph()->mutable_initializer()->RemoveLast();
  const std::string whole = model.SerializeAsString();
  int taken = 0;
  const auto check = [&](const std::string& file, size_t at) {
    onnx::ModelProto expected;
    const bool good = expected.ParseFromString(file) && expected.has_graph();
    const auto parsed = ParseModel(AsBytes(file));
    ASSERT_EQ(parsed.ok(), good) << "byte " << at;
    if (!good) return;
    ++taken;
    EXPECT_EQ(Whole(*parsed).SerializeAsString(), expected.SerializeAsString()) << "byte " << at;
  };
  for (size_t size = 0; size < whole.size(); size += size < 64 ? 1 : 13) {
    check(whole.substr(0, size), size);
  }
  for (size_t at = 0; at < whole.size(); at += at < 64 ? 1 : 29) {
    for (const int change : {1, 8, 128}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ change);
      check(damaged, at);
    }
  }
  EXPECT_GT(taken, 100);
}

}  // namespace
}  // namespace octet::graph
