#include "server/config/field.h"

#include <algorithm>

#include "server/config/spelling.h"
#include "server/config/unsupported.h"
#include "server/config/yaml_reader.h"

namespace octet::server {

absl::Status Reading::Error(int line, absl::string_view path, absl::string_view message) const {
  if (from_flag) return absl::InvalidArgumentError(absl::StrCat(source, ": ", message));
  return ConfigError(source, line, path, message);
}

absl::Status Reading::WrongValue(const ConfigNode& node, absl::string_view path,
                                 absl::string_view form,
                                 const std::vector<std::string>& words) const {
  const bool word = node.kind == ConfigNode::Kind::kScalar;
  if (word && IsUnsupportedValue(path, node.scalar)) {
    return Error(
        node.line, path,
        absl::StrCat(Quoted(node.scalar), " is not supported in this version; must be ", form));
  }
  return Error(node.line, path,
               absl::StrCat("must be ", form, ", not ", node.Describe(),
                            word && words.size() > 1 ? Suggestion(node.scalar, words) : ""));
}

absl::Status Reading::CheckKeys(const ConfigNode& node, absl::string_view path,
                                const std::vector<std::string>& known) const {
  if (node.kind == ConfigNode::Kind::kNull) return absl::OkStatus();
  if (node.kind != ConfigNode::Kind::kMapping) {
    return Error(node.line, path,
                 absl::StrCat("must be a section with '", known.front(),
                              ": ...' and the like, not ", node.Describe()));
  }
  for (const ConfigNode& child : node.children) {
    if (std::find(known.begin(), known.end(), child.key) != known.end()) continue;
    if (IsUnsupportedKey(JoinPath(std::string(path), child.key))) {
      return Error(child.key_line, JoinPath(std::string(path), child.key),
                   "not supported in this version");
    }
    return Error(child.key_line, path,
                 absl::StrCat("unknown key ", Quoted(child.key), Suggestion(child.key, known)));
  }
  return absl::OkStatus();
}

absl::Status Reading::CheckList(const ConfigNode& node, absl::string_view path) const {
  if (node.kind == ConfigNode::Kind::kNull || node.kind == ConfigNode::Kind::kSequence) {
    return absl::OkStatus();
  }
  return Error(node.line, path, absl::StrCat("must be a list of sections, not ", node.Describe()));
}

void Reading::Record(const ConfigNode& node, const std::string& path) const {
  if (origins == nullptr) return;
  (*origins)[path] =
      from_flag ? absl::StrCat("flag ", source) : absl::StrCat(source, " line ", node.line);
}

}  // namespace octet::server
