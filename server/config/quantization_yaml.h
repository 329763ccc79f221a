// Quantization settings as a configuration file.

#pragma once

#include <string>

#include "server/config/config.h"

namespace octet::server {

// A file of the one section `quantization`, with every setting that has a value. ParseConfig() of
// it gives these settings again.
std::string QuantizationYaml(const QuantizationConfig& quantization);

}  // namespace octet::server
