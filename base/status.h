// Shorthand for absl::Status: early return, and context added on the way up.
//
// Errors are values everywhere in Octet. A message names what was expected, what was found and
// where; Annotate() adds the "where" that only the caller knows.

#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet {

// `status` with "context: " put before its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace octet

#define OCTET_RETURN_IF_ERROR(expression)     \
  do {                                        \
    absl::Status octet_status = (expression); \
    if (!octet_status.ok()) [[unlikely]]      \
      return octet_status;                    \
  } while (false)

#define OCTET_CONCAT_INNER(a, b) a##b
#define OCTET_CONCAT(a, b) OCTET_CONCAT_INNER(a, b)

// OCTET_ASSIGN_OR_RETURN(const int n, ReadNumber()) declares n, or returns the error.
#define OCTET_ASSIGN_OR_RETURN(declaration, expression) \
  OCTET_ASSIGN_OR_RETURN_INNER(OCTET_CONCAT(octet_or_, __LINE__), declaration, expression)

#define OCTET_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                         \
  if (!result.ok()) [[unlikely]]                                      \
    return std::move(result).status();                                \
  declaration = *std::move(result)
