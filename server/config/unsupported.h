// Keys and values that the quantization specification names and this version does not have yet.
// They are refused with words of their own, so that nobody takes them for misspelt or for heard.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace octet::server {

// `path` as in error messages: "quantization.bits", "models[2].quantization.bits".
bool IsUnsupportedKey(absl::string_view path);

// The value `value` of the known key `path`.
bool IsUnsupportedValue(absl::string_view path, absl::string_view value);

// All of them, "key" or "key: value", for the reference.
const std::vector<std::string>& UnsupportedSettings();

}  // namespace octet::server
