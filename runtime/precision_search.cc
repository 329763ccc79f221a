#include "runtime/precision_search.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "runtime/layer_sensitivity.h"

namespace octet::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using quant::Precision;
using Precisions = std::vector<Precision>;

// Measurements spent on moving layers back.
constexpr int kMostMovesBack = 12;
// Shares of the multiply-accumulates that are tried outside int8 before all that may be.
constexpr double kSmallestFloatShare = 0.05, kSmallFloatShare = 0.15;
// Of a move that was tried by itself.
constexpr double kLeastGainDb = 0.05;

// Where layers move up to.
enum class Rung : uint8_t {
  kInt8,     // from 4 bits
  kDynamic,  // still int8
  kTop,      // of their ladder
};

class Search {
 public:
  Search(const std::vector<SearchLayer>& layers, const AccuracyValues& start,
         const SearchOptions& options, const MeasurePrecisions& measure)
      : layers_(layers), options_(options), measure_(measure), best_{{}, start} {
    for (const SearchLayer& layer : layers) {
      best_.precisions.push_back(layer.ladder.front());
      total_macs_ += layer.macs;
    }
  }

  absl::StatusOr<SearchResult> Run() {
    if (!Reached() && Measured(options_.target, best_.values)) {
      OCTET_ASSIGN_OR_RETURN(order_, Ranked());
      OCTET_RETURN_IF_ERROR(MoveUp(Rung::kInt8));
      OCTET_RETURN_IF_ERROR(MoveUp(Rung::kDynamic));
      OCTET_RETURN_IF_ERROR(MoveToTop());
      if (Reached()) OCTET_RETURN_IF_ERROR(MoveBack());
    }
    return Result();
  }

 private:
  struct Attempt {
    Precisions precisions;
    AccuracyValues values;
  };

  double Seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_time_).count();
  }

  bool Reached() const { return Holds(options_.target, best_.values); }

  absl::StatusOr<std::vector<LayerNoise>> Ranked() {
    if (!options_.layer_noise.empty()) {
      return RankByLayerNoise(layers_, options_.layer_noise, Noise());
    }
    return MeasureSensitivity(layers_, [this](const Precisions& precisions) {
      return Measure(precisions, options_.sensitivity_samples, options_.seconds / 2);
    });
  }

  // Nothing once the time is out.
  absl::StatusOr<std::optional<AccuracyValues>> Measure(const Precisions& precisions,
                                                        size_t max_samples, double seconds) {
    if (Seconds() >= seconds) {
      out_of_time_ = true;
      return std::nullopt;
    }
    ++attempts_;
    if (options_.progress) {
      options_.progress("search precisions", absl::StrCat("measurement ", attempts_));
    }
    return measure_(precisions, max_samples);
  }

  absl::StatusOr<std::optional<Attempt>> Try(Precisions precisions) {
    OCTET_ASSIGN_OR_RETURN(const std::optional<AccuracyValues> values,
                           Measure(precisions, SIZE_MAX, options_.seconds));
    if (!values) return std::nullopt;
    return Attempt{std::move(precisions), *values};
  }

  // The noise that the target allows, where that follows from the target; else nothing.
  std::optional<double> AllowedNoise() const {
    const AccuracyTarget& target = options_.target;
    if (target.metric == AccuracyMetric::kSqnr) return std::pow(10, -target.value / 10);
    if (target.metric == AccuracyMetric::kRelativeError) return target.value * target.value;
    return std::nullopt;
  }

  double Noise() const { return best_.values.relative_error * best_.values.relative_error; }

  // What moving a layer to float gains for what it costs; even the smallest layer costs something.
  double NoiseByCost(const LayerNoise& layer) const {
    const auto total = static_cast<double>(total_macs_);
    return layer.noise / (static_cast<double>(layers_[layer.layer].macs) + total / 200 + 1);
  }

  // The multiply-accumulates that leave int8 when this layer gets its highest precision.
  double CostOfTop(const SearchLayer& layer) const {
    const bool leaves = IsInt8(layer.ladder.front()) && !IsInt8(layer.ladder.back());
    return leaves ? static_cast<double>(layer.macs) : 0;
  }

  Precision Target(const SearchLayer& layer, Rung rung) const {
    if (rung == Rung::kTop) return layer.ladder.back();
    return rung == Rung::kInt8 ? Precision::kInt8 : Precision::kInt8Dynamic;
  }

  // Entries of order_ that may move up to `rung`; to the top as many as the budget has room for.
  std::vector<size_t> Candidates(Rung rung) const {
    double room = rung == Rung::kTop ? float_room_ : HUGE_VAL;
    std::vector<size_t> candidates, order(order_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (rung == Rung::kTop) {  // which alone is slower; the others stay int8
      std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) {
        return NoiseByCost(order_[a]) > NoiseByCost(order_[b]);
      });
    }
    for (const size_t i : order) {
      const SearchLayer& layer = layers_[order_[i].layer];
      const auto& ladder = layer.ladder;
      const Precision target = Target(layer, rung);
      const auto now = std::find(ladder.begin(), ladder.end(), best_.precisions[order_[i].layer]);
      if (std::find(now, ladder.end(), target) == ladder.end() || *now == target) continue;
      const double cost = rung == Rung::kTop ? CostOfTop(layer) : 0;
      if (cost > room) continue;
      room -= cost;
      candidates.push_back(i);
    }
    return candidates;
  }

  // How many of the candidates have to move if all their noise went.
  size_t Guess(const std::vector<size_t>& candidates) const {
    const std::optional<double> allowed = AllowedNoise();
    double noise = Noise();
    size_t count = 0;
    while (allowed && count < candidates.size() && noise > *allowed) {
      noise -= order_[candidates[count++]].noise;
    }
    return std::max<size_t>(count, 1);
  }

  // Moves the first of the candidates, as few as reach the target; from the guess in growing steps,
  // then by halving. If none do, as many as gave the best outputs.
  absl::Status MoveUp(Rung rung) {
    const std::vector<size_t> candidates = Candidates(rung);
    if (Reached() || candidates.empty()) return absl::OkStatus();
    const Precisions before = best_.precisions;
    size_t fails = 0, holds = candidates.size() + 1;
    size_t count = Guess(candidates), step = 1;
    std::optional<Attempt> found;
    while (fails + 1 < holds) {
      Precisions next = before;
      for (size_t i = 0; i < count; ++i) {
        const size_t layer = order_[candidates[i]].layer;
        next[layer] = Target(layers_[layer], rung);
      }
      OCTET_ASSIGN_OR_RETURN(std::optional<Attempt> attempt, Try(std::move(next)));
      if (!attempt) break;
      if (Holds(options_.target, attempt->values)) {
        holds = count;
        found = std::move(attempt);
      } else {
        fails = count;
        if (!found && Better(options_.target, attempt->values, best_.values)) best_ = *attempt;
      }
      if (fails == 0) {
        count = holds > step ? holds - step : 1;
      } else if (holds > candidates.size()) {
        count = std::min(fails + step, candidates.size());
      } else {
        count = (fails + holds) / 2;
      }
      step *= 2;
    }
    if (found) best_ = *std::move(found);
    return absl::OkStatus();
  }

  // With little of the budget first: a few cheap layers are often enough, and where large ones may
  // go they crowd out the small.
  absl::Status MoveToTop() {
    const Attempt before = best_;
    for (const double share : {kSmallestFloatShare, kSmallFloatShare, 1.0}) {
      if (Reached() || out_of_time_) break;
      if (share < 1 && share >= options_.max_float_fraction) continue;
      float_room_ = std::min(share, options_.max_float_fraction) * static_cast<double>(total_macs_);
      Attempt best = std::exchange(best_, before);
      OCTET_RETURN_IF_ERROR(MoveUp(Rung::kTop));
      OCTET_RETURN_IF_ERROR(OneByOne(before));
      if (Better(options_.target, best.values, best_.values)) best_ = std::move(best);
    }
    return absl::OkStatus();
  }

  // Where moving the worst together has missed the target: each in turn, from `before`, kept if it
  // helps. Slow, but right where noise does not add up.
  absl::Status OneByOne(Attempt before) {
    std::swap(best_, before);  // what MoveUp() found is now in `before`
    if (Holds(options_.target, before.values)) {
      best_ = std::move(before);
      return absl::OkStatus();
    }
    double room = float_room_;
    for (size_t i = 0; i < order_.size() && !Reached(); ++i) {
      const SearchLayer& layer = layers_[order_[i].layer];
      if (CostOfTop(layer) > room) continue;
      Precisions next = best_.precisions;
      next[order_[i].layer] = layer.ladder.back();
      OCTET_ASSIGN_OR_RETURN(std::optional<Attempt> attempt, Try(std::move(next)));
      if (!attempt) break;
      if (!Better(options_.target, attempt->values, best_.values)) continue;
      if (attempt->values.sqnr_db < best_.values.sqnr_db + kLeastGainDb) continue;
      room -= CostOfTop(layer);
      best_ = *std::move(attempt);
    }
    if (Better(options_.target, before.values, best_.values)) best_ = std::move(before);
    return absl::OkStatus();
  }

  // The layers above their first precision, those whose move gained least for its cost first.
  std::vector<size_t> Moved() const {
    std::vector<size_t> moved;
    for (size_t i = order_.size(); i > 0; --i) {
      const size_t layer = order_[i - 1].layer;
      if (best_.precisions[layer] != layers_[layer].ladder.front()) moved.push_back(i - 1);
    }
    std::stable_sort(moved.begin(), moved.end(), [this](size_t a, size_t b) {
      return NoiseByCost(order_[a]) < NoiseByCost(order_[b]);
    });
    return moved;
  }

  absl::Status MoveBack() {
    OCTET_RETURN_IF_ERROR(MoveBack(Moved(), std::nullopt));
    // What cannot go back all the way may need less than float32.
    for (const Precision precision : {Precision::kInt8, Precision::kInt8Dynamic}) {
      OCTET_RETURN_IF_ERROR(MoveBack(MovedAbove(precision), precision));
    }
    moves_back_ = 0;  // bfloat16 is nearly as good: mostly one measurement for all
    return MoveBack(MovedAbove(Precision::kBFloat16), Precision::kBFloat16);
  }

  std::vector<size_t> MovedAbove(Precision precision) const {
    std::vector<size_t> above = Moved();
    std::erase_if(above, [&](size_t i) {
      const size_t layer = order_[i].layer;
      const auto& ladder = layers_[layer].ladder;
      const auto there = std::find(ladder.begin(), ladder.end(), precision);
      if (there == ladder.begin()) return true;
      return there == ladder.end() ||
             std::find(ladder.begin(), there + 1, best_.precisions[layer]) != there + 1;
    });
    return above;
  }

  // Gives these entries of order_ that precision, or the first of their ladders, all at once or by
  // halves, where the target goes on holding.
  absl::Status MoveBack(const std::vector<size_t>& entries, std::optional<Precision> precision) {
    if (entries.empty() || moves_back_ >= kMostMovesBack) return absl::OkStatus();
    Precisions next = best_.precisions;
    double noise = Noise();
    for (const size_t i : entries) {
      const size_t layer = order_[i].layer;
      next[layer] = precision.value_or(layers_[layer].ladder.front());
      if (!precision) noise += order_[i].noise;
    }
    // Sums of noise are no more than estimates: what is far too much is not worth a measurement.
    const std::optional<double> allowed = AllowedNoise();
    if (!allowed || noise < 1.2 * *allowed) {
      ++moves_back_;
      OCTET_ASSIGN_OR_RETURN(std::optional<Attempt> attempt, Try(std::move(next)));
      if (!attempt) return absl::OkStatus();
      if (Holds(options_.target, attempt->values)) {
        best_ = *std::move(attempt);
        return absl::OkStatus();
      }
    }
    if (entries.size() == 1) return absl::OkStatus();
    const auto middle = entries.begin() + static_cast<ptrdiff_t>(entries.size() / 2);
    OCTET_RETURN_IF_ERROR(MoveBack({entries.begin(), middle}, precision));
    return MoveBack({middle, entries.end()}, precision);
  }

  // Why it has moved from its first precision.
  static std::string ReasonOf(const LayerNoise& layer, absl::string_view first) {
    if (!layer.sqnr_db) return "moved up before it was measured";
    if (layer.of_layer) {
      return absl::StrFormat("%s leaves its own result %.1f dB", first, *layer.sqnr_db);
    }
    const absl::string_view of = layer.group_size == 1 ? "" : " of it and its neighbours";
    return absl::StrFormat("%s%s alone leaves %.1f dB", first, of, *layer.sqnr_db);
  }

  SearchResult Result() const {
    SearchResult result{.precisions = best_.precisions,
                        .values = best_.values,
                        .alone_sqnr_db = std::vector<double>(layers_.size()),
                        .reasons = std::vector<std::string>(layers_.size()),
                        .attempts = attempts_,
                        .seconds = Seconds(),
                        .out_of_time = out_of_time_};
    for (const LayerNoise& layer : order_) {
      const SearchLayer& moved = layers_[layer.layer];
      const absl::string_view first =
          moved.ladder.front() == Precision::kInt8 ? "static int8" : Name(moved.ladder.front());
      const bool alone = layer.group_size == 1 && !layer.of_layer;
      if (alone) result.alone_sqnr_db[layer.layer] = layer.sqnr_db.value_or(0);
      if (best_.precisions[layer.layer] == moved.ladder.front()) continue;
      result.reasons[layer.layer] = ReasonOf(layer, first);
    }
    return result;
  }

  const std::vector<SearchLayer>& layers_;
  const SearchOptions& options_;
  const MeasurePrecisions& measure_;
  const Clock::time_point start_time_ = Clock::now();
  Attempt best_;
  std::vector<LayerNoise> order_;  // the noisiest first
  int64_t total_macs_ = 0;
  double float_room_ = 0;  // multiply-accumulates that may leave int8
  int attempts_ = 0, moves_back_ = 0;
  bool out_of_time_ = false;
};

// The layers, of which those with many of the weights have to stay in int8: in float32 they would
// cost the memory that int8 is for.
std::vector<SearchLayer> HeavyStay(std::vector<SearchLayer> layers) {
  double total = 0;
  for (const SearchLayer& layer : layers) total += static_cast<double>(layer.weights);
  for (SearchLayer& layer : layers) {
    if (static_cast<double>(layer.weights) <= total * kCheapFloatFraction) continue;
    if (!IsInt8(layer.ladder.front())) continue;
    std::erase_if(layer.ladder, [](Precision precision) { return !IsInt8(precision); });
  }
  return layers;
}

}  // namespace

absl::StatusOr<SearchResult> SearchPrecisions(const std::vector<SearchLayer>& layers,
                                              const AccuracyValues& start,
                                              const SearchOptions& options,
                                              const MeasurePrecisions& measure) {
  if (options.target_is_set || options.target.metric != AccuracyMetric::kSqnr) {
    return Search(layers, start, options, measure).Run();
  }
  SearchOptions more = options;
  more.target.value = std::max(options.target.value, kComfortableSqnr);
  more.max_float_fraction = std::min(options.max_float_fraction, kCheapFloatFraction);
  const std::vector<SearchLayer> candidates = HeavyStay(layers);
  OCTET_ASSIGN_OR_RETURN(SearchResult cheap, Search(candidates, start, more, measure).Run());
  if (cheap.out_of_time || Holds(options.target, cheap.values)) return cheap;
  more = options;
  more.seconds -= cheap.seconds;
  OCTET_ASSIGN_OR_RETURN(SearchResult found, Search(layers, start, more, measure).Run());
  found.attempts += cheap.attempts;
  found.seconds += cheap.seconds;
  return found;
}

}  // namespace octet::runtime
