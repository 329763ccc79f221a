#include "kernels/element_type.h"

#include "absl/strings/str_cat.h"

namespace octet::kernels {

absl::StatusOr<DataType> TypeAttribute(const graph::Node& node, absl::string_view attribute,
                                       DataType fallback) {
  if (!node.Has(attribute)) return fallback;
  const int64_t number = node.Int(attribute, 0);
  switch (number) {
    case 1:
      return DataType::kFloat32;
    case 2:
      return DataType::kUint8;
    case 3:
      return DataType::kInt8;
    case 4:
      return DataType::kUint16;
    case 5:
      return DataType::kInt16;
    case 6:
      return DataType::kInt32;
    case 7:
      return DataType::kInt64;
    case 9:
      return DataType::kBool;
    case 10:
      return DataType::kFloat16;
    case 11:
      return DataType::kFloat64;
    case 12:
      return DataType::kUint32;
    case 13:
      return DataType::kUint64;
    case 16:
      return DataType::kBFloat16;
    default:
      return absl::UnimplementedError(
          absl::StrCat(attribute, ": element type number ", number, " is not supported"));
  }
}

}  // namespace octet::kernels
