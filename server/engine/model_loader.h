// The server's way from a model file to a CompiledModel.

#pragma once

#include "server/config/config.h"
#include "server/models/model_manager.h"

namespace octet::server {

// Loads a model as its entry in `config` says, and logs each stage and, at the end, what was
// quantized and saved. Keeps a copy of `config`. Thread-safe.
ModelLoader MakeModelLoader(const Config& config);

}  // namespace octet::server
