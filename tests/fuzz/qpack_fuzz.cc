// Any bytes as a .qpack file, and as each of its parts: no crash, no more memory than the file asks
// for, and an error that says what is wrong; what is taken can be written and read again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "base/sha256.h"
#include "graph/graph.h"
#include "kernels/operator.h"
#include "runtime/fingerprint.h"
#include "runtime/network_delta.h"
#include "runtime/quantized_pack.h"

namespace {

using octet::runtime::DecodePack;
using octet::runtime::EncodePack;

absl::StatusOr<octet::runtime::QuantizedPack> Decode(const std::string& bytes) {
  return DecodePack(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

void Check(const std::string& bytes) {
  const auto pack = Decode(bytes);
  if (!pack.ok()) {
    if (pack.status().message().empty()) std::abort();
    return;
  }
  const std::string again = EncodePack(*pack);
  const auto copy = Decode(again);
  if (!copy.ok() || EncodePack(*copy) != again) std::abort();
}

std::string Digest(absl::string_view bytes) {
  const auto digest = octet::Sha256Of(std::as_bytes(std::span(bytes.data(), bytes.size())));
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

// With a table of one section that is right, so that what is in sections is reached, too.
std::string WithTable(absl::string_view name, absl::string_view section) {
  std::string file = "OCTQPACK";
  const auto add = [&file](auto number) {
    file.append(reinterpret_cast<const char*>(&number), sizeof(number));
  };
  add(uint32_t{1});
  add(uint32_t{1});
  std::string padded(name);
  padded.resize(8);
  file += padded;
  add(uint64_t{section.size()});
  file += Digest(section);
  file += Digest(file);
  file.append(section.data(), section.size());
  return file;
}

// One product, whose quantized form is in the corpus.
const octet::graph::Graph& Base() {
  static const auto* const kBase = [] {
    using octet::graph::ValueId;
    auto* const graph = new octet::graph::Graph(octet::kernels::Registry());
    const octet::graph::TensorType type{octet::DataType::kFloat32, {1, 4}, std::nullopt};
    const ValueId x = graph->AddInput({}, "x", type);
    const ValueId w =
        graph->AddConstant("w", octet::Tensor::Of<float>({4, 4}, {1, 2, 3, 4, 5, 6, 7, 8,  //
                                                                  9, 8, 7, 6, 5, 4, 3, 2}));
    const ValueId y = graph->Apply("MatMul", "product", {x, w}, {}, type);
    graph->AddOutput(y, "y", octet::DataType::kFloat32);
    return graph;
  }();
  return *kBase;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  Check(std::string(bytes));
  // A network with one input and one constant to refer to.
  const octet::graph::Graph& base = Base();
  const auto network =
      octet::runtime::DecodeNetwork(std::as_bytes(std::span(bytes.data(), bytes.size())), base);
  if (network.ok()) {
    const std::string again =
        octet::runtime::EncodeNetwork(*network, octet::runtime::ConstantsOf(base));
    const auto copy =
        octet::runtime::DecodeNetwork(std::as_bytes(std::span(again.data(), again.size())), base);
    if (!copy.ok() || octet::runtime::Fingerprint(*copy) != octet::runtime::Fingerprint(*network)) {
      std::abort();
    }
  }
  for (const char* name : {"key", "report", "smooth", "digest", "network"}) {
    Check(WithTable(name, bytes));
  }
  return 0;
}
