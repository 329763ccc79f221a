// Dropout at inference: the input as it is, and a mask that keeps everything.

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/infer.h"
#include "kernels/lowering.h"
#include "kernels/operator.h"

namespace octet::kernels::ops {
namespace {

constexpr int kTrainingMode = 2;

absl::Status CheckInference(const InferContext& context) {
  if (!context.has_input(kTrainingMode)) return absl::OkStatus();
  OCTET_RETURN_IF_ERROR(ExpectType(context, kTrainingMode, DataType::kBool));
  const Tensor* const training = context.constant(kTrainingMode);
  if (training == nullptr || training->size() != 1) {
    return absl::UnimplementedError("training_mode must be a constant");
  }
  if (training->As<bool>()[0]) return absl::UnimplementedError("training is not supported");
  return absl::OkStatus();
}

template <DataType kMask>
absl::StatusOr<std::vector<TensorType>> Infer(const InferContext& context) {
  OCTET_RETURN_IF_ERROR(CheckInference(context));
  OCTET_RETURN_IF_ERROR(ExpectType(context, 0, DataType::kFloat32));
  return std::vector<TensorType>{context.input(0), {.dtype = kMask, .shape = context.shape(0)}};
}

absl::Status Reference(const graph::Node&, std::span<const ConstTensorView> inputs,
                       std::span<TensorView> outputs) {
  if (outputs[0].present() && outputs[0].byte_size() > 0) {
    std::memcpy(outputs[0].data, inputs[0].data, outputs[0].byte_size());
  }
  if (outputs.size() > 1 && outputs[1].present()) {
    VisitType(outputs[1].dtype, [&]<typename T>() { std::ranges::fill(outputs[1].As<T>(), T{1}); });
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Lower(LoweringContext& context) {
  if (!context.has_output(0) || context.has_output(1)) return false;
  OCTET_RETURN_IF_ERROR(context.AliasPlain(0, 0));
  return true;
}

// The mask's type is what changed.
template <DataType kMask>
constexpr Operator Row(int since_version) {
  return {.schema = {.type = "Dropout",
                     .since_version = since_version,
                     .min_inputs = 1,
                     .max_inputs = 3,
                     .infer = Infer<kMask>,
                     .reference = Reference},
          .lower = Lower};
}

constexpr std::array kOperators = {Row<DataType::kFloat32>(7), Row<DataType::kBool>(10)};

}  // namespace

std::span<const Operator> dropout() { return kOperators; }

}  // namespace octet::kernels::ops
