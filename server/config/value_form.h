// The forms that a single value can have: how it is read, how it is printed, and how an error
// message names it ("must be <text>, not ...").

#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/config/config.h"
#include "server/config/config_node.h"

namespace octet::server {

template <typename T>
struct ValueForm {
  std::string text;  // "an integer from 1 to 1024"
  // Empty if the node is not of this form. `folder` is where relative paths are looked for.
  std::function<std::optional<T>(const ConfigNode& node, const std::string& folder)> parse;
  std::function<std::string(const T&)> print;
  std::vector<std::string> words;  // what a misspelling is compared with
};

// Decimal digits with an optional minus; the whole text must be the number.
std::optional<int64_t> ParseInteger(absl::string_view text);
std::optional<double> ParseReal(absl::string_view text);

// `path` itself when absolute, when `folder` is empty, or when nothing of that name is in `folder`;
// else folder/path.
std::string ResolvePath(const std::string& path, const std::string& folder);

template <typename T>
ValueForm<T> Integer(int64_t least, int64_t most) {
  ValueForm<T> form;
  form.text = absl::StrCat("an integer from ", least, " to ", most);
  form.parse = [least, most](const ConfigNode& node, const std::string&) -> std::optional<T> {
    const std::optional<int64_t> value =
        node.kind == ConfigNode::Kind::kScalar ? ParseInteger(node.scalar) : std::nullopt;
    if (!value.has_value() || *value < least || *value > most) return std::nullopt;
    return static_cast<T>(*value);
  };
  form.print = [](const T& value) { return absl::StrCat(value); };
  return form;
}

// An integer for which 0 may be written `auto`.
template <typename T>
ValueForm<T> IntegerOrAuto(int64_t most) {
  ValueForm<T> form = Integer<T>(0, most);
  form.text = absl::StrCat("an integer from 1 to ", most, ", or auto");
  form.parse = [number = form.parse](const ConfigNode& node, const std::string& folder) {
    return node.scalar == "auto" ? std::optional<T>(0) : number(node, folder);
  };
  form.print = [](const T& value) { return value == 0 ? "auto" : absl::StrCat(value); };
  return form;
}

// One of several words that each stand for a value, the first of them the most usual.
template <typename T>
ValueForm<T> Choice(const std::vector<std::pair<std::string, T>>& choices) {
  ValueForm<T> form;
  for (const auto& [word, value] : choices) form.words.push_back(word);
  form.text = absl::StrCat("one of ", absl::StrJoin(form.words, ", "));
  form.parse = [choices](const ConfigNode& node, const std::string&) -> std::optional<T> {
    for (const auto& [word, value] : choices) {
      if (node.kind == ConfigNode::Kind::kScalar && node.scalar == word) return value;
    }
    return std::nullopt;
  };
  form.print = [choices](const T& value) {
    for (const auto& [word, meaning] : choices) {
      if (meaning == value) return word;
    }
    return std::string();
  };
  return form;
}

// A value that may be left out.
template <typename T>
ValueForm<std::optional<T>> Optional(const ValueForm<T>& form) {
  ValueForm<std::optional<T>> optional;
  optional.text = form.text;
  optional.words = form.words;
  optional.parse = [parse = form.parse](const ConfigNode& node, const std::string& folder) {
    std::optional<T> value = parse(node, folder);
    return value.has_value() ? std::make_optional(std::move(value)) : std::nullopt;
  };
  optional.print = [print = form.print](const std::optional<T>& value) {
    return value.has_value() ? print(*value) : "none";
  };
  return optional;
}

ValueForm<double> Real(double least, double most);
// A number for which 0 may be written `auto`.
ValueForm<double> RealOrAuto(double most);
ValueForm<bool> Boolean();
ValueForm<std::string> Text(std::string text);                       // one or more characters
ValueForm<std::string> Path(std::string text);                       // resolved; null: none
ValueForm<std::string> Word(const std::vector<std::string>& words);  // one of these
ValueForm<std::vector<std::string>> Words(const std::vector<std::string>& words);  // some of these
ValueForm<AccuracyTargetConfig> AccuracyTargetForm();  // auto, N, {max_drop: N}
ValueForm<VersionPolicyConfig> VersionPolicyForm();    // latest, {latest: N}, all, {specific: []}

}  // namespace octet::server
