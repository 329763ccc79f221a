#include "graph/types.h"

#include "absl/strings/str_cat.h"

namespace octet::graph {

std::string ToText(const TensorType& type) {
  std::string text = absl::StrCat(Name(type.dtype), octet::ToText(type.shape));
  if (!type.quant) return text;
  if (type.quant->axis) {
    absl::StrAppend(&text, "{per axis ", *type.quant->axis, "}");
  } else {
    absl::StrAppend(&text, "{", type.quant->scales.at(0), ",", type.quant->zero_points.at(0), "}");
  }
  return text;
}

}  // namespace octet::graph
