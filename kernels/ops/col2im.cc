// Col2Im: sums sliding blocks back into an image.

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

constexpr int kBlocks = 0, kImage = 1, kBlock = 2;

struct Geometry {
  std::vector<int64_t> image, block, dilations, strides, pads_begin, pads_end;
  std::vector<int64_t> positions;  // of the block, along each dimension
};

// Small enough for sums and products of two to be safe.
absl::Status CheckRange(absl::string_view name, const std::vector<int64_t>& values, size_t count,
                        int64_t lowest) {
  constexpr int64_t kHighest = int64_t{1} << 30;
  if (values.size() != count) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has ", values.size(), " entries, expected ", count));
  }
  for (const int64_t value : values) {
    if (value < lowest || value > kHighest) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", value, " is out of range"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Geometry> ReadGeometry(const graph::Node& node, std::vector<int64_t> image,
                                      std::vector<int64_t> block) {
  Geometry g = {.image = std::move(image), .block = std::move(block)};
  const size_t rank = g.image.size();
  const auto list = [&](absl::string_view name, size_t count, int64_t fallback) {
    return node.Has(name) ? node.Ints(name) : std::vector<int64_t>(count, fallback);
  };
  g.dilations = list("dilations", rank, 1);
  g.strides = list("strides", rank, 1);
  const std::vector<int64_t> pads = list("pads", 2 * rank, 0);
  OCTET_RETURN_IF_ERROR(CheckRange("image_shape", g.image, rank, 1));
  OCTET_RETURN_IF_ERROR(CheckRange("block_shape", g.block, rank, 1));
  OCTET_RETURN_IF_ERROR(CheckRange("dilations", g.dilations, rank, 1));
  OCTET_RETURN_IF_ERROR(CheckRange("strides", g.strides, rank, 1));
  OCTET_RETURN_IF_ERROR(CheckRange("pads", pads, 2 * rank, 0));
  g.pads_begin.assign(pads.begin(), pads.begin() + static_cast<int64_t>(rank));
  g.pads_end.assign(pads.begin() + static_cast<int64_t>(rank), pads.end());
  for (size_t d = 0; d < rank; ++d) {
    const int64_t room =
        g.image[d] + g.pads_begin[d] + g.pads_end[d] - g.dilations[d] * (g.block[d] - 1) - 1;
    g.positions.push_back(room < 0 ? 0 : room / g.strides[d] + 1);
  }
  return g;
}

absl::StatusOr<int64_t> CheckedProduct(const std::vector<int64_t>& values) {
  int64_t product = 1;
  for (const int64_t value : values) {
    if (__builtin_mul_overflow(product, value, &product)) {
      return absl::InvalidArgumentError("the blocks are too large");
    }
  }
  return product;
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_ASSIGN_OR_RETURN(std::vector<int64_t> image, IntList(context, kImage, ""));
  OCTET_ASSIGN_OR_RETURN(std::vector<int64_t> block, IntList(context, kBlock, ""));
  OCTET_RETURN_IF_ERROR(ExpectType(context, kBlocks, DataType::kFloat32));
  OCTET_ASSIGN_OR_RETURN(const Geometry g,
                         ReadGeometry(context.node(), std::move(image), std::move(block)));
  OCTET_ASSIGN_OR_RETURN(const int64_t taps, CheckedProduct(g.block));
  OCTET_ASSIGN_OR_RETURN(const int64_t positions, CheckedProduct(g.positions));
  const Shape& blocks = context.shape(kBlocks);
  if (g.image.empty() || blocks.size() != 3 || blocks[1] % taps != 0 || blocks[2] != positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("blocks of shape ", ToText(blocks), ", expected ", taps,
                     " elements times the channels in ", positions, " positions"));
  }
  Shape shape = {blocks[0], blocks[1] / taps};
  shape.insert(shape.end(), g.image.begin(), g.image.end());
  return std::vector<TensorType>{{.shape = std::move(shape)}};
}

// The next index in row-major order; false after the last.
bool Advance(std::vector<int64_t>& index, const std::vector<int64_t>& sizes) {
  for (size_t d = index.size(); d-- > 0;) {
    if (++index[d] < sizes[d]) return true;
    index[d] = 0;
  }
  return false;
}

// Adds one element of every block to the channel's image.
void AddTap(const Geometry& g, const Shape& strides, const std::vector<int64_t>& tap,
            const float* blocks, float* image) {
  std::vector<int64_t> position(g.image.size(), 0);
  do {
    int64_t offset = 0;
    bool inside = true;
    for (size_t d = 0; d < position.size(); ++d) {
      const int64_t at = position[d] * g.strides[d] + tap[d] * g.dilations[d] - g.pads_begin[d];
      inside = inside && at >= 0 && at < g.image[d];
      offset += at * strides[d];
    }
    if (inside) image[offset] += *blocks;
    ++blocks;
  } while (Advance(position, g.positions));
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const Geometry g,
                         ReadGeometry(node, Ints(inputs[kImage]), Ints(inputs[kBlock])));
  const Shape& blocks = inputs[kBlocks].shape;
  const auto to = outputs[0].As<float>();
  std::fill(to.begin(), to.end(), 0.0f);
  if (inputs[kBlocks].size() == 0) return absl::OkStatus();
  const Shape strides = RowMajorStrides(Shape(g.image.begin(), g.image.end()));
  const int64_t image_size = Product(outputs[0].shape, 2, outputs[0].shape.size());
  const float* from = inputs[kBlocks].As<float>().data();
  for (int64_t channel = 0; channel < blocks[0] * outputs[0].shape[1]; ++channel) {
    std::vector<int64_t> tap(g.block.size(), 0);
    do {
      AddTap(g, strides, tap, from, to.data() + channel * image_size);
      from += blocks[2];
    } while (Advance(tap, g.block));
  }
  return absl::OkStatus();
}

constexpr Operator kOperators[] = {
    {.schema = {.type = "Col2Im",
                .min_inputs = 3,
                .max_inputs = 3,
                .infer = Infer,
                .reference = Reference}},
};

}  // namespace

std::span<const Operator> col2im() { return kOperators; }

}  // namespace octet::kernels::ops
