#include "server/config/unsupported.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace octet::server {
namespace {

// "layers[3].weights" -> "layers.weights", "models[0].quantization.bits" -> "quantization.bits".
std::string Normalized(absl::string_view path) {
  std::string result;
  bool inside_brackets = false;
  for (const char c : path) {
    if (c == '[') inside_brackets = true;
    if (!inside_brackets) result.push_back(c);
    if (c == ']') inside_brackets = false;
  }
  return std::string(absl::StripPrefix(result, "models."));
}

bool Listed(absl::string_view setting) {
  return std::any_of(UnsupportedSettings().begin(), UnsupportedSettings().end(),
                     [&](const std::string& row) {
                       absl::string_view prefix = row;
                       return absl::ConsumeSuffix(&prefix, "*") ? absl::StartsWith(setting, prefix)
                                                                : setting == prefix;
                     });
}

}  // namespace

const std::vector<std::string>& UnsupportedSettings() {
  static const auto* const kSettings = new std::vector<std::string>{
      "quantization.weights.expand: float",        "quantization.transforms.attention_matmul: int8",
      "quantization.calibration.source: bn_stats", "quantization.calibration.batch",
      "quantization.accuracy.metric: custom:*",
  };
  return *kSettings;
}

bool IsUnsupportedKey(absl::string_view path) { return Listed(Normalized(path)); }

bool IsUnsupportedValue(absl::string_view path, absl::string_view value) {
  return Listed(absl::StrCat(Normalized(path), ": ", value));
}

}  // namespace octet::server
