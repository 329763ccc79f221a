#include "server/config/spelling.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/config/utf8.h"

namespace octet::server {
namespace {

// Longer words are no misspelling of a key, and the distance takes quadratic time.
constexpr size_t kLongestWord = 64;
constexpr size_t kLongestQuote = 60;

}  // namespace

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string Suggestion(absl::string_view word, std::span<const std::string> known) {
  const std::string* nearest = nullptr;
  size_t nearest_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    if (word.size() > kLongestWord) break;
    const size_t distance = EditDistance(word, candidate);
    // A distance as long as the candidate means that no letter of it is left.
    if (distance < nearest_distance && distance < candidate.size()) {
      nearest = &candidate;
      nearest_distance = distance;
    }
  }
  if (nearest != nullptr) return absl::StrCat("; did you mean '", *nearest, "'?");
  return absl::StrCat("; known: ", absl::StrJoin(known, ", "));
}

std::string Quoted(absl::string_view text) {
  size_t end = 0;
  while (end < text.size() && end < kLongestQuote) {
    end += std::max<size_t>(1, Utf8CharacterSize(text.substr(end)));
  }
  return absl::StrCat("'", absl::Utf8SafeCHexEscape(text.substr(0, end)),
                      end < text.size() ? "..." : "", "'");
}

}  // namespace octet::server
