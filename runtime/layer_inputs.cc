#include "runtime/layer_inputs.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/selection.h"
#include "runtime/parallel.h"

namespace octet::runtime {
namespace {

constexpr int64_t kLeastRows = 4096;
constexpr int64_t kRowsPerColumn = 4;

std::optional<ProductInput> ImageInputOf(const graph::Node& node, const Shape& weight) {
  if (node.Int("group", 1) != 1) return std::nullopt;
  if (!std::all_of(weight.begin() + 2, weight.end(), [](int64_t dim) { return dim == 1; })) {
    return std::nullopt;
  }
  const std::vector<int64_t> pads = node.Ints("pads");
  if (std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad != 0; })) {
    return std::nullopt;
  }
  ProductInput input{.value = node.inputs[0], .columns = weight[1], .image = true};
  input.strides = node.Ints("strides");
  input.strides.resize(weight.size() - 2, 1);
  return input;
}

// Finds where rows begin, and takes some of them to a Hessian.
class RowTaker {
 public:
  RowTaker(const ProductInput& input, const Tensor& value) : input_(input), value_(value) {
    const Shape& shape = value.shape();
    if (!input.image) {
      rows_ = value.size() / input.columns;
      return;
    }
    for (size_t d = 2; d < shape.size(); ++d) {
      plane_ *= shape[d];
      const int64_t stride = input.strides[d - 2];
      taken_.push_back((shape[d] + stride - 1) / stride);
    }
    rows_ = shape[0];
    for (const int64_t count : taken_) rows_ *= count;
  }

  absl::Status Take(int64_t most, quant::Hessian& hessian) const {
    const int64_t step = (rows_ + most - 1) / std::max<int64_t>(most, 1);
    std::vector<float> row(static_cast<size_t>(input_.columns));
    for (int64_t r = 0; r < rows_; r += step) {
      const auto [first, distance] = Locate(r);
      const float* from = value_.As<float>().data() + first;
      for (float& element : row) {
        element = std::isfinite(*from) ? *from : 0;
        from += distance;
      }
      OCTET_RETURN_IF_ERROR(hessian.Add(row));
    }
    return absl::OkStatus();
  }

 private:
  // Where a row begins, and how far apart its elements are.
  std::pair<int64_t, int64_t> Locate(int64_t row) const {
    if (!input_.image) return {row * input_.columns, 1};
    const Shape& shape = value_.shape();
    int64_t offset = 0, stride = 1;
    for (size_t d = taken_.size(); d-- > 0;) {
      offset += row % taken_[d] * input_.strides[d] * stride;
      row /= taken_[d];
      stride *= shape[d + 2];
    }
    return {row * input_.columns * plane_ + offset, plane_};
  }

  const ProductInput& input_;
  const Tensor& value_;
  int64_t rows_ = 0, plane_ = 1;
  std::vector<int64_t> taken_;  // pixels that are read, by dimension of the image
};

absl::Status CheckValue(const graph::Graph& graph, const ProductInput& input, const Tensor& value) {
  const Shape& shape = value.shape();
  const bool fits = input.image
                        ? shape.size() == input.strides.size() + 2 && shape[1] == input.columns
                        : !shape.empty() && shape.back() == input.columns;
  if (fits && value.dtype() == DataType::kFloat32) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(graph.value(input.value).name, ": ", Name(value.dtype()), ToText(shape),
                   ", expected FP32 with ", input.columns, " channels"));
}

}  // namespace

std::optional<ProductInput> ProductInputOf(const graph::Graph& graph, graph::NodeId layer) {
  const graph::Node& node = graph.node(layer);
  const Shape& weight = graph.value(node.inputs[1]).type.shape;
  if (node.op == "Conv") return ImageInputOf(node, weight);
  if (weight.size() != 2 || (node.op != "MatMul" && node.op != "Gemm")) return std::nullopt;
  const auto outputs = static_cast<size_t>(quant::WeightAxis(node, weight));
  return ProductInput{.value = node.inputs[0], .columns = weight[1 - outputs]};
}

absl::StatusOr<std::vector<quant::Hessian>> CollectHessians(const graph::Graph& graph,
                                                            std::span<const ProductInput> inputs,
                                                            Samples samples,
                                                            kernels::WeightCache& weights,
                                                            int threads) {
  if (samples.empty()) return absl::FailedPreconditionError("there are no calibration samples");
  std::vector<graph::ValueId> values;
  std::vector<quant::Hessian> hessians;
  for (const ProductInput& input : inputs) {
    values.push_back(input.value);
    hessians.emplace_back(input.columns);
  }
  const auto sample_count = static_cast<int64_t>(samples.size());
  const auto add = [&](std::span<const Tensor> tensors) {
    return ParallelFor(threads, inputs.size(), [&](size_t i) -> absl::Status {
      OCTET_RETURN_IF_ERROR(CheckValue(graph, inputs[i], tensors[i]));
      const int64_t wanted = std::max(kLeastRows, kRowsPerColumn * inputs[i].columns);
      return RowTaker(inputs[i], tensors[i])
          .Take((wanted + sample_count - 1) / sample_count, hessians[i]);
    });
  };
  OCTET_RETURN_IF_ERROR(VisitSamples(graph, values, samples, weights, add));
  // The last rows are multiplied now, not by the first of several threads that read.
  OCTET_RETURN_IF_ERROR(ParallelFor(threads, hessians.size(), [&](size_t i) {
    hessians[i].MeanDiagonal();
    return absl::OkStatus();
  }));
  return hessians;
}

}  // namespace octet::runtime
