// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.

#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace octet::server {

// Bytes of the character that `text` begins with; 0 if it begins with none.
size_t Utf8CharacterSize(absl::string_view text);

}  // namespace octet::server
