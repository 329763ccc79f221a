#include "server/grpc/classification.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace octet::server {
namespace {

template <typename T>
T ValueOf(DataType type, T stored) {
  static_cast<void>(type);
  return stored;
}

float ValueOf(DataType type, uint16_t stored) {
  if (type == DataType::kFloat16) return HalfToFloat(stored);
  if (type == DataType::kBFloat16) return BFloat16ToFloat(stored);
  return stored;
}

template <typename T>
bool IsNan(T value) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(value);
  return false;
}

template <typename T>
std::string Text(DataType type, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    // 16-bit integers arrive here as float, too.
    if (!IsInteger(type)) return absl::StrFormat("%f", value);
    return absl::StrCat(static_cast<int64_t>(value));
  } else {
    return absl::StrCat(
        static_cast<std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>(value));
  }
}

void AppendElement(std::string& out, const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<char>((size >> shift) & 0xff));
  }
  out += text;
}

template <typename T>
void ClassifyRow(DataType type, std::span<const std::byte> row, int64_t k, std::string& out) {
  using Value = decltype(ValueOf(type, T()));
  const size_t count = row.size() / sizeof(T);
  std::vector<Value> values(count);
  for (size_t i = 0; i < count; ++i) {
    T stored;
    std::memcpy(&stored, row.data() + i * sizeof(T), sizeof(T));
    values[i] = ValueOf(type, stored);
  }
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&values](int64_t a, int64_t b) {
    if (IsNan(values[a]) || IsNan(values[b])) {
      return IsNan(values[a]) == IsNan(values[b]) ? a < b : IsNan(values[b]);
    }
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
  for (int64_t i = 0; i < k; ++i) {
    AppendElement(out, absl::StrCat(Text(type, values[order[i]]), ":", order[i]));
  }
}

}  // namespace

Classification Classify(DataType type, const Shape& shape, std::span<const std::byte> scores,
                        bool batched, int64_t classes) {
  const int64_t rows = batched ? shape[0] : 1;
  const int64_t elements = rows == 0 ? 0 : ElementCount(shape) / rows;
  const int64_t k = std::min(classes, elements);
  Classification result;
  if (batched) result.shape.push_back(rows);
  result.shape.push_back(k);
  const size_t row_bytes = static_cast<size_t>(elements) * ByteSize(type);
  for (int64_t row = 0; row < rows; ++row) {
    VisitType(type, [&]<typename T>() {
      ClassifyRow<T>(type, scores.subspan(row * row_bytes, row_bytes), k, result.bytes);
    });
  }
  return result;
}

}  // namespace octet::server
