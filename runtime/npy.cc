#include "runtime/npy.h"

#include <zip.h>

#include <cstring>
#include <memory>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace octet::runtime {
namespace {

std::optional<DataType> TypeOf(absl::string_view descr) {
  struct Row {
    absl::string_view descr;
    DataType type;
  };
  static constexpr Row kRows[] = {
      {"<f4", DataType::kFloat32}, {"<f8", DataType::kFloat64}, {"<f2", DataType::kFloat16},
      {"|i1", DataType::kInt8},    {"|u1", DataType::kUint8},   {"<i2", DataType::kInt16},
      {"<u2", DataType::kUint16},  {"<i4", DataType::kInt32},   {"<u4", DataType::kUint32},
      {"<i8", DataType::kInt64},   {"<u8", DataType::kUint64},  {"|b1", DataType::kBool},
  };
  for (const Row& row : kRows) {
    if (row.descr == descr) return row.type;
  }
  return std::nullopt;
}

// What stands behind `'key':` in the header, a Python dictionary written by numpy.
absl::StatusOr<absl::string_view> Field(absl::string_view header, absl::string_view key) {
  const std::string quoted = absl::StrCat("'", key, "':");
  const size_t at = header.find(quoted);
  if (at == absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("the array header has no ", key));
  }
  return absl::StripLeadingAsciiWhitespace(header.substr(at + quoted.size()));
}

absl::StatusOr<Shape> ParseShape(absl::string_view text) {
  const size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == absl::string_view::npos) {
    return absl::InvalidArgumentError("the array header's shape is malformed");
  }
  Shape shape;
  for (absl::string_view part : absl::StrSplit(text.substr(1, end - 1), ',')) {
    part = absl::StripAsciiWhitespace(part);
    if (part.empty()) continue;
    int64_t dim = 0;
    if (!absl::SimpleAtoi(part, &dim)) {
      return absl::InvalidArgumentError("the array header's shape is malformed");
    }
    shape.push_back(dim);
  }
  return shape;
}

struct Header {
  absl::string_view text;
  size_t data_offset = 0;
};

absl::StatusOr<Header> FindHeader(std::span<const std::byte> file) {
  const absl::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
  if (bytes.size() < 12 || bytes.substr(0, 6) != "\x93NUMPY") {
    return absl::InvalidArgumentError("not a NumPy array");
  }
  const bool short_length = bytes[6] == 1;
  const size_t length_bytes = short_length ? 2 : 4;
  size_t length = 0;
  for (size_t i = length_bytes; i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(bytes[8 + i]);
  }
  const size_t start = 8 + length_bytes;
  if (length > bytes.size() - start) return absl::InvalidArgumentError("the array is truncated");
  return Header{bytes.substr(start, length), start + length};
}

struct CloseArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct CloseEntry {
  void operator()(zip_file_t* entry) const { zip_fclose(entry); }
};

absl::StatusOr<std::vector<std::byte>> ReadEntry(zip_t* archive, zip_uint64_t index,
                                                 zip_uint64_t size) {
  const std::unique_ptr<zip_file_t, CloseEntry> entry(zip_fopen_index(archive, index, 0));
  if (entry == nullptr) return absl::InvalidArgumentError(zip_strerror(archive));
  std::vector<std::byte> bytes;  // grows as it is read: `size` is what the archive claims
  constexpr size_t kStep = size_t{1} << 20;
  while (bytes.size() < size) {
    const size_t before = bytes.size();
    bytes.resize(std::min<size_t>(before + kStep, size));
    const zip_int64_t got = zip_fread(entry.get(), bytes.data() + before, bytes.size() - before);
    if (got <= 0) return absl::InvalidArgumentError("the archive is damaged");
    bytes.resize(before + static_cast<size_t>(got));
  }
  return bytes;
}

}  // namespace

absl::StatusOr<Tensor> ParseNpy(std::span<const std::byte> file) {
  OCTET_ASSIGN_OR_RETURN(const Header header, FindHeader(file));
  OCTET_ASSIGN_OR_RETURN(const absl::string_view descr, Field(header.text, "descr"));
  OCTET_ASSIGN_OR_RETURN(const absl::string_view order, Field(header.text, "fortran_order"));
  OCTET_ASSIGN_OR_RETURN(const absl::string_view shape_text, Field(header.text, "shape"));
  const std::vector<std::string> quoted = absl::StrSplit(descr.substr(0, 16), '\'');
  const std::optional<DataType> type = quoted.size() > 1 ? TypeOf(quoted[1]) : std::nullopt;
  if (!type) {
    return absl::UnimplementedError(
        absl::StrCat("arrays of element type ", descr.substr(0, 16), " are not supported"));
  }
  if (order.substr(0, 5) != "False") {
    return absl::UnimplementedError("arrays in Fortran order are not supported");
  }
  OCTET_ASSIGN_OR_RETURN(const Shape shape, ParseShape(shape_text));
  OCTET_ASSIGN_OR_RETURN(const size_t bytes, CheckedByteSize(*type, shape));
  if (file.size() - header.data_offset < bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the array is truncated: ", ToText(shape),
                                                   " needs ", bytes, " bytes, there are ",
                                                   file.size() - header.data_offset));
  }
  OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(*type, shape));
  if (bytes > 0) std::memcpy(tensor.mutable_data(), file.data() + header.data_offset, bytes);
  return tensor;
}

absl::StatusOr<std::vector<std::pair<std::string, Tensor>>> ReadNpz(const std::string& path) {
  int error = 0;
  const std::unique_ptr<zip_t, CloseArchive> archive(zip_open(path.c_str(), ZIP_RDONLY, &error));
  if (archive == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not an .npz archive"));
  }
  std::vector<std::pair<std::string, Tensor>> arrays;
  size_t left = kMaxTensorBytes;
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  // What the archive claims is checked whole before anything is unpacked.
  zip_uint64_t claimed = 0;
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t info;
    if (zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &info) == 0 &&
        (info.valid & ZIP_STAT_SIZE) != 0) {
      claimed += std::min<zip_uint64_t>(info.size, kMaxTensorBytes + 1);
    }
  }
  if (claimed > kMaxTensorBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": the archive unpacks to more than ", kMaxTensorBytes, " bytes"));
  }
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t info;
    if (zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &info) != 0 ||
        (info.valid & (ZIP_STAT_NAME | ZIP_STAT_SIZE)) != (ZIP_STAT_NAME | ZIP_STAT_SIZE)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": a damaged archive"));
    }
    const absl::string_view name = absl::StripSuffix(info.name, ".npy");
    const std::string context = absl::StrCat(path, ": array ", name);
    if (info.size > left) {
      return absl::ResourceExhaustedError(
          absl::StrCat(context, ": the archive unpacks to more than ", kMaxTensorBytes, " bytes"));
    }
    left -= info.size;
    absl::StatusOr<std::vector<std::byte>> bytes =
        ReadEntry(archive.get(), static_cast<zip_uint64_t>(i), info.size);
    if (!bytes.ok()) return Annotate(bytes.status(), context);
    absl::StatusOr<Tensor> tensor = ParseNpy(*bytes);
    if (!tensor.ok()) return Annotate(tensor.status(), context);
    arrays.emplace_back(std::string(name), *std::move(tensor));
  }
  return arrays;
}

}  // namespace octet::runtime
