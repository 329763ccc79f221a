#include "server/grpc/load_request.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::server {
namespace {

using TensorMetadata = inference::ModelMetadataResponse::TensorMetadata;

constexpr size_t kMaxInputBytes = size_t{1} << 30;

Shape Declared(const TensorMetadata& input) { return {input.shape().begin(), input.shape().end()}; }

// The declared shape with what was given in it.
absl::StatusOr<Shape> GivenShape(const TensorMetadata& input, const Shape& given, bool batched) {
  Shape shape = Declared(input);
  const size_t left_out = batched && given.size() + 1 == shape.size() ? 1 : 0;
  bool fits = given.size() + left_out == shape.size();
  for (size_t d = left_out; fits && d < shape.size(); ++d) {
    const int64_t size = given[d - left_out];
    fits = (batched && d == 0) || shape[d] < 0 || shape[d] == size;
    if (shape[d] < 0) shape[d] = size;
  }
  if (fits) return shape;
  return absl::InvalidArgumentError(absl::StrCat("input ", input.name(), " has shape ",
                                                 ToText(Declared(input)), ", not ", ToText(given)));
}

absl::StatusOr<Shape> ShapeFor(const TensorMetadata& input, const LoadRequestOptions& options) {
  Shape shape = Declared(input);
  for (const auto& [name, given] : options.shapes) {
    if (name != input.name()) continue;
    OCTET_ASSIGN_OR_RETURN(shape, GivenShape(input, given, options.batched));
  }
  if (options.batched && !shape.empty()) shape[0] = options.rows;
  if (std::any_of(shape.begin(), shape.end(), [](int64_t size) { return size < 0; })) {
    return absl::InvalidArgumentError(
        absl::StrCat("input ", input.name(), " has shape ", ToText(Declared(input)),
                     ", whose symbolic dimensions need a size: give the input's shape by name"));
  }
  return shape;
}

template <typename T>
void FillRandom(DataType type, std::mt19937& random, std::string& bytes) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (size_t offset = 0; offset < bytes.size(); offset += sizeof(T)) {
    const float value = uniform(random);
    T element;
    if (type == DataType::kFloat16) {
      element = static_cast<T>(FloatToHalf(value));
    } else if (type == DataType::kBFloat16) {
      element = static_cast<T>(FloatToBFloat16(value));
    } else if (std::is_floating_point_v<T>) {
      element = static_cast<T>(value);
    } else {
      element = static_cast<T>(value > 0);
    }
    std::memcpy(bytes.data() + offset, &element, sizeof(T));
  }
}

absl::Status AddInput(const TensorMetadata& metadata, const LoadRequestOptions& options,
                      std::mt19937& random, inference::ModelInferRequest& request) {
  const std::optional<DataType> type = DataTypeFromName(metadata.datatype());
  if (!type.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("input ", metadata.name(), " has datatype ",
                                                   metadata.datatype(),
                                                   ", for which no data can be made up"));
  }
  OCTET_ASSIGN_OR_RETURN(const Shape shape, ShapeFor(metadata, options));
  const auto size = CheckedByteSize(*type, shape, kMaxInputBytes);
  if (!size.ok()) return Annotate(size.status(), absl::StrCat("input ", metadata.name()));
  auto& input = *request.add_inputs();
  input.set_name(metadata.name());
  input.set_datatype(metadata.datatype());
  for (const int64_t dimension : shape) input.add_shape(dimension);
  std::string& bytes = *request.add_raw_input_contents();
  bytes.resize(*size);
  VisitType(*type, [&]<typename T>() { FillRandom<T>(*type, random, bytes); });
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<inference::ModelInferRequest> MakeLoadRequest(
    const inference::ModelMetadataResponse& metadata, const LoadRequestOptions& options) {
  for (const auto& entry : options.shapes) {
    const bool known =
        std::any_of(metadata.inputs().begin(), metadata.inputs().end(),
                    [&](const TensorMetadata& input) { return input.name() == entry.first; });
    if (!known) return absl::InvalidArgumentError("the model has no input " + entry.first);
  }
  if (!options.batched && options.rows != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model does not batch: a request has 1 row, not ", options.rows));
  }
  inference::ModelInferRequest request;
  request.set_model_name(metadata.name());
  request.set_model_version(options.version);
  std::mt19937 random(1);
  for (const TensorMetadata& input : metadata.inputs()) {
    OCTET_RETURN_IF_ERROR(AddInput(input, options, random, request));
  }
  return request;
}

}  // namespace octet::server
