// What a user probably meant.

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/strings/string_view.h"

namespace octet::server {

// Levenshtein distance: insertions, deletions and substitutions of one byte.
size_t EditDistance(absl::string_view a, absl::string_view b);

// "; did you mean 'x'?" for the nearest of `known`, when one is near; otherwise
// "; known: a, b, c".
std::string Suggestion(absl::string_view word, std::span<const std::string> known);

// `text` in single quotes, fit for one line of an error message: control characters escaped, long
// texts cut.
std::string Quoted(absl::string_view text);

}  // namespace octet::server
