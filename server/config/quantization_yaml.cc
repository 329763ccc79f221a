#include "server/config/quantization_yaml.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/config/fields.h"

namespace octet::server {

std::string QuantizationYaml(const QuantizationConfig& quantization) {
  std::string text = "quantization:\n";
  VisitFields(QuantizationFields(), quantization, "", {[&](const Setting& setting) {
                const auto depth =
                    static_cast<size_t>(std::count(setting.path.begin(), setting.path.end(), '.'));
                const std::string indent(2 * depth + 2, ' ');
                const std::string key = setting.path.substr(setting.path.rfind('.') + 1);
                if (setting.kind == Setting::Kind::kSection) {
                  absl::StrAppend(&text, indent, key, ":\n");
                } else if (setting.value != "none") {
                  absl::StrAppend(&text, indent, key, ": ", setting.value, "\n");
                }
              }});
  return text;
}

}  // namespace octet::server
