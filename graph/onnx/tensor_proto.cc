#include "graph/onnx/tensor_proto.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"

namespace octet::graph {
namespace {

using Proto = onnx::TensorProto;

// The bytes of a tensor in its file type, before conversion to the engine's.
struct RawElements {
  const std::byte* data = nullptr;
  MappedFile file;  // holds `data` if it is external
};

struct ExternalLocation {
  std::string path;
  size_t offset = 0;
  std::optional<size_t> length;
};

absl::StatusOr<ExternalLocation> ParseExternal(const Proto& proto, const std::string& directory) {
  if (directory.empty()) {
    return absl::InvalidArgumentError("external data is not allowed here");
  }
  ExternalLocation location;
  for (const auto& entry : proto.external_data()) {
    uint64_t number = 0;
    if (entry.key() == "location") {
      location.path = entry.value();
    } else if (entry.key() == "offset" || entry.key() == "length") {
      if (!absl::SimpleAtoi(entry.value(), &number)) {
        return absl::InvalidArgumentError(
            absl::StrCat("external data: ", entry.key(), " is not a number: ", entry.value()));
      }
      if (entry.key() == "offset") location.offset = number;
      if (entry.key() == "length") location.length = number;
    }
  }
  const std::filesystem::path relative(location.path);
  bool leaves = location.path.empty() || relative.is_absolute();
  for (const auto& part : relative) leaves = leaves || part == "..";
  if (leaves) {
    return absl::InvalidArgumentError(absl::StrCat("external data: location '", location.path,
                                                   "' is not inside the model's folder"));
  }
  std::error_code error;
  const auto root = std::filesystem::canonical(directory, error);
  const auto full = std::filesystem::canonical(root / relative, error);
  if (error) {
    return absl::NotFoundError(
        absl::StrCat("external data: ", location.path, ": ", error.message()));
  }
  const auto [root_end, ignored] =
      std::mismatch(root.begin(), root.end(), full.begin(), full.end());
  if (root_end != root.end()) {
    return absl::InvalidArgumentError(absl::StrCat("external data: location '", location.path,
                                                   "' is not inside the model's folder"));
  }
  location.path = full.string();
  return location;
}

absl::StatusOr<RawElements> External(const Proto& proto, const ExternalData& external,
                                     size_t bytes) {
  OCTET_ASSIGN_OR_RETURN(const ExternalLocation location, ParseExternal(proto, external.directory));
  RawElements raw;
  OCTET_ASSIGN_OR_RETURN(raw.file, MappedFile::Open(location.path));
  const size_t size = raw.file.bytes().size();
  if (location.offset > size || bytes > size - location.offset ||
      (location.length && *location.length != bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("external data: ", bytes, " bytes at offset ",
                                                   location.offset, " are not in ", location.path,
                                                   " of ", size, " bytes"));
  }
  raw.data = raw.file.bytes().data() + location.offset;
  if (external.record != nullptr) {
    OCTET_RETURN_IF_ERROR(external.record->Add(location.path, {raw.data, bytes}));
  }
  return raw;
}

// In pieces, each of which is let go of before the next one if it lies in a file.
void Copy(std::span<const std::byte> from, const MappedFile* file, std::byte* to) {
  constexpr size_t kPieceBytes = size_t{4} << 20;
  for (size_t at = 0; at < from.size(); at += kPieceBytes) {
    const auto piece = from.subspan(at, std::min(kPieceBytes, from.size() - at));
    std::memcpy(to + at, piece.data(), piece.size());
    if (file != nullptr) file->DropPages();
  }
}

template <typename T, typename Field>
absl::Status CopyField(const Field& field, Tensor& tensor) {
  if (field.size() != tensor.size()) {
    return absl::InvalidArgumentError(absl::StrCat("has ", field.size(), " elements, its shape ",
                                                   ToText(tensor.shape()), " needs ",
                                                   tensor.size()));
  }
  std::span<T> to = tensor.MutableAs<T>();
  for (int i = 0; i < field.size(); ++i) to[i] = static_cast<T>(field[i]);
  return absl::OkStatus();
}

// Elements that stand in a typed field. float16 and bfloat16 are bits in int32_data.
absl::Status CopyTyped(const Proto& proto, DataType type, Tensor& tensor) {
  switch (type) {
    case DataType::kFloat32:
      return CopyField<float>(proto.float_data(), tensor);
    case DataType::kFloat64:
      return CopyField<double>(proto.double_data(), tensor);
    case DataType::kInt64:
      return CopyField<int64_t>(proto.int64_data(), tensor);
    case DataType::kUint32:
      return CopyField<uint32_t>(proto.uint64_data(), tensor);
    case DataType::kUint64:
      return CopyField<uint64_t>(proto.uint64_data(), tensor);
    default:
      return VisitType(type,
                       [&]<typename T>() { return CopyField<T>(proto.int32_data(), tensor); });
  }
}

Tensor ToComputeType(const Tensor& tensor) {
  if (ComputeType(tensor.dtype()) == tensor.dtype()) return tensor;
  Tensor result = *Tensor::Allocate(DataType::kFloat32, tensor.shape());
  const std::span<float> to = result.MutableAs<float>();
  for (size_t i = 0; i < to.size(); ++i) {
    switch (tensor.dtype()) {
      case DataType::kFloat16:
        to[i] = HalfToFloat(tensor.As<uint16_t>()[i]);
        break;
      case DataType::kBFloat16:
        to[i] = BFloat16ToFloat(tensor.As<uint16_t>()[i]);
        break;
      default:
        to[i] = static_cast<float>(tensor.As<double>()[i]);
    }
  }
  return result;
}

}  // namespace

absl::StatusOr<DataType> BorderType(int onnx_type) {
  switch (onnx_type) {
    case Proto::FLOAT:
      return DataType::kFloat32;
    case Proto::DOUBLE:
      return DataType::kFloat64;
    case Proto::FLOAT16:
      return DataType::kFloat16;
    case Proto::BFLOAT16:
      return DataType::kBFloat16;
    case Proto::INT8:
      return DataType::kInt8;
    case Proto::UINT8:
      return DataType::kUint8;
    case Proto::INT16:
      return DataType::kInt16;
    case Proto::UINT16:
      return DataType::kUint16;
    case Proto::INT32:
      return DataType::kInt32;
    case Proto::UINT32:
      return DataType::kUint32;
    case Proto::INT64:
      return DataType::kInt64;
    case Proto::UINT64:
      return DataType::kUint64;
    case Proto::BOOL:
      return DataType::kBool;
    case Proto::STRING:
      return absl::UnimplementedError("string tensors are not supported");
    case Proto::COMPLEX64:
    case Proto::COMPLEX128:
      return absl::UnimplementedError("complex tensors are not supported");
    case Proto::UNDEFINED:
      return absl::InvalidArgumentError("the element type is missing");
    default:  // float8, int4 and newer ones, which this ONNX library has no names for
      return absl::UnimplementedError(absl::StrCat("element type number ", onnx_type,
                                                   " (float8, 4-bit or newer) is not "
                                                   "supported"));
  }
}

absl::StatusOr<Tensor> DecodeTensor(const Proto& proto, const ExternalData& external,
                                    std::span<const std::byte> raw_data, const MappedFile* file) {
  OCTET_ASSIGN_OR_RETURN(const DataType type, BorderType(proto.data_type()));
  const Shape shape(proto.dims().begin(), proto.dims().end());
  OCTET_ASSIGN_OR_RETURN(const size_t bytes, CheckedByteSize(type, shape));
  RawElements raw;
  if (proto.data_location() == Proto::EXTERNAL) {
    OCTET_ASSIGN_OR_RETURN(raw, External(proto, external, bytes));
    file = &raw.file;
  } else if (proto.has_raw_data() || !raw_data.empty()) {
    if (raw_data.empty()) {
      raw_data = std::as_bytes(std::span(proto.raw_data()));
      file = nullptr;
    }
    if (raw_data.size() != bytes) {
      return absl::InvalidArgumentError(absl::StrCat("has ", raw_data.size(), " bytes, its shape ",
                                                     ToText(shape), " needs ", bytes));
    }
    raw.data = raw_data.data();
  } else {
    // Every element takes at least a byte of the message, so this bounds the allocation below.
    const size_t elements = bytes / ByteSize(type);
    if (elements > static_cast<size_t>(proto.ByteSizeLong())) {
      return absl::InvalidArgumentError(
          absl::StrCat("its shape ", ToText(shape), " needs more elements than it has"));
    }
  }
  OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(type, shape));
  if (raw.data != nullptr) {
    Copy({raw.data, bytes}, file, tensor.mutable_data());
  } else if (bytes > 0) {
    OCTET_RETURN_IF_ERROR(CopyTyped(proto, type, tensor));
  }
  return ToComputeType(tensor);
}

}  // namespace octet::graph
