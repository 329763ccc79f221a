// Any bytes as an ONNX model: no crash, and parsed as protobuf does it, but for weights that are
// left in the file. What is imported is a sound graph.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "graph/onnx/import.h"
#include "graph/onnx/parse_model.h"
#include "kernels/operator.h"

namespace {

// Larger models would only be slow.
constexpr size_t kMostBytes = 1 << 20;

void CheckParsed(std::span<const std::byte> file) {
  onnx::ModelProto expected;
  const bool good =
      expected.ParseFromArray(file.data(), static_cast<int>(file.size())) && expected.has_graph();
  absl::StatusOr<octet::graph::ParsedModel> parsed = octet::graph::ParseModel(file);
  if (parsed.ok() != good) std::abort();
  if (!good) return;
  for (int i = 0; i < parsed->proto.graph().initializer_size(); ++i) {
    const auto raw = parsed->raw_data.at(static_cast<size_t>(i));
    if (raw.empty()) continue;
    parsed->proto.mutable_graph()->mutable_initializer(i)->set_raw_data(raw.data(), raw.size());
  }
  if (parsed->proto.SerializeAsString() != expected.SerializeAsString()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > kMostBytes) return 0;
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  CheckParsed(file);
  const auto model = octet::graph::ImportOnnx(file, "", octet::kernels::Registry());
  if (model.ok() ? !model->graph.Verify().ok() : model.status().message().empty()) std::abort();
  return 0;
}
