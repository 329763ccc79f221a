#include "kernels/operator.h"

#include <vector>

#include "absl/container/flat_hash_map.h"

namespace octet::kernels {

const graph::OpRegistry& Registry() {
  static const auto* const kRegistry = [] {
    std::vector<const graph::OpSchema*> schemas;
    for (const std::span<const Operator> family : OperatorTable()) {
      for (const Operator& op : family) schemas.push_back(&op.schema);
    }
    return new graph::OpRegistry(std::move(schemas));
  }();
  return *kRegistry;
}

const Operator& OperatorOf(const graph::OpSchema& schema) {
  static const auto* const kOperators = [] {
    auto* operators = new absl::flat_hash_map<const graph::OpSchema*, const Operator*>();
    for (const std::span<const Operator> family : OperatorTable()) {
      for (const Operator& op : family) operators->emplace(&op.schema, &op);
    }
    return operators;
  }();
  return *kOperators->at(&schema);
}

}  // namespace octet::kernels
