#include "runtime/algorithm_table.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace octet::runtime {
namespace {

void Add(double value, size_t& count, std::optional<OverLayers>& over) {
  if (!over) over = OverLayers{0, value};
  over->mean += (value - over->mean) / static_cast<double>(++count);
  over->worst = std::min(over->worst, value);
}

struct Counts {
  size_t per_tensor = 0, per_channel = 0, activations = 0;
};

std::string Cell(const std::optional<OverLayers>& over) {
  return over ? absl::StrFormat("%6.1f (%5.1f)", over->mean, over->worst) : "-";
}

}  // namespace

std::vector<AlgorithmRow> CompareAlgorithms(const QuantizeReport& report) {
  std::map<std::string, std::pair<AlgorithmRow, Counts>> rows;
  for (const LayerDetails& layer : report.details) {
    for (const WeightAlgorithm& algorithm : layer.weights.algorithms) {
      auto& [row, counts] = rows[algorithm.name];
      if (const auto& sqnr = algorithm.per_tensor_sqnr_db) {
        Add(*sqnr, counts.per_tensor, row.per_tensor);
      }
      if (const auto& sqnr = algorithm.per_channel_sqnr_db) {
        Add(*sqnr, counts.per_channel, row.per_channel);
      }
    }
    if (!layer.activations) continue;
    for (const ActivationAlgorithm& algorithm : layer.activations->algorithms) {
      auto& [row, counts] = rows[algorithm.name];
      Add(algorithm.sqnr_db, counts.activations, row.activations);
    }
  }
  std::vector<AlgorithmRow> result;
  for (auto& [name, row] : rows) {
    row.first.name = name;
    for (const QuantizeReport::Attempt& attempt : report.attempts) {
      if (attempt.algorithm == name) row.first.output_sqnr_db = attempt.output_sqnr_db;
    }
    result.push_back(std::move(row.first));
  }
  return result;
}

std::string AlgorithmTable(const QuantizeReport& report) {
  std::string text =
      "SQNR in dB, mean over the layers and the worst: of the weights with one scale per tensor "
      "or\n"
      "per output channel, of what the layers read; and of the network's output, measured.\n\n";
  absl::StrAppendFormat(&text, "%-24s %15s %15s %15s %8s\n", "algorithm", "per tensor",
                        "per channel", "activations", "output");
  for (const AlgorithmRow& row : CompareAlgorithms(report)) {
    const std::string output =
        row.output_sqnr_db ? absl::StrFormat("%.1f", *row.output_sqnr_db) : "-";
    absl::StrAppendFormat(&text, "%-24s %15s %15s %15s %8s%s\n", row.name, Cell(row.per_tensor),
                          Cell(row.per_channel), Cell(row.activations), output,
                          row.name == report.activation_algorithm ? "  chosen" : "");
  }
  return text;
}

}  // namespace octet::runtime
