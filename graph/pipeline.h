// The float passes, where a load wants other ones than usual.

#pragma once

#include <vector>

#include "graph/pass.h"

namespace octet::graph {

struct PipelineOptions {
  bool strip_quantization = false;  // quantizers that the model brings go, rather than being used
  bool fold_batch_norm = true;
};
std::vector<Pass> FloatPipeline(const PipelineOptions& options);

}  // namespace octet::graph
