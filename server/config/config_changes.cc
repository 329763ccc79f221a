#include "server/config/config_changes.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/config/fields.h"

namespace octet::server {
namespace {

bool HasValue(const Setting& setting) {
  return setting.kind == Setting::Kind::kValue || setting.kind == Setting::Kind::kList;
}

}  // namespace

std::vector<SettingChange> ChangedSettings(const Config& before, const Config& after) {
  std::map<std::string, std::string> values;
  VisitFields(ConfigFields(), before, "",
              {[&](const Setting& setting) { values[setting.path] = setting.value; }});
  std::vector<SettingChange> changes;
  VisitFields(ConfigFields(), after, "", {[&](const Setting& setting) {
                if (!HasValue(setting) || setting.path == "models") return;
                const std::string& value = values[setting.path];
                if (value != setting.value) changes.push_back({setting.path, value, setting.value});
              }});
  return changes;
}

bool NeedsRestart(absl::string_view path) {
  return path == "model_repository" || absl::StartsWith(path, "server.") ||
         absl::StartsWith(path, "log.");
}

std::string LoadedSettings(const ModelConfig& model) {
  std::string text;
  VisitFields(ModelFields(), model, "", {[&](const Setting& setting) {
                if (!HasValue(setting)) return;
                for (const char* other : {"name", "path", "version_policy"}) {
                  if (setting.path == other) return;
                }
                absl::StrAppend(&text, setting.path, ": ", setting.value, "\n");
              }});
  return text;
}

}  // namespace octet::server
