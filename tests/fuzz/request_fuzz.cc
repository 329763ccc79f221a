// A ModelInferRequest as it comes from the network, cut into slices: split, parsed and checked
// against a model. The first byte says how the others are cut.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "google/protobuf/stubs/logging.h"
#include "server/grpc/request_decoder.h"
#include "server/grpc/request_wire.h"

namespace octet::server {
namespace {

const std::vector<runtime::TensorSpec>& Inputs() {
  static const auto* const kInputs =
      new std::vector<runtime::TensorSpec>{{"x", DataType::kFloat32, {kUnknownDim, 4}},
                                           {"ids", DataType::kInt8, {kUnknownDim, kUnknownDim}},
                                           {"mask", DataType::kBool, {kUnknownDim}}};
  return *kInputs;
}

// What the batcher and the engine rely on.
void CheckRows(const DecodedRequest& decoded) {
  if (decoded.input.rows < 1 || decoded.input.rows > 8) std::abort();
  if (decoded.input.inputs.size() != Inputs().size()) std::abort();
  for (size_t i = 0; i < Inputs().size(); ++i) {
    const runtime::InputTensor& tensor = decoded.input.inputs[i];
    const auto expected = CheckedByteSize(Inputs()[i].dtype, tensor.shape);
    size_t received = 0;
    uint8_t sum = 0;
    for (const Piece piece : tensor.pieces) {
      received += piece.size();
      for (const std::byte byte : piece)
        sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(byte));
    }
    volatile uint8_t read_all_bytes = sum;
    static_cast<void>(read_all_bytes);
    if (!expected.ok() || received != *expected) std::abort();
    if (tensor.shape[0] != decoded.input.rows) std::abort();
  }
}

void Decode(std::span<const Piece> pieces) {
  InferRequest request;
  if (!ParseInferRequest(pieces, request).ok()) return;
  const std::vector<runtime::TensorSpec> outputs = {{"y", DataType::kFloat32, {kUnknownDim, 10}}};
  const auto decoded =
      DecodeInferRequest(request, {.inputs = Inputs(), .outputs = outputs, .max_batch_size = 8});
  if (decoded.ok()) CheckRows(*decoded);
}

}  // namespace
}  // namespace octet::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  google::protobuf::SetLogHandler(nullptr);
  if (size == 0) return 0;
  const size_t slice = 1 + data[0];
  std::vector<octet::server::Piece> pieces;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  for (size_t at = 0; at < bytes.size(); at += slice) {
    pieces.push_back(bytes.subspan(at, std::min(slice, bytes.size() - at)));
  }
  octet::server::Decode(pieces);
  return 0;
}
