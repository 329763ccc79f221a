// ScatterElements (Scatter before opset 11), ScatterND and TensorScatter. Indices come with the
// request: every one is checked before it is written through.

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/int_list.h"
#include "kernels/operator.h"
#include "kernels/strided_copy.h"

namespace octet::kernels::ops {
namespace {

constexpr int kData = 0, kIndices = 1, kUpdates = 2;

enum class Reduction { kNone, kAdd, kMul, kMax, kMin };

absl::StatusOr<Reduction> ReadReduction(const graph::Node& node) {
  const std::string name = node.String("reduction", "none");
  if (name == "none") return Reduction::kNone;
  if (name == "add") return Reduction::kAdd;
  if (name == "mul") return Reduction::kMul;
  if (name == "max") return Reduction::kMax;
  if (name == "min") return Reduction::kMin;
  return absl::InvalidArgumentError(
      absl::StrCat("reduction must be none, add, mul, max or min, not ", name));
}

// Calls body with a function object (old element, update) -> new element.
template <typename T, typename Body>
absl::Status VisitReduction(Reduction reduction, const Body& body) {
  // Integers wrap around as they do elsewhere, which is defined on unsigned types only.
  const auto wrapping = [](auto function) {
    return [function](T a, T b) -> T {
      if constexpr (std::is_same_v<T, bool> || std::is_floating_point_v<T>) {
        return static_cast<T>(function(a, b));
      } else {
        return static_cast<T>(function(static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
      }
    };
  };
  switch (reduction) {
    case Reduction::kAdd:
      return body(wrapping([](auto a, auto b) { return a + b; }));
    case Reduction::kMul:
      return body(wrapping([](auto a, auto b) { return a * b; }));
    case Reduction::kMax:
      return body([](T a, T b) { return std::max(a, b); });
    case Reduction::kMin:
      return body([](T a, T b) { return std::min(a, b); });
    case Reduction::kNone:
      break;
  }
  return body([](T, T b) { return b; });
}

absl::Status CheckCommon(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ReadReduction(context.node()).status());
  OCTET_RETURN_IF_ERROR(ExpectIndices(context, kIndices));
  return ExpectType(context, kUpdates, context.input(kData).dtype);
}

absl::Status DoesNotFit(const InferContext& context) {
  return absl::InvalidArgumentError(absl::StrCat(
      "indices of shape ", ToText(context.shape(kIndices)), " and updates of shape ",
      ToText(context.shape(kUpdates)), " do not fit data of shape ", ToText(context.shape(kData))));
}

void CopyData(std::span<const ConstTensorView> inputs, std::span<TensorView> outputs) {
  const size_t bytes = outputs[0].byte_size();
  if (bytes > 0) std::memcpy(outputs[0].data, inputs[kData].data, bytes);
}

// --- ScatterElements ---

absl::StatusOr<std::vector<TensorType>> InferScatterElements(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(CheckCommon(context));
  const Shape& data = context.shape(kData);
  const Shape& indices = context.shape(kIndices);
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", 0), context.rank(kData)));
  bool fits = indices.size() == data.size() && indices == context.shape(kUpdates);
  for (int d = 0; fits && d < context.rank(kData); ++d) fits = d == axis || indices[d] <= data[d];
  if (!fits) return DoesNotFit(context);
  return SameAsInput(context);
}

template <typename T, typename Index, typename Reduce>
absl::Status ScatterElements(const Shape& data, size_t axis, const Shape& shape,
                             std::span<const Index> indices, const T* updates, T* to,
                             const Reduce& reduce) {
  if (indices.empty()) return absl::OkStatus();
  const Shape strides = RowMajorStrides(data);
  const size_t last = shape.size() - 1;
  const int64_t row = shape[last], step = axis == last ? 0 : 1;
  Shape position(shape.size(), 0);
  for (size_t done = 0; done < indices.size();) {
    int64_t base = 0;
    for (size_t d = 0; d < last; ++d) base += d == axis ? 0 : position[d] * strides[d];
    for (int64_t i = 0; i < row; ++i, ++done) {
      const int64_t index = WrapIndex(indices[done], data[axis]);
      if (index < 0) [[unlikely]]
        return IndexError(indices[done], data[axis]);
      T& element = to[base + index * strides[axis] + i * step];
      element = reduce(element, updates[done]);
    }
    for (size_t d = last; d > 0; --d) {
      if (++position[d - 1] < shape[d - 1]) break;
      position[d - 1] = 0;
    }
  }
  return absl::OkStatus();
}

absl::Status ReferenceScatterElements(const graph::Node& node,
                                      std::span<const ConstTensorView> inputs,
                                      std::span<TensorView> outputs) {
  CopyData(inputs, outputs);
  OCTET_ASSIGN_OR_RETURN(const Reduction reduction, ReadReduction(node));
  const Shape& data = inputs[kData].shape;
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(node.Int("axis", 0), static_cast<int>(data.size())));
  return VisitIndices(inputs[kIndices], [&](auto indices) {
    return VisitType(outputs[0].dtype, [&]<typename T>() {
      return VisitReduction<T>(reduction, [&](const auto& reduce) {
        return ScatterElements(data, static_cast<size_t>(axis), inputs[kIndices].shape, indices,
                               inputs[kUpdates].As<T>().data(), outputs[0].As<T>().data(), reduce);
      });
    });
  });
}

// --- ScatterND ---

absl::StatusOr<std::vector<TensorType>> InferScatterNd(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(CheckCommon(context));
  const Shape& data = context.shape(kData);
  const Shape& indices = context.shape(kIndices);
  if (indices.empty() || indices.back() < 1 || indices.back() > context.rank(kData)) {
    return DoesNotFit(context);
  }
  Shape updates(indices.begin(), indices.end() - 1);
  updates.insert(updates.end(), data.begin() + indices.back(), data.end());
  if (updates != context.shape(kUpdates)) return DoesNotFit(context);
  return SameAsInput(context);
}

template <typename T, typename Index, typename Reduce>
absl::Status ScatterSlices(const Shape& data, size_t depth, std::span<const Index> indices,
                           const T* updates, T* to, const Reduce& reduce) {
  const Shape strides = RowMajorStrides(data);
  const int64_t slice = Product(data, depth, data.size());
  for (size_t next = 0; next < indices.size();) {
    int64_t offset = 0;
    for (size_t d = 0; d < depth; ++d, ++next) {
      const int64_t index = WrapIndex(indices[next], data[d]);
      if (index < 0) return IndexError(indices[next], data[d]);
      offset += index * strides[d];
    }
    for (int64_t i = 0; i < slice; ++i) to[offset + i] = reduce(to[offset + i], updates[i]);
    updates += slice;
  }
  return absl::OkStatus();
}

absl::Status ReferenceScatterNd(const graph::Node& node, std::span<const ConstTensorView> inputs,
                                std::span<TensorView> outputs) {
  CopyData(inputs, outputs);
  OCTET_ASSIGN_OR_RETURN(const Reduction reduction, ReadReduction(node));
  const auto depth = static_cast<size_t>(inputs[kIndices].shape.back());
  return VisitIndices(inputs[kIndices], [&](auto indices) {
    return VisitType(outputs[0].dtype, [&]<typename T>() {
      return VisitReduction<T>(reduction, [&](const auto& reduce) {
        return ScatterSlices(inputs[kData].shape, depth, indices, inputs[kUpdates].As<T>().data(),
                             outputs[0].As<T>().data(), reduce);
      });
    });
  });
}

// --- TensorScatter ---

constexpr int kUpdate = 1, kWriteIndices = 2;

absl::StatusOr<std::vector<TensorType>> InferTensorScatter(const InferContext& context) {
  const Shape& cache = context.shape(kData);
  const Shape& update = context.shape(kUpdate);
  const std::string mode = context.node().String("mode", "linear");
  OCTET_RETURN_IF_ERROR(ExpectType(context, kUpdate, context.input(kData).dtype));
  OCTET_ASSIGN_OR_RETURN(const int axis,
                         NormalizeAxis(context.node().Int("axis", -2), context.rank(kData)));
  bool fits = axis > 0 && update.size() == cache.size() && (mode == "linear" || mode == "circular");
  for (int d = 0; fits && d < context.rank(kData); ++d) {
    fits = d == axis ? update[d] <= cache[d] : update[d] == cache[d];
  }
  if (context.has_input(kWriteIndices)) {
    OCTET_RETURN_IF_ERROR(ExpectIndices(context, kWriteIndices));
    fits = fits && context.shape(kWriteIndices) == Shape{cache[0]};
  }
  if (fits) return SameAsInput(context);
  return absl::InvalidArgumentError(absl::StrCat("an update of shape ", ToText(update),
                                                 " does not fit a cache of shape ", ToText(cache),
                                                 " along axis ", axis, " in mode ", mode));
}

// Writes each batch entry's rows into its cache from a position of its own on.
absl::Status ReferenceTensorScatter(const graph::Node& node,
                                    std::span<const ConstTensorView> inputs,
                                    std::span<TensorView> outputs) {
  CopyData(inputs, outputs);
  const Shape& cache = inputs[kData].shape;
  const Shape& update = inputs[kUpdate].shape;
  OCTET_ASSIGN_OR_RETURN(const int axis_or,
                         NormalizeAxis(node.Int("axis", -2), inputs[kData].rank()));
  const auto axis = static_cast<size_t>(axis_or);
  const bool circular = node.String("mode", "linear") == "circular";
  std::vector<int64_t> starts(static_cast<size_t>(cache[0]), 0);
  if (inputs.size() > kWriteIndices && inputs[kWriteIndices].present()) {
    starts = Ints(inputs[kWriteIndices]);
  }
  const size_t row =
      static_cast<size_t>(Product(cache, axis + 1, cache.size())) * ByteSize(inputs[kData].dtype);
  const int64_t entries = Product(cache, 1, axis), size = cache[axis], rows = update[axis];
  const std::byte* from = inputs[kUpdate].data;
  std::byte* to = outputs[0].data;
  for (int64_t batch = 0; batch < cache[0]; ++batch) {
    const int64_t start = starts[batch];
    if (start < 0 || start > (circular ? size - 1 : size - rows)) return IndexError(start, size);
    for (int64_t entry = 0; entry < entries; ++entry, to += static_cast<size_t>(size) * row) {
      for (int64_t i = 0; i < rows; ++i, from += row) {
        const int64_t position = (start + i) % size;
        std::memcpy(to + static_cast<size_t>(position) * row, from, row);
      }
    }
  }
  return absl::OkStatus();
}

constexpr Operator Scattering(absl::string_view type, graph::InferFn infer,
                              graph::ReferenceFn reference) {
  return {
      .schema = {
          .type = type, .min_inputs = 3, .max_inputs = 3, .infer = infer, .reference = reference}};
}

constexpr Operator kOperators[] = {
    Scattering("Scatter", InferScatterElements, ReferenceScatterElements),
    Scattering("ScatterElements", InferScatterElements, ReferenceScatterElements),
    Scattering("ScatterND", InferScatterNd, ReferenceScatterNd),
    {.schema = {.type = "TensorScatter",
                .since_version = 24,
                .min_inputs = 2,
                .max_inputs = 3,
                .infer = InferTensorScatter,
                .reference = ReferenceTensorScatter}},
};

}  // namespace

std::span<const Operator> scatter() { return kOperators; }

}  // namespace octet::kernels::ops
