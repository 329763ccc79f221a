#include "graph/node.h"

namespace octet::graph {
namespace {

template <typename T>
const T* Find(const Node& node, absl::string_view key) {
  const auto it = node.attributes.find(key);
  return it == node.attributes.end() ? nullptr : std::get_if<T>(&it->second);
}

template <typename T>
T FindOr(const Node& node, absl::string_view key, const T& fallback) {
  const T* found = Find<T>(node, key);
  return found == nullptr ? fallback : *found;
}

}  // namespace

int64_t Node::Int(absl::string_view key, int64_t fallback) const {
  return FindOr(*this, key, fallback);
}

float Node::Float(absl::string_view key, float fallback) const {
  return FindOr(*this, key, fallback);
}

std::string Node::String(absl::string_view key, absl::string_view fallback) const {
  return FindOr(*this, key, std::string(fallback));
}

std::vector<int64_t> Node::Ints(absl::string_view key) const {
  return FindOr(*this, key, std::vector<int64_t>());
}

std::vector<float> Node::Floats(absl::string_view key) const {
  return FindOr(*this, key, std::vector<float>());
}

const Tensor* Node::TensorAttribute(absl::string_view key) const {
  return Find<Tensor>(*this, key);
}

}  // namespace octet::graph
