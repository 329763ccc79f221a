// The log line of a model that has been loaded.

#pragma once

#include "server/models/servable_model.h"

namespace octet::server {

// One line that says what became of the model; `seconds` is how long that took, warm-up included.
void LogReady(const ServableModel& servable, double seconds);

}  // namespace octet::server
