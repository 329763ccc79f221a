// A YAML document as a plain tree, with the line of everything in it.
//
// Only what a configuration needs: no anchors, tags or non-scalar keys, and no key twice. Depth and
// size are bounded by the reader.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace octet::server {

struct ConfigNode {
  enum class Kind : uint8_t { kNull, kScalar, kSequence, kMapping };

  Kind kind = Kind::kNull;
  std::string key;     // in a mapping: this value's key
  int key_line = 0;    // 1-based
  int line = 0;        // 1-based; of the key where this is a mapping or sequence under one
  std::string scalar;  // kScalar
  std::vector<ConfigNode> children;

  // The value of `name` in a mapping, or null.
  const ConfigNode* Find(absl::string_view name) const;

  // For error messages: "'text'", "a list", "a section", "nothing".
  std::string Describe() const;
};

// The mapping {a: {b: value}} for the path "a.b": how a flag is read by the rows of a file.
ConfigNode NodeForPath(absl::string_view path, absl::string_view value);

}  // namespace octet::server
