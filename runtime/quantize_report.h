// The report on a quantized model, for people and for programs.

#pragma once

#include <string>

#include "runtime/quantize_model.h"

namespace octet::runtime {

// Aligned columns: what was decided for each layer and why, then the whole model.
std::string ReportText(const QuantizeReport& report);

// One JSON object; "schema" names its form.
std::string ReportJson(const QuantizeReport& report);

}  // namespace octet::runtime
