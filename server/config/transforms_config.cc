// Rows of `quantization.transforms`.

#include "server/config/fields.h"

namespace octet::server {
namespace {

ValueForm<Switch> AutoOnOff() {
  return Choice<Switch>({{"auto", Switch::kAuto}, {"on", Switch::kOn}, {"off", Switch::kOff}});
}

const Fields<SmoothQuantConfig>& SmoothQuantFields() {
  static const auto* const kFields = new Fields<SmoothQuantConfig>{
      Value("enabled", &SmoothQuantConfig::enabled, AutoOnOff(),
            "auto smooths transformers and equalizes the channels between convolutions, with "
            "calibration data."),
      Value("alpha", &SmoothQuantConfig::alpha, RealOrAuto(1),
            "How much of the difficulty moves from the activations into the weights; auto is 0.5 "
            "where ranges are taken by token, and else chooses for each activation."),
  };
  return *kFields;
}

}  // namespace

const Fields<TransformsConfig>& TransformsFields() {
  static const auto* const kFields = new Fields<TransformsConfig>{
      Section("smooth_quant", &TransformsConfig::smooth_quant, SmoothQuantFields(),
              "Channels with outliers are divided, the weights that read them multiplied."),
      Value("fold_batchnorm", &TransformsConfig::fold_batchnorm, Boolean(),
            "BatchNormalization behind a convolution or matrix product becomes part of its weights "
            "and bias, in float32 models too; without, it is a step of its own, in float."),
      Value("cross_layer_equalization", &TransformsConfig::cross_layer_equalization, AutoOnOff(),
            "Gives the channels between two convolutions like ranges, where a ReLU, a PReLU, "
            "pooling or nothing is between them; auto does so with weights.granularity per_tensor, "
            "which is what it is for."),
      Value("bias_correction", &TransformsConfig::bias_correction, AutoOnOff(),
            "Takes the mean error of every layer out of its bias; auto keeps that where the "
            "outputs are measured to come nearer to float32."),
      Value("attention_matmul", &TransformsConfig::attention_matmul,
            Choice<AttentionMatmul>({{"auto", AttentionMatmul::kAuto},
                                     {"bf16", AttentionMatmul::kBFloat16},
                                     {"float", AttentionMatmul::kFloat}}),
            "What attention multiplies queries with keys, and their softmax with values, in; sums "
            "are float32. auto and bf16 are bfloat16 on CPUs that multiply it (AVX512-BF16, AMX), "
            "else float. With mode fp32 it is float."),
  };
  return *kFields;
}

}  // namespace octet::server
