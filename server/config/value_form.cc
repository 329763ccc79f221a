#include "server/config/value_form.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"

namespace octet::server {
namespace {

template <typename T>
std::optional<T> ParseNumber(absl::string_view text) {
  T value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

std::optional<std::string> PlainText(const ConfigNode& node) {
  if (node.kind != ConfigNode::Kind::kScalar || node.scalar.empty()) return std::nullopt;
  return node.scalar;
}

// As YAML: in quotes unless it can only be read as this text.
std::string TextOrNone(const std::string& value) {
  constexpr absl::string_view kPlain = "/._-*";
  if (value.empty()) return "none";
  const bool plain =
      value != "none" && !absl::EqualsIgnoreCase(value, "null") && value.front() != '*' &&
      value.front() != '-' && std::all_of(value.begin(), value.end(), [&](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(kPlain, c);
      });
  if (plain) return value;
  return absl::StrCat(
      "\"", absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}), "\"");
}

constexpr int64_t kMaxVersion = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxVersionCount = 1000;

// A folder name that is a version: a positive number.
std::optional<int64_t> ParseVersion(const ConfigNode& node) {
  return Integer<int64_t>(1, kMaxVersion).parse(node, "");
}

std::optional<VersionPolicyConfig> ParseSpecific(const ConfigNode& list) {
  if (list.kind != ConfigNode::Kind::kSequence || list.children.empty()) return std::nullopt;
  VersionPolicyConfig policy;
  policy.kind = VersionPolicyConfig::Kind::kSpecific;
  for (const ConfigNode& child : list.children) {
    const std::optional<int64_t> version = ParseVersion(child);
    if (!version.has_value()) return std::nullopt;
    policy.versions.push_back(*version);
  }
  std::sort(policy.versions.begin(), policy.versions.end());
  const auto repeated = std::unique(policy.versions.begin(), policy.versions.end());
  policy.versions.erase(repeated, policy.versions.end());
  return policy;
}

std::optional<VersionPolicyConfig> ParseVersionPolicy(const ConfigNode& node) {
  VersionPolicyConfig policy;
  if (node.scalar == "latest") return policy;
  if (node.scalar == "all") {
    policy.kind = VersionPolicyConfig::Kind::kAll;
    return policy;
  }
  if (node.kind != ConfigNode::Kind::kMapping || node.children.size() != 1) return std::nullopt;
  const ConfigNode& child = node.children.front();
  if (child.key == "specific") return ParseSpecific(child);
  if (child.key != "latest") return std::nullopt;
  const std::optional<int> count = Integer<int>(1, kMaxVersionCount).parse(child, "");
  if (!count.has_value()) return std::nullopt;
  policy.latest = *count;
  return policy;
}

std::string PrintVersionPolicy(const VersionPolicyConfig& policy) {
  switch (policy.kind) {
    case VersionPolicyConfig::Kind::kLatest:
      return policy.latest == 1 ? "latest" : absl::StrCat("{latest: ", policy.latest, "}");
    case VersionPolicyConfig::Kind::kAll:
      return "all";
    case VersionPolicyConfig::Kind::kSpecific:
      return absl::StrCat("{specific: [", absl::StrJoin(policy.versions, ", "), "]}");
  }
  return "";
}

}  // namespace

std::optional<int64_t> ParseInteger(absl::string_view text) { return ParseNumber<int64_t>(text); }

std::optional<double> ParseReal(absl::string_view text) { return ParseNumber<double>(text); }

std::string ResolvePath(const std::string& path, const std::string& folder) {
  if (folder.empty() || std::filesystem::path(path).is_absolute()) return path;
  const std::filesystem::path beside_file = std::filesystem::path(folder) / path;
  std::error_code ignored;  // a path that cannot be looked up is not there
  return std::filesystem::exists(beside_file, ignored) ? beside_file.string() : path;
}

ValueForm<double> Real(double least, double most) {
  ValueForm<double> form;
  form.text = absl::StrCat("a number from ", least, " to ", most);
  form.parse = [least, most](const ConfigNode& node, const std::string&) -> std::optional<double> {
    const std::optional<double> value =
        node.kind == ConfigNode::Kind::kScalar ? ParseReal(node.scalar) : std::nullopt;
    const bool inside = value.has_value() && *value >= least && *value <= most;  // NaN is not
    return inside ? value : std::nullopt;
  };
  form.print = [](const double& value) { return absl::StrCat(value); };
  return form;
}

ValueForm<double> RealOrAuto(double most) {
  ValueForm<double> form = Real(0, most);
  form.text = absl::StrCat("a number above 0 up to ", most, ", or auto");
  form.parse = [number = form.parse](const ConfigNode& node, const std::string& folder) {
    return node.scalar == "auto" ? std::optional<double>(0) : number(node, folder);
  };
  form.print = [print = form.print](const double& value) {
    return value == 0 ? "auto" : print(value);
  };
  return form;
}

ValueForm<bool> Boolean() {
  ValueForm<bool> form = Choice<bool>({{"true", true}, {"false", false}});
  form.text = "true or false";
  return form;
}

ValueForm<std::string> Text(std::string text) {
  ValueForm<std::string> form;
  form.text = std::move(text);
  form.parse = [](const ConfigNode& node, const std::string&) { return PlainText(node); };
  form.print = TextOrNone;
  return form;
}

ValueForm<std::string> Path(std::string text) {
  ValueForm<std::string> form;
  form.text = std::move(text);
  form.parse = [](const ConfigNode& node, const std::string& folder) -> std::optional<std::string> {
    if (node.kind == ConfigNode::Kind::kNull) return "";
    const std::optional<std::string> path = PlainText(node);
    if (!path.has_value()) return std::nullopt;
    return ResolvePath(*path, folder);
  };
  form.print = TextOrNone;
  return form;
}

ValueForm<std::string> Word(const std::vector<std::string>& words) {
  std::vector<std::pair<std::string, std::string>> choices;
  choices.reserve(words.size());
  for (const std::string& word : words) choices.emplace_back(word, word);
  return Choice<std::string>(choices);
}

ValueForm<std::vector<std::string>> Words(const std::vector<std::string>& words) {
  ValueForm<std::vector<std::string>> form;
  form.words = words;
  form.text = absl::StrCat("a list of one or more of ", absl::StrJoin(words, ", "));
  form.parse = [words](const ConfigNode& node,
                       const std::string&) -> std::optional<std::vector<std::string>> {
    if (node.kind != ConfigNode::Kind::kSequence || node.children.empty()) return std::nullopt;
    std::vector<std::string> found;
    for (const ConfigNode& child : node.children) {
      if (child.kind != ConfigNode::Kind::kScalar) return std::nullopt;
      const bool known = std::find(words.begin(), words.end(), child.scalar) != words.end();
      const bool repeated = std::find(found.begin(), found.end(), child.scalar) != found.end();
      if (!known || repeated) return std::nullopt;
      found.push_back(child.scalar);
    }
    return found;
  };
  form.print = [](const std::vector<std::string>& chosen) {
    return absl::StrCat("[", absl::StrJoin(chosen, ", "), "]");
  };
  return form;
}

ValueForm<AccuracyTargetConfig> AccuracyTargetForm() {
  ValueForm<AccuracyTargetConfig> form;
  form.text = "auto, a number from 0 to 99 or {max_drop: a number from 0 to 1}";
  form.parse = [](const ConfigNode& node,
                  const std::string& folder) -> std::optional<AccuracyTargetConfig> {
    if (node.kind == ConfigNode::Kind::kScalar && node.scalar == "auto") {
      return AccuracyTargetConfig();
    }
    AccuracyTargetConfig target;
    if (const ConfigNode* drop = node.Find("max_drop"); drop && node.children.size() == 1) {
      target.max_drop = Real(0, 1).parse(*drop, folder);
    } else {
      target.value = Real(0, 99).parse(node, folder);
    }
    if (!target.max_drop && !target.value) return std::nullopt;
    return target;
  };
  form.print = [](const AccuracyTargetConfig& target) -> std::string {
    const ValueForm<double> number = Real(0, 99);
    if (target.max_drop) return absl::StrCat("{max_drop: ", number.print(*target.max_drop), "}");
    return target.value ? number.print(*target.value) : "auto";
  };
  return form;
}

ValueForm<VersionPolicyConfig> VersionPolicyForm() {
  ValueForm<VersionPolicyConfig> form;
  form.text = "latest, {latest: N}, all or {specific: [N, ...]}";
  form.parse = [](const ConfigNode& node, const std::string&) { return ParseVersionPolicy(node); };
  form.print = PrintVersionPolicy;
  return form;
}

}  // namespace octet::server
