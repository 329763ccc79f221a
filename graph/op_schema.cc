#include "graph/op_schema.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace octet::graph {

absl::StatusOr<std::vector<int64_t>> InferContext::ConstantInts(int index) const {
  const Tensor* tensor = constant(index);
  if (tensor == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("input ", index,
                     " depends on the request's data, but it decides the shape of "
                     "the result, which must be known before the model runs"));
  }
  if (tensor->dtype() == DataType::kInt64) {
    const auto values = tensor->As<int64_t>();
    return std::vector<int64_t>(values.begin(), values.end());
  }
  if (tensor->dtype() == DataType::kInt32) {
    const auto values = tensor->As<int32_t>();
    return std::vector<int64_t>(values.begin(), values.end());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("input ", index, " must be INT64 or INT32, not ", Name(tensor->dtype())));
}

OpRegistry::OpRegistry(std::vector<const OpSchema*> schemas) : all_(std::move(schemas)) {
  std::sort(all_.begin(), all_.end(), [](const OpSchema* a, const OpSchema* b) {
    return std::pair(a->type, a->since_version) < std::pair(b->type, b->since_version);
  });
  for (const OpSchema* schema : all_) by_type_[schema->type].push_back(schema);
}

absl::StatusOr<const OpSchema*> OpRegistry::Find(absl::string_view type, int opset) const {
  const auto found = by_type_.find(type);
  if (found == by_type_.end()) {
    return absl::UnimplementedError(absl::StrCat("operator ", type, " is not supported"));
  }
  const OpSchema* best = nullptr;
  for (const OpSchema* schema : found->second) {
    if (schema->since_version <= opset) best = schema;
  }
  if (best == nullptr) {
    return absl::UnimplementedError(absl::StrCat("operator ", type, " is supported from opset ",
                                                 found->second.front()->since_version,
                                                 ", the model has opset ", opset));
  }
  return best;
}

const OpSchema* OpRegistry::FindNewest(absl::string_view type) const {
  const auto found = by_type_.find(type);
  return found == by_type_.end() ? nullptr : found->second.back();
}

}  // namespace octet::graph
