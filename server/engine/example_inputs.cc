#include "server/engine/example_inputs.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"

namespace octet::server {

absl::StatusOr<std::vector<Shape>> ShapesFor(const runtime::PreparedModel& model,
                                             const std::vector<InputShape>& given) {
  std::vector<Shape> shapes = model.example_shapes;
  for (const InputShape& entry : given) {
    const auto found =
        std::find_if(model.inputs.begin(), model.inputs.end(),
                     [&](const runtime::TensorSpec& input) { return input.name == entry.input; });
    if (found == model.inputs.end()) {
      return absl::InvalidArgumentError(absl::StrCat("the model has no input ", entry.input));
    }
    bool fits = found->shape.size() == entry.shape.size();
    for (size_t d = 0; fits && d < entry.shape.size(); ++d) {
      fits = found->shape[d] == kUnknownDim || found->shape[d] == entry.shape[d];
    }
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat("input ", entry.input, " has shape ",
                                                     ToText(found->shape), ", not ",
                                                     ToText(entry.shape)));
    }
    shapes[static_cast<size_t>(found - model.inputs.begin())] = entry.shape;
  }
  return shapes;
}

std::vector<Tensor> ExampleInputs(const runtime::PreparedModel& model,
                                  const std::vector<Shape>& shapes) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const DataType type = ComputeType(model.inputs[i].dtype);
    Tensor tensor = *Tensor::Allocate(type, shapes[i]);
    VisitType(type, [&]<typename T>() {
      for (T& element : tensor.MutableAs<T>()) {
        const float value = uniform(random);
        element = std::is_floating_point_v<T> ? static_cast<T>(value) : static_cast<T>(value > 0);
      }
    });
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

}  // namespace octet::server
