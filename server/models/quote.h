// Text from clients and file names, made fit for messages and logs.

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace octet::server {

// `text` in double quotes, with everything but printable ASCII escaped, cut after 100 characters.
std::string Quote(absl::string_view text);

}  // namespace octet::server
