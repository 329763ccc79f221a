// What the server tells about its models, as messages of the protocol.

#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "proto/open_inference.pb.h"
#include "server/models/model_manager.h"
#include "server/models/servable_model.h"

namespace octet::server {

// `versions` are all that are ready.
void FillMetadata(const ServableModel& model, const std::vector<std::string>& versions,
                  inference::ModelMetadataResponse& response);

void FillConfig(const ServableModel& model, inference::ModelConfig& config);

void FillStatistics(const ServableModel& model, inference::ModelStatistics& statistics);

// READY, LOADING, UNLOADING or UNAVAILABLE.
absl::string_view RepositoryState(ModelState state);

}  // namespace octet::server
