#include "server/batching/service_times.h"

#include <algorithm>

namespace octet::server {
namespace {

// Estimates fall quickly and rise slowly: a run that was disturbed says little about the next one.
constexpr double kFall = 0.5;
constexpr double kRise = 0.1;
constexpr double kDoubt = 0.9;
constexpr double kKneeShare = 0.95;

}  // namespace

ServiceTimes::ServiceTimes(std::span<const int64_t> sizes) {
  for (const int64_t size : sizes) entries_.push_back({.size = size});
}

const ServiceTimes::Entry& ServiceTimes::EntryFor(int64_t rows) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [rows](const Entry& entry) { return entry.size >= rows; });
  return found == entries_.end() ? entries_.back() : *found;
}

ServiceTimes::Entry& ServiceTimes::EntryFor(int64_t rows) {
  return const_cast<Entry&>(std::as_const(*this).EntryFor(rows));
}

void ServiceTimes::Record(int64_t rows, absl::Duration elapsed) {
  Entry& entry = EntryFor(rows);
  if (!entry.warm) {
    entry.warm = true;
    return;
  }
  if (entry.estimate == absl::ZeroDuration()) {
    entry.estimate = elapsed;
    return;
  }
  const absl::Duration change = elapsed - entry.estimate;
  entry.estimate += change * (change < absl::ZeroDuration() ? kFall : kRise);
}

void ServiceTimes::Seed(int64_t rows, absl::Duration elapsed) {
  EntryFor(rows).warm = true;
  Record(rows, elapsed);
}

absl::Duration ServiceTimes::At(int64_t rows) const { return EntryFor(rows).estimate; }

absl::Duration ServiceTimes::BestPerRow() const {
  absl::Duration best = absl::InfiniteDuration();
  for (const Entry& entry : entries_) {
    if (entry.estimate > absl::ZeroDuration()) best = std::min(best, entry.estimate / entry.size);
  }
  return best == absl::InfiniteDuration() ? absl::ZeroDuration() : best;
}

int64_t ServiceTimes::Knee() const {
  const auto known = std::count_if(entries_.begin(), entries_.end(), [](const Entry& entry) {
    return entry.estimate > absl::ZeroDuration();
  });
  if (known < 2) return entries_.back().size;
  const absl::Duration enough = BestPerRow() / kKneeShare;
  for (const Entry& entry : entries_) {
    if (entry.estimate > absl::ZeroDuration() && entry.estimate / entry.size <= enough) {
      return entry.size;
    }
  }
  return entries_.back().size;
}

void ServiceTimes::Doubt(int64_t rows) {
  Entry& entry = EntryFor(rows);
  entry.estimate *= kDoubt;
}

}  // namespace octet::server
