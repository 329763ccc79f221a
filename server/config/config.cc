#include "server/config/config.h"

namespace octet::server {

ModelConfig Config::ForModel(absl::string_view name) const {
  for (const ModelConfig& model : models) {
    if (model.name == name) return model;
  }
  ModelConfig model;
  model.name = std::string(name);
  model.batching = batching;
  model.execution = execution;
  model.quantization = quantization;
  return model;
}

}  // namespace octet::server
