// How long a run takes at each compiled batch size, learned from the runs themselves.
//
// The scheduler asks two things of it: where larger batches stop paying (the knee), and whether a
// request can still be answered before its deadline. An unknown time is zero, so that what was
// never measured is never a reason to refuse.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/time/time.h"

namespace octet::server {

// Not thread-safe.
class ServiceTimes {
 public:
  // `sizes` are the compiled batch sizes, ascending, at least one.
  explicit ServiceTimes(std::span<const int64_t> sizes);

  // A run of `rows` rows took `elapsed`. The first run at each size is left out: it may have
  // compiled its plan.
  void Record(int64_t rows, absl::Duration elapsed);

  // A measurement known to be of a warm run.
  void Seed(int64_t rows, absl::Duration elapsed);

  // Time of a run of `rows` rows, padded to the next compiled size; zero if unknown.
  absl::Duration At(int64_t rows) const;

  // Least time per row over all sizes; zero if unknown.
  absl::Duration BestPerRow() const;

  // Smallest size with at least 95 % of the best throughput; the largest size while fewer than two
  // sizes are known.
  int64_t Knee() const;

  // Lowers the estimate for `rows` a little. Called whenever the estimate was the reason to refuse
  // a request: one slow run must not lock out the very requests that would correct it.
  void Doubt(int64_t rows);

 private:
  struct Entry {
    int64_t size;
    bool warm = false;  // the run that may have compiled is behind us
    absl::Duration estimate = absl::ZeroDuration();
  };

  Entry& EntryFor(int64_t rows);
  const Entry& EntryFor(int64_t rows) const;

  std::vector<Entry> entries_;
};

}  // namespace octet::server
