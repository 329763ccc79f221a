// The quantization report as one HTML file that needs no other file and no network.

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace octet::server {

// `json` is what runtime::ReportJson() writes. Whatever names it has in it, none of them can end
// the data it stands in or become markup.
std::string ReportPage(absl::string_view json);

}  // namespace octet::server
