#include "runtime/synthetic_samples.h"

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::runtime {
namespace {

using graph::Graph;
using graph::ValueId;

// Tables with fewer rows are of kinds or flags, not of words.
constexpr int64_t kFewestWords = 32;
// Of sequences whose length is not fixed.
constexpr int64_t kShortest = 8, kLongest = 64;
// How far an input is followed through operators that keep its numbers.
constexpr int kMostSteps = 16;

bool KeepsNumbers(const std::string& op) {
  return op == "Cast" || op == "Reshape" || op == "Unsqueeze" || op == "Squeeze" ||
         op == "Flatten" || op == "Identity" || op == "Transpose";
}

// Rows of the smallest table that `value` is looked up in.
std::optional<int64_t> TableRows(const Graph& graph, ValueId value, int steps = 0) {
  std::optional<int64_t> rows;
  const auto keep = [&rows](std::optional<int64_t> found) {
    if (found && (!rows || *found < *rows)) rows = found;
  };
  for (const graph::NodeId id : graph.value(value).consumers) {
    const graph::Node& node = graph.node(id);
    if (node.op == "Gather" && node.inputs[1] == value && graph.IsConstant(node.inputs[0])) {
      const Shape& table = graph.value(node.inputs[0]).type.shape;
      const auto rank = static_cast<int64_t>(table.size());
      const int64_t axis = node.Int("axis", 0);
      if (axis < -rank || axis >= rank) continue;
      keep(table[static_cast<size_t>(axis < 0 ? axis + rank : axis)]);
    } else if (KeepsNumbers(node.op) && node.inputs[0] == value && steps < kMostSteps) {
      keep(TableRows(graph, node.outputs[0], steps + 1));
    }
  }
  return rows;
}

enum class Role : uint8_t { kTokens, kPlaces, kZeros, kOnes, kNoise };

struct InputRole {
  Role role = Role::kOnes;
  int64_t rows = 0;  // of the table
};

absl::StatusOr<InputRole> RoleOf(const Graph& graph, const graph::Input& input, bool allow_noise) {
  const graph::Value& value = graph.value(input.value);
  const DataType type = value.type.dtype;
  if (type == DataType::kFloat32) {
    if (allow_noise) return InputRole{Role::kNoise, 0};
    const Shape& shape = value.type.shape;
    const auto colors = [](int64_t channels) { return channels >= 1 && channels <= 4; };
    const bool image = shape.size() == 4 && (colors(shape[1]) || colors(shape[3]));
    return absl::FailedPreconditionError(
        absl::StrCat("Q010: quantization.calibration.source synthetic: input ", value.name, " is ",
                     graph::ToText(value.type), image ? ", an image" : "",
                     ": noise does not have the ranges of data; give samples, or set "
                     "quantization.calibration.allow_unsafe"));
  }
  const std::optional<int64_t> rows = TableRows(graph, input.value);
  if (!rows) return InputRole{Role::kOnes, 0};
  if (absl::StrContains(value.name, "position")) return InputRole{Role::kPlaces, *rows};
  return InputRole{*rows < kFewestWords ? Role::kZeros : Role::kTokens, *rows};
}

class Generator {
 public:
  Generator(const Graph& graph, const std::vector<Shape>& example_shapes, uint64_t seed)
      : graph_(graph), example_shapes_(example_shapes), random_(seed) {}

  absl::StatusOr<std::vector<Tensor>> Sample(const std::vector<InputRole>& roles) {
    // Dimensions of one name are equal within a sample.
    absl::flat_hash_map<std::string, int64_t> lengths;
    std::vector<Tensor> sample;
    for (size_t i = 0; i < roles.size(); ++i) {
      const graph::Input& input = graph_.inputs()[i];
      Shape shape = example_shapes_[i];
      // The first dimension is that of the batch.
      for (size_t d = 1; d < shape.size(); ++d) {
        if (graph_.value(input.value).type.shape[d] != kUnknownDim) continue;
        const std::string symbol = d < input.symbols.size() ? input.symbols[d] : "";
        const auto [length, added] = lengths.try_emplace(symbol, 0);
        if (added) length->second = Uniform(kShortest, kLongest);
        shape[d] = length->second;
      }
      OCTET_ASSIGN_OR_RETURN(
          Tensor tensor, Tensor::Allocate(graph_.value(input.value).type.dtype, std::move(shape)));
      Fill(roles[i], tensor);
      sample.push_back(std::move(tensor));
    }
    return sample;
  }

 private:
  // Not std's distribution, which is another with every library.
  int64_t Uniform(int64_t first, int64_t last) {
    return first + static_cast<int64_t>(random_() % static_cast<uint64_t>(last - first + 1));
  }

  int64_t Number(const InputRole& role, int64_t place) {
    switch (role.role) {
      case Role::kTokens:
        return Uniform(0, role.rows - 1);
      case Role::kPlaces:
        return std::min(place, role.rows - 1);
      case Role::kZeros:
        return 0;
      default:
        return 1;
    }
  }

  template <typename T>
  void FillIntegers(const InputRole& role, Tensor& tensor) {
    const Shape& shape = tensor.shape();
    const int64_t row = shape.empty() ? 1 : std::max<int64_t>(shape.back(), 1);
    int64_t at = 0;
    for (T& element : tensor.MutableAs<T>()) element = static_cast<T>(Number(role, at++ % row));
  }

  void Fill(const InputRole& role, Tensor& tensor) {
    switch (tensor.dtype()) {
      case DataType::kFloat32:
        // The sum of twelve uniform numbers is as good as normal here.
        for (float& element : tensor.MutableAs<float>()) {
          double sum = -6;
          for (int i = 0; i < 12; ++i) sum += static_cast<double>(random_() >> 11) * 0x1p-53;
          element = static_cast<float>(sum);
        }
        return;
      case DataType::kInt64:
        return FillIntegers<int64_t>(role, tensor);
      case DataType::kInt32:
        return FillIntegers<int32_t>(role, tensor);
      case DataType::kBool:
        return FillIntegers<bool>(role, tensor);
      default:
        return;  // zeros
    }
  }

  const Graph& graph_;
  const std::vector<Shape>& example_shapes_;
  std::mt19937_64 random_;
};

}  // namespace

absl::StatusOr<CalibrationData> SyntheticSamples(const Graph& graph,
                                                 const std::vector<Shape>& example_shapes,
                                                 const SyntheticOptions& options) {
  std::vector<InputRole> roles;
  for (const graph::Input& input : graph.inputs()) {
    OCTET_ASSIGN_OR_RETURN(const InputRole role, RoleOf(graph, input, options.allow_noise));
    roles.push_back(role);
  }
  const bool tokens = std::any_of(roles.begin(), roles.end(), [](const InputRole& role) {
    return role.role == Role::kTokens || role.role == Role::kNoise;
  });
  if (!tokens) {
    return absl::FailedPreconditionError(
        "quantization.calibration.source synthetic: no input is looked up in a table of tokens");
  }
  CalibrationData data{.source = "synthetic"};
  Generator generator(graph, example_shapes, options.seed);
  for (size_t i = 0; i < options.samples; ++i) {
    OCTET_ASSIGN_OR_RETURN(std::vector<Tensor> sample, generator.Sample(roles));
    data.samples.push_back(std::move(sample));
  }
  return data;
}

}  // namespace octet::runtime
