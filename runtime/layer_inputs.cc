#include "runtime/layer_inputs.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/window.h"
#include "quant/selection.h"
#include "runtime/parallel.h"

namespace octet::runtime {
namespace {

constexpr int64_t kRowsOfFewColumns = 64;  // for each
constexpr int64_t kEnoughRows = 4096;      // where there are more columns
constexpr int64_t kRowsOfManyColumns = 4;

int64_t WantedRows(int64_t columns) {
  return std::max(std::min(kRowsOfFewColumns * columns, kEnoughRows), kRowsOfManyColumns * columns);
}

// Takes some rows of a value to a Hessian.
class RowTaker {
 public:
  RowTaker(const RowInput& input, const ConstTensorView& value) : input_(input), value_(value) {}

  absl::Status Take(const graph::Graph& graph, int64_t most, quant::Hessian& hessian) const {
    return input_.convolution ? TakeWindows(graph, most, hessian)
                              : TakeLastDimension(most, hessian);
  }

 private:
  // As evenly spaced as can be, without ever being in step with the width of an image: the golden
  // ratio's multiples.
  static int64_t Chosen(int64_t i, int64_t count, int64_t rows) {
    if (count == rows) return i;
    constexpr double kGoldenRatio = 0.6180339887498949;
    double whole = 0;
    const double share = std::modf(static_cast<double>(i) * kGoldenRatio, &whole);
    return std::min(static_cast<int64_t>(share * static_cast<double>(rows)), rows - 1);
  }

  static float Finite(float value) { return std::isfinite(value) ? value : 0; }

  absl::Status TakeLastDimension(int64_t most, quant::Hessian& hessian) const {
    const int64_t rows = value_.size() / input_.columns;
    std::vector<float> row(static_cast<size_t>(input_.columns));
    const int64_t count = std::min(rows, most);
    for (int64_t i = 0; i < count; ++i) {
      const float* const from = value_.As<float>().data() + Chosen(i, count, rows) * input_.columns;
      std::transform(from, from + row.size(), row.begin(), Finite);
      OCTET_RETURN_IF_ERROR(hessian.Add(row));
    }
    return absl::OkStatus();
  }

  absl::Status TakeWindows(const graph::Graph& graph, int64_t most, quant::Hessian& hessian) const {
    const graph::Node& node = graph.node(*input_.convolution);
    const Shape& shape = value_.shape;
    OCTET_ASSIGN_OR_RETURN(
        const kernels::ConvGeometry geometry,
        kernels::ReadConvGeometry(node, shape, graph.value(node.inputs[1]).type.shape));
    const auto taps = static_cast<size_t>(geometry.Taps());
    const int64_t channels = input_.columns / geometry.Taps(), plane = geometry.InputPlane();
    const int64_t rows = shape[0] * geometry.OutputPlane();
    std::vector<int64_t> sources(taps);
    std::vector<float> row(static_cast<size_t>(input_.columns));
    const int64_t count = std::min(rows, most);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t r = Chosen(i, count, rows);
      geometry.SourcesOf(r % geometry.OutputPlane(), sources);
      const int64_t image = r / geometry.OutputPlane() * shape[1] + input_.group * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const float* const from = value_.As<float>().data() + (image + c) * plane;
        for (size_t tap = 0; tap < taps; ++tap) {
          row[static_cast<size_t>(c) * taps + tap] =
              sources[tap] < 0 ? 0 : Finite(from[sources[tap]]);
        }
      }
      OCTET_RETURN_IF_ERROR(hessian.Add(row));
    }
    return absl::OkStatus();
  }

  const RowInput& input_;
  const ConstTensorView& value_;
};

absl::Status CheckValue(const graph::Graph& graph, const RowInput& input,
                        const ConstTensorView& value) {
  const Shape& shape = value.shape;
  // Of images ReadConvGeometry() sees to the rest.
  const bool fits =
      input.convolution ? shape.size() > 2 : !shape.empty() && shape.back() == input.columns;
  if (fits && value.dtype == DataType::kFloat32) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(graph.value(input.value).name, ": ",
                                                 Name(value.dtype), ToText(shape),
                                                 ", expected FP32 with rows of ", input.columns));
}

std::vector<RowInput> WindowsOf(const graph::Graph& graph, graph::NodeId layer) {
  const graph::Node& node = graph.node(layer);
  const Shape& weight = graph.value(node.inputs[1]).type.shape;
  if (weight.size() < 3) return {};
  const int64_t groups = node.Int("group", 1);
  RowInput input{.value = node.inputs[0], .columns = 1, .convolution = layer};
  for (size_t d = 1; d < weight.size(); ++d) input.columns *= weight[d];
  input.window.assign(weight.begin() + 2, weight.end());
  for (const char* attribute : {"strides", "dilations", "pads"}) {
    const std::vector<int64_t> values = node.Ints(attribute);
    input.window.push_back(static_cast<int64_t>(values.size()));
    input.window.insert(input.window.end(), values.begin(), values.end());
  }
  input.window.push_back(groups);
  // Padding that depends on the input's size is compared with nobody's.
  if (node.Has("auto_pad")) input.window.push_back(static_cast<int64_t>(layer));
  std::vector<RowInput> inputs(static_cast<size_t>(groups), input);
  for (int64_t group = 0; group < groups; ++group) inputs[static_cast<size_t>(group)].group = group;
  return inputs;
}

}  // namespace

std::vector<RowInput> RowInputsOf(const graph::Graph& graph, graph::NodeId layer) {
  const graph::Node& node = graph.node(layer);
  if (node.op == "Conv") return WindowsOf(graph, layer);
  const Shape& weight = graph.value(node.inputs[1]).type.shape;
  if (weight.size() != 2 || (node.op != "MatMul" && node.op != "Gemm")) return {};
  const auto outputs = static_cast<size_t>(quant::WeightAxis(node, weight));
  return {{.value = node.inputs[0], .columns = weight[1 - outputs]}};
}

std::optional<RowInput> ProductInputOf(const graph::Graph& graph, graph::NodeId layer) {
  const graph::Node& node = graph.node(layer);
  if (node.op == "Conv") {
    const Shape& weight = graph.value(node.inputs[1]).type.shape;
    const std::vector<int64_t> pads = node.Ints("pads");
    const bool product =
        node.Int("group", 1) == 1 &&
        std::all_of(weight.begin() + 2, weight.end(), [](int64_t dim) { return dim == 1; }) &&
        std::all_of(pads.begin(), pads.end(), [](int64_t pad) { return pad == 0; });
    if (!product) return std::nullopt;
  }
  const std::vector<RowInput> inputs = RowInputsOf(graph, layer);
  if (inputs.empty()) return std::nullopt;
  return inputs[0];
}

HessianCollector::HessianCollector(const graph::Graph& graph, std::vector<RowInput> inputs,
                                   size_t samples)
    : graph_(graph), inputs_(std::move(inputs)), samples_(static_cast<int64_t>(samples)) {
  hessians_.reserve(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const auto known = std::find(values_.begin(), values_.end(), inputs_[i].value);
    const auto index = static_cast<size_t>(known - values_.begin());
    if (known == values_.end()) {
      values_.push_back(inputs_[i].value);
      inputs_of_.emplace_back();
    }
    inputs_of_[index].push_back(i);
    hessians_.emplace_back(inputs_[i].columns);
  }
}

absl::Status HessianCollector::Add(size_t index, const ConstTensorView& value) {
  for (const size_t i : inputs_of_[index]) {
    OCTET_RETURN_IF_ERROR(CheckValue(graph_, inputs_[i], value));
    const int64_t most = (WantedRows(inputs_[i].columns) + samples_ - 1) / samples_;
    OCTET_RETURN_IF_ERROR(RowTaker(inputs_[i], value).Take(graph_, most, hessians_[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<quant::Hessian>> HessianCollector::Take(int threads) && {
  // The last rows are multiplied now, not by the first of several threads that read.
  OCTET_RETURN_IF_ERROR(ParallelFor(threads, hessians_.size(), [&](size_t i) {
    hessians_[i].MeanDiagonal();
    return absl::OkStatus();
  }));
  return std::move(hessians_);
}

absl::StatusOr<std::vector<quant::Hessian>> CollectHessians(const graph::Graph& graph,
                                                            std::span<const RowInput> inputs,
                                                            Samples samples,
                                                            kernels::WeightCache& weights,
                                                            int threads) {
  HessianCollector collector(graph, {inputs.begin(), inputs.end()}, samples.size());
  OCTET_RETURN_IF_ERROR(
      VisitValues(graph, collector.values(), samples, {weights, threads},
                  [&](size_t i, const ConstTensorView& value) { return collector.Add(i, value); }));
  return std::move(collector).Take(threads);
}

int64_t HessianBytes(std::span<const RowInput> inputs) {
  int64_t bytes = 0;
  for (const RowInput& input : inputs) bytes += 8 * input.columns * (input.columns + 128);
  return bytes;
}

std::vector<RowInput> Union(std::vector<RowInput> a, const std::vector<RowInput>& b) {
  a.insert(a.end(), b.begin(), b.end());
  std::sort(a.begin(), a.end());
  a.erase(std::unique(a.begin(), a.end()), a.end());
  return a;
}

}  // namespace octet::runtime
