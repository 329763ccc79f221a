#include "runtime/integer_oracle.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/dynamic_product.h"

namespace octet::runtime {
namespace {

constexpr size_t kInput = 0, kWeight = 1, kAddend = 2;

double Logistic(double x) { return 1 / (1 + std::exp(-x)); }
double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double GeluTanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

// Fused operators of one operand, from their definitions; none if the operator is not one of them.
std::optional<double> Activation(const graph::FusedOp& fused, double x) {
  const double alpha = fused.alpha, beta = fused.beta;
  if (fused.op == "Relu") return std::max(x, 0.0);
  if (fused.op == "LeakyRelu") return x < 0 ? alpha * x : x;
  if (fused.op == "Clip") return std::min(std::max(x, alpha), beta);
  if (fused.op == "HardSwish") return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
  if (fused.op == "HardSigmoid") return std::clamp(alpha * x + beta, 0.0, 1.0);
  if (fused.op == "Sigmoid") return Logistic(x);
  if (fused.op == "Tanh") return std::tanh(x);
  if (fused.op == "Gelu") return 0.5 * x * (1 + std::erf(x / M_SQRT2));
  if (fused.op == "GeluTanh") return GeluTanh(x);
  if (fused.op == "Swish") return x * Logistic(alpha * x);
  if (fused.op == "Mish") return x * std::tanh(Softplus(x));
  if (fused.op == "Elu") return x < 0 ? alpha * std::expm1(x) : x;
  if (fused.op == "Softplus") return Softplus(x);
  if (fused.op == "Abs") return std::abs(x);
  if (fused.op == "Square") return x * x;
  return std::nullopt;
}

bool TakesOperand(const graph::FusedOp& fused) { return fused.op == "Add" || fused.op == "Mul"; }

// The element as it is stored.
double Stored(const ConstTensorView& value, int64_t index) {
  const auto i = static_cast<size_t>(index);
  if (value.dtype == DataType::kUint8) return value.As<uint8_t>()[i];
  if (value.dtype == DataType::kInt8) return value.As<int8_t>()[i];
  return double{value.As<float>()[i]};
}

int32_t Code(const ConstTensorView& value, int64_t index) {
  const auto i = static_cast<size_t>(index);
  return value.dtype == DataType::kUint8 ? int32_t{value.As<uint8_t>()[i]}
                                         : int32_t{value.As<int8_t>()[i]};
}

std::vector<int64_t> IntsOr(const graph::Node& node, absl::string_view key, size_t count,
                            int64_t fallback) {
  std::vector<int64_t> values = node.Ints(key);
  if (values.empty()) values.assign(count, fallback);
  return values;
}

}  // namespace

absl::StatusOr<IntegerOracle> IntegerOracle::Create(const graph::Node& node,
                                                    std::vector<LayerOperand> operands,
                                                    Shape output, RowCodes row_codes) {
  IntegerOracle oracle(node, std::move(operands), std::move(output), row_codes);
  OCTET_RETURN_IF_ERROR(oracle.Prepare());
  return oracle;
}

absl::Status IntegerOracle::Prepare() {
  const LayerOperand& weight = operands_[kWeight];
  if (!weight.type.quant || weight.type.dtype != DataType::kInt8) {
    return absl::UnimplementedError("the weights are not int8");
  }
  for (const graph::FusedOp& fused : node_.fused) {
    if (!TakesOperand(fused) && !Activation(fused, 0)) {
      return absl::UnimplementedError(absl::StrCat("fused operator ", fused.op));
    }
  }
  if (node_.op == "Conv") return PrepareConvolution();
  if (node_.op == "Gemm" || node_.op == "MatMul") return PrepareMatrix();
  return absl::UnimplementedError(absl::StrCat("operator ", node_.op));
}

absl::Status IntegerOracle::PrepareConvolution() {
  const Shape& x = operands_[kInput].type.shape;
  const Shape& w = operands_[kWeight].type.shape;
  const size_t spatial = x.size() - 2;
  const int64_t groups = node_.Int("group", 1);
  input_.assign(x.begin() + 2, x.end());
  kernel_.assign(w.begin() + 2, w.end());
  strides_ = IntsOr(node_, "strides", spatial, 1);
  dilations_ = IntsOr(node_, "dilations", spatial, 1);
  pads_ = IntsOr(node_, "pads", 2 * spatial, 0);
  const std::string auto_pad = node_.String("auto_pad", "NOTSET");
  for (size_t d = 0; d < spatial && auto_pad != "NOTSET"; ++d) {
    const int64_t covered =
        (output_[d + 2] - 1) * strides_[d] + (kernel_[d] - 1) * dilations_[d] + 1;
    const int64_t total = std::max<int64_t>(covered - input_[d], 0);
    pads_[d] = auto_pad == "VALID" ? 0 : auto_pad == "SAME_UPPER" ? total / 2 : (total + 1) / 2;
  }
  channels_ = x[1];
  outputs_ = w[0];
  group_channels_ = w[1];
  group_outputs_ = outputs_ / groups;
  output_plane_ = ElementCount(Shape(output_.begin() + 2, output_.end()));
  row_size_ = ElementCount(x) / std::max<int64_t>(x[0], 1);
  return absl::OkStatus();
}

absl::Status IntegerOracle::PrepareMatrix() {
  const Shape& w = operands_[kWeight].type.shape;
  if (w.size() != 2) return absl::UnimplementedError("the right operand is not a matrix");
  transpose_left_ = node_.op == "Gemm" && node_.Int("transA", 0) != 0;
  transpose_right_ = node_.op == "Gemm" && node_.Int("transB", 0) != 0;
  if (transpose_left_ && is_dynamic()) return absl::UnimplementedError("rows lie in columns");
  if (node_.op == "Gemm") {
    alpha_ = node_.Float("alpha", 1);
    beta_ = node_.Float("beta", 1);
  }
  depth_ = w[transpose_right_ ? 1 : 0];
  columns_ = w[transpose_right_ ? 0 : 1];
  rows_ = ElementCount(output_) / std::max<int64_t>(columns_, 1);
  row_size_ = depth_;
  const Shape& x = operands_[kInput].type.shape;
  const bool shared = node_.Int(kernels::kRangePerSample, 0) != 0 && x.size() > 2;
  if (shared) rows_per_range_ = std::max<int64_t>(rows_ / std::max<int64_t>(x[0], 1), 1);
  return absl::OkStatus();
}

// Calls visit(index in the input, index in the weights) for every product of the sum.
template <typename Visit>
void IntegerOracle::ForEachTerm(int64_t element, Visit visit) const {
  if (is_convolution()) return ForEachConvolutionTerm(element, visit);
  const int64_t row = element / columns_, column = element % columns_;
  for (int64_t k = 0; k < depth_; ++k) {
    visit(transpose_left_ ? k * rows_ + row : row * depth_ + k,
          transpose_right_ ? column * depth_ + k : k * columns_ + column);
  }
}

template <typename Visit>
void IntegerOracle::ForEachConvolutionTerm(int64_t element, Visit visit) const {
  const size_t spatial = kernel_.size();
  std::vector<int64_t> position(spatial), tap(spatial, 0);
  for (int64_t rest = element % output_plane_, d = static_cast<int64_t>(spatial); d-- > 0;) {
    position[d] = rest % output_[d + 2];
    rest /= output_[d + 2];
  }
  int64_t taps = 1, plane = 1;
  for (size_t d = 0; d < spatial; ++d) {
    taps *= kernel_[d];
    plane *= input_[d];
  }
  const int64_t channel = ChannelOf(element);
  const int64_t image = element / (output_plane_ * outputs_);
  const int64_t first = image * channels_ + channel / group_outputs_ * group_channels_;
  for (int64_t t = 0; t < taps; ++t) {
    int64_t rest = t, offset = 0, stride = 1;
    bool inside = true;
    for (size_t d = spatial; d-- > 0;) {
      const int64_t at = position[d] * strides_[d] - pads_[d] + rest % kernel_[d] * dilations_[d];
      rest /= kernel_[d];
      inside &= at >= 0 && at < input_[d];
      offset += at * stride;
      stride *= input_[d];
    }
    if (!inside) continue;  // padding is the real number 0
    for (int64_t c = 0; c < group_channels_; ++c) {
      visit((first + c) * plane + offset, (channel * group_channels_ + c) * taps + t);
    }
  }
}

int64_t IntegerOracle::ChannelOf(int64_t element) const {
  return is_convolution() ? element / output_plane_ % outputs_ : element % columns_;
}

IntegerOracle::RowQuantizer IntegerOracle::QuantizerOf(int64_t row) {
  row -= row % rows_per_range_;
  const auto [found, added] = row_quantizers_.try_emplace(row);
  if (!added) return found->second;
  const float* x = operands_[kInput].value.As<float>().data() + row * row_size_;
  double low = 0, high = 0;
  for (int64_t i = 0; i < rows_per_range_ * row_size_; ++i) {
    low = std::min(low, double{x[i]});
    high = std::max(high, double{x[i]});
  }
  RowQuantizer& quantizer = found->second;
  if (row_codes_ == RowCodes::kInt8) {
    quantizer.scale = std::max(high, -low) > 0 ? std::max(high, -low) / 127 : 1;
  } else {
    quantizer.scale = high > low ? (high - low) / 255 : 1;
    quantizer.zero_point = static_cast<int32_t>(std::nearbyint(-low / quantizer.scale));
  }
  return quantizer;
}

int32_t IntegerOracle::CodeOf(double value, const RowQuantizer& quantizer) const {
  const double code = std::nearbyint(value / quantizer.scale) + quantizer.zero_point;
  const bool is_signed = row_codes_ == RowCodes::kInt8;
  return static_cast<int32_t>(is_signed ? std::clamp(code, -127.0, 127.0)
                                        : std::clamp(code, 0.0, 255.0));
}

double IntegerOracle::Product(int64_t element) {
  const LayerOperand& input = operands_[kInput];
  const LayerOperand& weight = operands_[kWeight];
  int64_t sum = 0;
  double scale = 1;
  if (is_dynamic()) {
    const int64_t row =
        is_convolution() ? element / (output_plane_ * outputs_) : element / columns_;
    const RowQuantizer quantizer = QuantizerOf(row);
    const float* x = input.value.As<float>().data();
    ForEachTerm(element, [&](int64_t i, int64_t w) {
      sum += int64_t{CodeOf(x[i], quantizer) - quantizer.zero_point} * Code(weight.value, w);
    });
    scale = quantizer.scale;
  } else {
    const int32_t zero_point = input.type.quant->zero_points[0];
    ForEachTerm(element, [&](int64_t i, int64_t w) {
      sum += int64_t{Code(input.value, i) - zero_point} * Code(weight.value, w);
    });
    scale = input.type.quant->scales[0];
  }
  const auto& scales = weight.type.quant->scales;
  const int64_t channel = weight.type.quant->axis ? ChannelOf(element) : 0;
  return alpha_ * static_cast<double>(sum) * scale * scales[static_cast<size_t>(channel)] +
         Addend(element);
}

double IntegerOracle::Addend(int64_t element) const {
  if (operands_.size() <= kAddend || !operands_[kAddend].value.present()) return 0;
  if (is_convolution()) return Stored(operands_[kAddend].value, ChannelOf(element));
  return beta_ * Broadcast(operands_[kAddend], element);
}

double IntegerOracle::Broadcast(const LayerOperand& operand, int64_t element) const {
  const Shape& shape = operand.type.shape;
  int64_t index = 0, stride = 1;
  for (size_t i = 1; i <= shape.size(); ++i) {
    const int64_t size = output_[output_.size() - i], at = element % size;
    element /= size;
    if (shape[shape.size() - i] != 1) index += at * stride;
    stride *= shape[shape.size() - i];
  }
  const double stored = Stored(operand.value, index);
  if (!operand.type.quant) return stored;
  return (stored - operand.type.quant->zero_points[0]) * operand.type.quant->scales[0];
}

double IntegerOracle::Chain(double value, int64_t element) const {
  for (const graph::FusedOp& fused : node_.fused) {
    if (TakesOperand(fused)) {
      const double other = Broadcast(operands_[static_cast<size_t>(fused.input)], element);
      value = fused.op == "Add" ? value + other : value * other;
    } else {
      value = *Activation(fused, value);
    }
  }
  return value;
}

}  // namespace octet::runtime
