#include "server/models/quote.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace octet::server {

std::string Quote(absl::string_view text) {
  constexpr size_t kLongest = 100;
  const bool cut = text.size() > kLongest;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kLongest)), cut ? "...\"" : "\"");
}

}  // namespace octet::server
