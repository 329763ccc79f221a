// Writes JSON as text: keys in the order they come in, indented; a list of numbers on one line.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/string_view.h"

namespace octet::runtime {

// Calls must nest as JSON does: within an object every value goes by Key(), Set() or one of the
// Begin functions with a key.
class JsonWriter {
 public:
  void BeginObject(absl::string_view key = {});
  void EndObject();
  void BeginArray(absl::string_view key = {});
  void EndArray();

  // Bytes that are no UTF-8 become U+FFFD: names in model files are not always text.
  void Set(absl::string_view key, absl::string_view text);
  void Set(absl::string_view key, const char* text) { Set(key, absl::string_view(text)); }
  void Set(absl::string_view key, const std::string& text) { Set(key, absl::string_view(text)); }
  // The fewest digits that read back as the same number; null for NaN and infinity.
  void Set(absl::string_view key, double number);
  void Set(absl::string_view key, float number);
  template <typename T>
    requires std::is_integral_v<T>
  void Set(absl::string_view key, T number) {
    if constexpr (std::is_same_v<T, bool>) {
      SetRaw(key, number ? "true" : "false");
    } else {
      SetRaw(key, std::to_string(number));
    }
  }
  void SetNumbers(absl::string_view key, std::span<const int64_t> numbers);
  void SetNumbers(absl::string_view key, std::span<const uint64_t> numbers);
  void SetTexts(absl::string_view key, const std::vector<std::string>& texts);

  // The document; ends with a line break.
  std::string Finish();

 private:
  void Begin(absl::string_view key, char bracket);
  void End(char bracket);
  void NextValue(absl::string_view key);
  void SetRaw(absl::string_view key, absl::string_view value);
  template <typename T>
  void SetList(absl::string_view key, std::span<const T> numbers);

  std::string text_;
  int depth_ = 0;
  bool first_ = true;  // nothing yet in the innermost object or array
};

}  // namespace octet::runtime
