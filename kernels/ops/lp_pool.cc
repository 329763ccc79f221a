// LpPool and GlobalLpPool: the p-norm of the elements under a window.

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/operator.h"
#include "kernels/window.h"

namespace octet::kernels::ops {
namespace {

absl::StatusOr<Window> ReadLpWindow(const graph::Node& node, const Shape& input) {
  return node.op == "GlobalLpPool"
             ? WholePlane(input)
             : ReadWindow(node, input, node.Ints("kernel_shape"), node.Int("ceil_mode", 0) != 0);
}

absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  const int64_t p = context.node().Int("p", 2);
  if (p < 1) return absl::InvalidArgumentError(absl::StrCat("attribute p = ", p));
  OCTET_ASSIGN_OR_RETURN(const Window window, ReadLpWindow(context.node(), context.shape(0)));
  return std::vector<TensorType>{
      {.shape = window.OutputShape(context.shape(0)[0], context.shape(0)[1])}};
}

double Power(double x, int64_t p) {
  return p == 1 ? x : p == 2 ? x * x : std::pow(x, static_cast<double>(p));
}

double Root(double x, int64_t p) {
  return p == 1 ? x : p == 2 ? std::sqrt(x) : std::pow(x, 1 / static_cast<double>(p));
}

absl::Status Reference(const graph::Node& node, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  OCTET_ASSIGN_OR_RETURN(const Window window, ReadLpWindow(node, inputs[0].shape));
  const int64_t p = node.Int("p", 2);
  const int64_t in_plane = window.InputPlane(), out_plane = window.OutputPlane();
  const int64_t planes = inputs[0].shape[0] * inputs[0].shape[1];
  const std::span<const float> from = inputs[0].As<float>();
  const std::span<float> to = outputs[0].As<float>();
  std::vector<int64_t> sources(static_cast<size_t>(window.Taps()));
  for (int64_t at = 0; at < out_plane; ++at) {
    window.SourcesOf(at, sources);
    for (int64_t plane = 0; plane < planes; ++plane) {
      double sum = 0;
      for (const int64_t source : sources) {
        if (source >= 0) sum += Power(std::abs(from[plane * in_plane + source]), p);
      }
      to[plane * out_plane + at] = static_cast<float>(Root(sum, p));
    }
  }
  return absl::OkStatus();
}

constexpr Operator Row(absl::string_view type) {
  return {
      .schema = {
          .type = type, .min_inputs = 1, .max_inputs = 1, .infer = Infer, .reference = Reference}};
}

constexpr Operator kOperators[] = {Row("LpPool"), Row("GlobalLpPool")};

}  // namespace

std::span<const Operator> lp_pool() { return kOperators; }

}  // namespace octet::kernels::ops
