// Structures as bytes in a file, and back: one list of fields serves both directions.
//
//   template <typename Archive>
//   void Fields(Archive& archive, Layer& layer) { archive(layer.name, layer.macs); }
//
//   BinaryWriter writer;  writer(layer);  Use(writer.bytes());
//   BinaryReader reader(bytes);  reader(layer);  if (!reader.Finish()) ...
//
// Numbers are little-endian and as wide as their types; strings and lists have their length in
// front. Fields() is found by its argument's namespace.

#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/tensor.h"

namespace octet::runtime {

static_assert(std::endian::native == std::endian::little);

class BinaryWriter {
 public:
  static constexpr bool kReads = false;

  template <typename... Values>
  void operator()(const Values&... values) {
    (Write(values), ...);
  }

  void Raw(std::span<const std::byte> bytes) {
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  const std::string& bytes() const { return bytes_; }
  std::string Take() { return std::move(bytes_); }

 private:
  template <typename T>
  void Write(const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      Raw(std::as_bytes(std::span(&value, 1)));
    } else {
      Fields(*this, const_cast<T&>(value));  // which does not write to it
    }
  }
  void Write(const std::string& text) {
    Write(uint64_t{text.size()});
    bytes_.append(text);
  }
  template <typename T>
  void Write(const std::vector<T>& list) {
    Write(uint64_t{list.size()});
    if constexpr (std::is_arithmetic_v<T>) {
      Raw(std::as_bytes(std::span(list)));
    } else {
      for (const T& element : list) Write(element);
    }
  }
  template <typename T>
  void Write(const std::optional<T>& value) {
    Write(value.has_value());
    if (value) Write(*value);
  }
  void Write(const Shape& shape) { Write(std::vector<int64_t>(shape.begin(), shape.end())); }

  std::string bytes_;
};

// Never reads beyond the bytes, and never allocates more than their number asks for: what is wrong
// leaves values empty, and ok() is false from then on.
class BinaryReader {
 public:
  static constexpr bool kReads = true;

  // `bytes` outlive the reader.
  explicit BinaryReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename... Values>
  void operator()(Values&... values) {
    (Read(values), ...);
  }

  // The next bytes as they are; empty, and not ok(), if there are not that many.
  std::span<const std::byte> Raw(size_t size) {
    if (!ok_ || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const auto piece = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return piece;
  }

  void Fail() { ok_ = false; }
  bool ok() const { return ok_; }
  size_t remaining() const { return bytes_.size(); }
  // True if all was well and nothing is left.
  bool Finish() const { return ok_ && bytes_.empty(); }

 private:
  template <typename T>
  void Read(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = 0;
      Read(byte);
      if (byte > 1) Fail();
      value = byte == 1;
    } else if constexpr (std::is_arithmetic_v<T>) {
      const auto piece = Raw(sizeof(T));
      if (ok_) std::memcpy(&value, piece.data(), sizeof(T));
    } else {
      Fields(*this, value);
    }
  }
  void Read(std::string& text) {
    const auto piece = Raw(Length(1));
    text.assign(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  template <typename T>
  void Read(std::vector<T>& list) {
    list.clear();
    if constexpr (std::is_arithmetic_v<T>) {
      const size_t length = Length(sizeof(T));
      const auto piece = Raw(length * sizeof(T));
      if (!ok_) return;
      list.resize(length);
      if (length > 0) std::memcpy(list.data(), piece.data(), piece.size());
    } else {
      // Grows as elements are read: a false length ends with the bytes.
      for (size_t length = Length(1); ok_ && length > 0; --length) Read(list.emplace_back());
    }
  }
  template <typename T>
  void Read(std::optional<T>& value) {
    bool present = false;
    Read(present);
    value.reset();
    if (ok_ && present) Read(value.emplace());
  }
  void Read(Shape& shape) {
    std::vector<int64_t> dims;
    Read(dims);
    if (dims.size() > kMaxRank) Fail();
    if (ok_) shape.assign(dims.begin(), dims.end());
  }

  // A length whose elements take at least `least` bytes each; 0 if there are fewer bytes left.
  size_t Length(size_t least) {
    uint64_t length = 0;
    Read(length);
    if (length > bytes_.size() / least) Fail();
    return ok_ ? static_cast<size_t>(length) : 0;
  }

  static constexpr size_t kMaxRank = 16;

  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

// An enumerator by its name, from those that come before `count`: files outlive the order of
// enumerators.
template <typename Archive, typename Enum>
void NamedEnum(Archive& archive, Enum& value, int count) {
  std::string name;
  if constexpr (!Archive::kReads) name = std::string(Name(value));
  archive(name);
  if constexpr (Archive::kReads) {
    for (int i = 0; i < count; ++i) {
      value = static_cast<Enum>(i);
      if (Name(value) == name) return;
    }
    archive.Fail();
    value = {};
  }
}

}  // namespace octet::runtime
