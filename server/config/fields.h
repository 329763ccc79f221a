// The rows of every section; each has its own file, <section>_config.cc.

#pragma once

#include <string>
#include <vector>

#include "server/config/config.h"
#include "server/config/field.h"

namespace octet::server {

const Fields<ServerConfig>& ServerFields();
const Fields<BatchingConfig>& BatchingFields();
const Fields<ExecutionConfig>& ExecutionFields();
const Fields<QuantizationConfig>& QuantizationFields();
const Fields<BitsConfig>& BitsFields();
const Fields<WeightQuantizationConfig>& WeightQuantizationFields();
const Fields<ActivationQuantizationConfig>& ActivationQuantizationFields();
const Fields<AlgorithmParameters>& AlgorithmParameterFields();
const Fields<LayerActivationsConfig>& LayerActivationFields();
const Fields<PreprocessingConfig>& PreprocessingFields();
const Fields<TransformsConfig>& TransformsFields();
const Fields<LogConfig>& LogFields();
const Fields<ModelConfig>& ModelFields();
const Fields<Config>& ConfigFields();  // the top level

// What is wrong with settings whose values are each of the right form, or "".
std::string CheckQuantization(const QuantizationConfig& quantization);
std::string CheckWeightQuantization(const QuantizationConfig& quantization);  // parts of it
std::string CheckActivationQuantization(const QuantizationConfig& quantization);
std::string CheckPreprocessing(const PreprocessingConfig& preprocessing);

// Whether a rule for layers says anything of their activations.
bool SetsActivations(const LayerActivationsConfig& activations);

// What a user calls the range estimators, the default first.
const std::vector<std::string>& RangeEstimatorNames();

}  // namespace octet::server
