// What the configuration says about one model, in the engine's terms.

#pragma once

#include "runtime/load.h"
#include "server/config/config.h"

namespace octet::server {

// `threads` per stream, already resolved (see ResolveExecution).
runtime::LoadOptions ToLoadOptions(const ModelConfig& model, int threads);

// Where the decisions of loads with these settings are kept.
runtime::PackCache ToPackCache(const QuantizationConfig& quantization);

struct Execution {
  int streams = 1;
  int threads_per_stream = 1;
};

// Fills in what the configuration leaves to us: one stream per core that this process may use
// (affinity mask and cgroup quota), each with one thread.
Execution ResolveExecution(const ExecutionConfig& config);

// Cores that this process may use, at least 1.
int UsableCores();

}  // namespace octet::server
