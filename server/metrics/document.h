// docs/metrics.md, written from the catalog.

#pragma once

#include <string>

namespace octet::server {

std::string MetricsDocument();

}  // namespace octet::server
