#include "runtime/json_writer.h"

#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace octet::runtime {
namespace {

constexpr absl::string_view kReplacement = "\xef\xbf\xbd";

// Bytes of the character that begins at text[0]; 0 if there is none: RFC 3629, without surrogates
// and longer forms than needed.
size_t CharacterSize(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;
  return size;
}

void AppendQuoted(absl::string_view value, std::string& text) {
  text += '"';
  while (!value.empty()) {
    const size_t size = CharacterSize(value);
    const auto first = static_cast<unsigned char>(value[0]);
    if (size == 0) {
      absl::StrAppend(&text, kReplacement);
    } else if (first == '"' || first == '\\') {
      absl::StrAppend(&text, "\\", value.substr(0, 1));
    } else if (first < 0x20 || first == 0x7f) {
      absl::StrAppendFormat(&text, "\\u%04x", first);
    } else {
      absl::StrAppend(&text, value.substr(0, size));
    }
    value.remove_prefix(size == 0 ? 1 : size);
  }
  text += '"';
}

template <typename T>
std::string NumberText(T number) {
  if (!std::isfinite(number)) return "null";
  char digits[32];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), number);
  return {digits, end.ptr};
}

}  // namespace

void JsonWriter::NextValue(absl::string_view key) {
  if (!first_) text_ += ',';
  if (depth_ > 0) absl::StrAppend(&text_, "\n", std::string(static_cast<size_t>(depth_) * 2, ' '));
  first_ = false;
  if (key.data() == nullptr) return;
  AppendQuoted(key, text_);
  text_ += ": ";
}

void JsonWriter::Begin(absl::string_view key, char bracket) {
  NextValue(key);
  text_ += bracket;
  ++depth_;
  first_ = true;
}

void JsonWriter::End(char bracket) {
  --depth_;
  if (!first_) absl::StrAppend(&text_, "\n", std::string(static_cast<size_t>(depth_) * 2, ' '));
  text_ += bracket;
  first_ = false;
}

void JsonWriter::BeginObject(absl::string_view key) { Begin(key, '{'); }
void JsonWriter::EndObject() { End('}'); }
void JsonWriter::BeginArray(absl::string_view key) { Begin(key, '['); }
void JsonWriter::EndArray() { End(']'); }

void JsonWriter::SetRaw(absl::string_view key, absl::string_view value) {
  NextValue(key);
  absl::StrAppend(&text_, value);
}

void JsonWriter::Set(absl::string_view key, absl::string_view text) {
  NextValue(key);
  AppendQuoted(text, text_);
}

void JsonWriter::Set(absl::string_view key, double number) { SetRaw(key, NumberText(number)); }
void JsonWriter::Set(absl::string_view key, float number) { SetRaw(key, NumberText(number)); }

template <typename T>
void JsonWriter::SetList(absl::string_view key, std::span<const T> numbers) {
  SetRaw(key, absl::StrCat("[", absl::StrJoin(numbers, ", "), "]"));
}

void JsonWriter::SetNumbers(absl::string_view key, std::span<const int64_t> numbers) {
  SetList(key, numbers);
}

void JsonWriter::SetNumbers(absl::string_view key, std::span<const uint64_t> numbers) {
  SetList(key, numbers);
}

void JsonWriter::SetTexts(absl::string_view key, const std::vector<std::string>& texts) {
  BeginArray(key);
  for (const std::string& text : texts) Set({}, text);
  EndArray();
}

std::string JsonWriter::Finish() { return text_ + "\n"; }

}  // namespace octet::runtime
