// Gather, GatherElements and GatherND. Indices come with the request: every one is checked.

#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/carry.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

constexpr int kData = 0, kIndices = 1;

std::vector<TensorType> OfShape(const InferContext& context, Shape shape) {
  return {{.dtype = context.input(kData).dtype, .shape = std::move(shape)}};
}

size_t AxisOf(const graph::Node& node, const ConstTensorView& data) {
  const int64_t axis = node.Int("axis", 0);
  return static_cast<size_t>(axis < 0 ? axis + data.rank() : axis);
}

// --- Gather ---

absl::StatusOr<std::vector<TensorType>> InferGather(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectIndices(context, kIndices));
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", 0), context.rank(kData)));
  const Shape& data = context.shape(kData);
  Shape shape(data.begin(), data.begin() + axis);
  shape.insert(shape.end(), context.shape(kIndices).begin(), context.shape(kIndices).end());
  shape.insert(shape.end(), data.begin() + axis + 1, data.end());
  return OfShape(context, std::move(shape));
}

// Rows of `bytes`, a constant for the sizes of single elements.
template <typename Index, typename Bytes>
absl::Status CopyRows(std::span<const Index> indices, int64_t axis_size, Bytes bytes,
                      const std::byte* from, std::byte* to) {
  for (const Index index : indices) {
    const int64_t row = WrapIndex(index, axis_size);
    if (row < 0) [[unlikely]]
      return IndexError(index, axis_size);
    std::memcpy(to, from + static_cast<size_t>(row) * bytes, bytes);
    to += bytes;
  }
  return absl::OkStatus();
}

absl::Status ReferenceGather(const graph::Node& node, std::span<const ConstTensorView> inputs,
                             std::span<TensorView> outputs) {
  const ConstTensorView& data = inputs[kData];
  const size_t axis = AxisOf(node, data);
  const int64_t size = data.shape[axis];
  const int64_t outer = Product(data.shape, 0, axis);
  const size_t bytes =
      static_cast<size_t>(Product(data.shape, axis + 1, data.shape.size())) * ByteSize(data.dtype);
  return VisitIndices(inputs[kIndices], [&](auto indices) -> absl::Status {
    const std::byte* from = data.data;
    std::byte* to = outputs[0].data;
    for (int64_t o = 0; o < outer; ++o) {
      if (bytes == 4) {
        OCTET_RETURN_IF_ERROR(
            CopyRows(indices, size, std::integral_constant<size_t, 4>(), from, to));
      } else if (bytes == 8) {
        OCTET_RETURN_IF_ERROR(
            CopyRows(indices, size, std::integral_constant<size_t, 8>(), from, to));
      } else {
        OCTET_RETURN_IF_ERROR(CopyRows(indices, size, bytes, from, to));
      }
      from += static_cast<size_t>(size) * bytes;
      to += indices.size() * bytes;
    }
    return absl::OkStatus();
  });
}

// --- GatherElements ---

absl::StatusOr<std::vector<TensorType>> InferGatherElements(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectIndices(context, kIndices));
  const Shape& data = context.shape(kData);
  const Shape& indices = context.shape(kIndices);
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", 0), context.rank(kData)));
  bool fits = indices.size() == data.size();
  for (int d = 0; fits && d < context.rank(kData); ++d) fits = d == axis || indices[d] <= data[d];
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat("indices of shape ", ToText(indices),
                                                   " do not fit data of shape ", ToText(data)));
  }
  return OfShape(context, indices);
}

// The innermost dimension of the indices: `base` is the data element it starts at, `step` the
// distance of neighbours in it, `along` that of neighbours along the axis.
template <typename T, typename Index>
absl::Status GatherRow(std::span<const Index> indices, int64_t axis_size, int64_t along,
                       int64_t step, const T* base, T* to) {
  for (size_t i = 0; i < indices.size(); ++i) {
    const int64_t index = WrapIndex(indices[i], axis_size);
    if (index < 0) [[unlikely]]
      return IndexError(indices[i], axis_size);
    to[i] = base[index * along + static_cast<int64_t>(i) * step];
  }
  return absl::OkStatus();
}

template <typename T, typename Index>
absl::Status GatherElements(const ConstTensorView& data, size_t axis, const Shape& shape,
                            std::span<const Index> indices, T* to) {
  if (indices.empty()) return absl::OkStatus();
  const T* const from = data.As<T>().data();
  const Shape strides = RowMajorStrides(data.shape);
  const size_t last = shape.size() - 1;
  const auto row = static_cast<size_t>(shape[last]);
  Shape position(shape.size(), 0);
  for (size_t done = 0; done < indices.size(); done += row) {
    int64_t base = 0;
    for (size_t d = 0; d < last; ++d) base += d == axis ? 0 : position[d] * strides[d];
    OCTET_RETURN_IF_ERROR(GatherRow(indices.subspan(done, row), data.shape[axis], strides[axis],
                                    axis == last ? 0 : int64_t{1}, from + base, to + done));
    for (size_t d = last; d > 0; --d) {
      if (++position[d - 1] < shape[d - 1]) break;
      position[d - 1] = 0;
    }
  }
  return absl::OkStatus();
}

absl::Status ReferenceGatherElements(const graph::Node& node,
                                     std::span<const ConstTensorView> inputs,
                                     std::span<TensorView> outputs) {
  const ConstTensorView& data = inputs[kData];
  return VisitIndices(inputs[kIndices], [&](auto indices) {
    return VisitType(data.dtype, [&]<typename T>() {
      return GatherElements<T>(data, AxisOf(node, data), inputs[kIndices].shape, indices,
                               outputs[0].As<T>().data());
    });
  });
}

// --- GatherND ---

absl::StatusOr<std::vector<TensorType>> InferGatherNd(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectIndices(context, kIndices));
  const Shape& data = context.shape(kData);
  const Shape& indices = context.shape(kIndices);
  const int64_t batch = context.node().Int("batch_dims", 0);
  const auto smaller_rank = static_cast<int64_t>(std::min(data.size(), indices.size()));
  if (batch < 0 || batch >= smaller_rank) {
    return absl::InvalidArgumentError(absl::StrCat("batch_dims ", batch, " of data ", ToText(data),
                                                   " and indices ", ToText(indices)));
  }
  const int64_t depth = indices.back();
  const bool same_batch = std::equal(data.begin(), data.begin() + batch, indices.begin());
  if (!same_batch || depth < 1 || depth > static_cast<int64_t>(data.size()) - batch) {
    return absl::InvalidArgumentError(absl::StrCat("indices of shape ", ToText(indices),
                                                   " do not fit data of shape ", ToText(data)));
  }
  Shape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), data.begin() + batch + depth, data.end());
  return OfShape(context, std::move(shape));
}

absl::Status ReferenceGatherNd(const graph::Node& node, std::span<const ConstTensorView> inputs,
                               std::span<TensorView> outputs) {
  const ConstTensorView& data = inputs[kData];
  const Shape& shape = inputs[kIndices].shape;
  const auto batch = static_cast<size_t>(node.Int("batch_dims", 0));
  const auto depth = static_cast<size_t>(shape.back());
  const Shape strides = RowMajorStrides(data.shape);
  const size_t element = ByteSize(data.dtype);
  const size_t slice =
      static_cast<size_t>(Product(data.shape, batch + depth, data.shape.size())) * element;
  const size_t batch_bytes =
      static_cast<size_t>(Product(data.shape, batch, data.shape.size())) * element;
  const auto tuples = static_cast<size_t>(Product(shape, batch, shape.size() - 1));
  const auto batches = static_cast<size_t>(Product(shape, 0, batch));
  return VisitIndices(inputs[kIndices], [&](auto indices) -> absl::Status {
    std::byte* to = outputs[0].data;
    size_t next = 0;
    for (size_t t = 0; t < batches * tuples; ++t) {
      const std::byte* from = data.data + t / tuples * batch_bytes;
      for (size_t d = batch; d < batch + depth; ++d, ++next) {
        const int64_t index = WrapIndex(indices[next], data.shape[d]);
        if (index < 0) return IndexError(indices[next], data.shape[d]);
        from += static_cast<size_t>(index * strides[d]) * element;
      }
      std::memcpy(to, from, slice);
      to += slice;
    }
    return absl::OkStatus();
  });
}

constexpr Operator Gathering(absl::string_view type, graph::InferFn infer,
                             graph::ReferenceFn reference) {
  return {.schema = {.type = type,
                     .min_inputs = 2,
                     .max_inputs = 2,
                     .quant = graph::QuantRole::kCarry,
                     .infer = infer,
                     .reference = reference},
          .lower = LowerCarry};
}

constexpr Operator kOperators[] = {
    Gathering("Gather", InferGather, ReferenceGather),
    Gathering("GatherElements", InferGatherElements, ReferenceGatherElements),
    Gathering("GatherND", InferGatherNd, ReferenceGatherNd),
};

}  // namespace

std::span<const Operator> gather() { return kOperators; }

}  // namespace octet::kernels::ops
