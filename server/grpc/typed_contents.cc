#include "server/grpc/typed_contents.h"

#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/models/quote.h"

namespace octet::server {
namespace {

using inference::InferTensorContents;

// One typed field, and the elements that all fields together hold.
struct TypedField {
  absl::string_view name;
  int count;
  Piece bytes;  // of the field's own element type
};

template <typename Repeated>
TypedField Field(absl::string_view name, const Repeated& field) {
  return {name, field.size(),
          std::as_bytes(std::span(field.data(), static_cast<size_t>(field.size())))};
}

// The field that carries elements of `type`; an empty name if there is none.
TypedField FieldOf(const InferTensorContents& contents, DataType type) {
  switch (type) {
    case DataType::kBool:
      return Field("bool_contents", contents.bool_contents());
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32:
      return Field("int_contents", contents.int_contents());
    case DataType::kInt64:
      return Field("int64_contents", contents.int64_contents());
    case DataType::kUint8:
    case DataType::kUint16:
    case DataType::kUint32:
      return Field("uint_contents", contents.uint_contents());
    case DataType::kUint64:
      return Field("uint64_contents", contents.uint64_contents());
    case DataType::kFloat32:
      return Field("fp32_contents", contents.fp32_contents());
    case DataType::kFloat64:
      return Field("fp64_contents", contents.fp64_contents());
    case DataType::kFloat16:
    case DataType::kBFloat16:
      break;
  }
  return {};
}

// Copies 32-bit elements to a narrower type; nullptr for a value that does not fit, which
// `out_of_range` is set to.
template <typename Narrow, typename Wide>
std::unique_ptr<std::byte[]> Narrowed(std::span<const Wide> values, int64_t& out_of_range) {
  auto bytes = std::make_unique<std::byte[]>(values.size() * sizeof(Narrow));
  auto* const out = reinterpret_cast<Narrow*>(bytes.get());
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < std::numeric_limits<Narrow>::min() ||
        values[i] > std::numeric_limits<Narrow>::max()) {
      out_of_range = values[i];
      return nullptr;
    }
    out[i] = static_cast<Narrow>(values[i]);
  }
  return bytes;
}

std::unique_ptr<std::byte[]> NarrowedTo(DataType type, const InferTensorContents& contents,
                                        int64_t& out_of_range) {
  const std::span<const int32_t> ints(contents.int_contents().data(),
                                      static_cast<size_t>(contents.int_contents_size()));
  const std::span<const uint32_t> uints(contents.uint_contents().data(),
                                        static_cast<size_t>(contents.uint_contents_size()));
  switch (type) {
    case DataType::kInt8:
      return Narrowed<int8_t>(ints, out_of_range);
    case DataType::kInt16:
      return Narrowed<int16_t>(ints, out_of_range);
    case DataType::kUint8:
      return Narrowed<uint8_t>(uints, out_of_range);
    default:
      return Narrowed<uint16_t>(uints, out_of_range);
  }
}

template <typename... Parts>
absl::Status Invalid(const std::string& input, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("input ", Quote(input), ": ", parts...));
}

}  // namespace

int ContentsSize(const InferTensorContents& contents) {
  return contents.bool_contents_size() + contents.int_contents_size() +
         contents.int64_contents_size() + contents.uint_contents_size() +
         contents.uint64_contents_size() + contents.fp32_contents_size() +
         contents.fp64_contents_size() + contents.bytes_contents_size();
}

absl::StatusOr<Piece> TypedBytes(const inference::ModelInferRequest::InferInputTensor& input,
                                 DataType type, size_t elements,
                                 std::vector<std::unique_ptr<std::byte[]>>& narrowed) {
  const TypedField field = FieldOf(input.contents(), type);
  if (field.name.empty()) {
    return Invalid(input.name(), Name(type), " has no typed contents; use raw_input_contents");
  }
  if (ContentsSize(input.contents()) != field.count) {
    return Invalid(input.name(), "expected elements of ", Name(type), " in ", field.name,
                   " only, received some in another field");
  }
  if (static_cast<size_t>(field.count) != elements) {
    return Invalid(input.name(), "expected ", elements, " elements in ", field.name, ", received ",
                   field.count);
  }
  if (ByteSize(type) >= 4 || type == DataType::kBool) return field.bytes;
  int64_t out_of_range = 0;
  std::unique_ptr<std::byte[]> block = NarrowedTo(type, input.contents(), out_of_range);
  if (block == nullptr) {
    return Invalid(input.name(), out_of_range, " in ", field.name, " is out of the range of ",
                   Name(type));
  }
  const Piece bytes(block.get(), elements * ByteSize(type));
  narrowed.push_back(std::move(block));
  return bytes;
}

}  // namespace octet::server
