#include "server/config/config_node.h"

#include <utility>

#include "absl/strings/str_split.h"
#include "server/config/spelling.h"

namespace octet::server {

const ConfigNode* ConfigNode::Find(absl::string_view name) const {
  for (const ConfigNode& child : children) {
    if (child.key == name) return &child;
  }
  return nullptr;
}

std::string ConfigNode::Describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return Quoted(scalar);
    case Kind::kSequence:
      return "a list";
    case Kind::kMapping:
      return "a section";
  }
  return "";
}

ConfigNode NodeForPath(absl::string_view path, absl::string_view value) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(path, absl::MaxSplits('.', 1));
  ConfigNode child;
  if (parts.second.empty()) {
    child.kind = ConfigNode::Kind::kScalar;
    child.scalar = std::string(value);
  } else {
    child = NodeForPath(parts.second, value);
  }
  child.key = std::string(parts.first);
  ConfigNode node;
  node.kind = ConfigNode::Kind::kMapping;
  node.children.push_back(std::move(child));
  return node;
}

}  // namespace octet::server
