// What is told of a model that has been loaded: in the log, and to the metrics.

#pragma once

#include "server/models/servable_model.h"

namespace octet::server {

// One line that says what became of the model; `seconds` is how long that took, warm-up included.
void LogReady(const ServableModel& servable, double seconds);

LoadedModel LoadedFrom(const runtime::ModelSummary& summary, double seconds);

}  // namespace octet::server
