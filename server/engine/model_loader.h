// The server's way from a model file to a CompiledModel.

#pragma once

#include "server/config/config.h"
#include "server/engine/request_learning.h"
#include "server/models/model_manager.h"

namespace octet::server {

// Loads a model as its entry in `config` says, and logs each stage and, at the end, what was
// quantized and saved. Keeps a copy of `config`. Thread-safe. Models learn from requests if there
// is somebody to `replace` them then; see request_learning.h.
ModelLoader MakeModelLoader(const Config& config, const ReplaceModel& replace = {});

}  // namespace octet::server
