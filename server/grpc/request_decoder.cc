#include "server/grpc/request_decoder.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "server/grpc/typed_contents.h"
#include "server/models/quote.h"

namespace octet::server {
namespace {

using inference::InferParameter;
using inference::ModelInferRequest;
using InputTensor = ModelInferRequest::InferInputTensor;
using runtime::TensorSpec;

// Longer shapes are cut in messages.
constexpr int kMaxRankInText = 16;

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

template <typename Dims>
std::string ShapeText(const Dims& dims) {
  const auto rank = static_cast<int>(dims.size());
  const std::string text =
      absl::StrJoin(dims.begin(), dims.begin() + std::min(rank, kMaxRankInText), ",");
  return absl::StrCat("[", text, rank > kMaxRankInText ? ",...]" : "]");
}

std::string Names(std::span<const TensorSpec> specs) {
  return absl::StrJoin(
      specs.first(std::min<size_t>(specs.size(), 16)), ", ",
      [](std::string* out, const TensorSpec& spec) { absl::StrAppend(out, Quote(spec.name)); });
}

int IndexOf(std::span<const TensorSpec> specs, absl::string_view name) {
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

absl::string_view KindName(const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kBoolParam:
      return "bool";
    case InferParameter::kInt64Param:
      return "int64";
    case InferParameter::kStringParam:
      return "string";
    case InferParameter::kDoubleParam:
      return "double";
    case InferParameter::kUint64Param:
      return "uint64";
    case InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return "nothing";
}

absl::Status WrongKind(absl::string_view name, absl::string_view expected,
                       const InferParameter& parameter) {
  return Invalid("parameter \"", name, "\": expected ", expected, ", received ",
                 KindName(parameter));
}

absl::StatusOr<uint64_t> NonNegative(absl::string_view name, const InferParameter& parameter) {
  if (parameter.has_uint64_param()) return parameter.uint64_param();
  if (!parameter.has_int64_param()) return WrongKind(name, "an integer", parameter);
  if (parameter.int64_param() < 0) {
    return Invalid("parameter \"", name, "\": expected at least 0, received ",
                   parameter.int64_param());
  }
  return static_cast<uint64_t>(parameter.int64_param());
}

// The parameters that mean something; all others are accepted and ignored.
absl::Status DecodeParameters(const ModelInferRequest& head, DecodedRequest& decoded) {
  for (const auto& [name, parameter] : head.parameters()) {
    if (name == "timeout") {
      if (!parameter.has_int64_param()) return WrongKind(name, "int64", parameter);
      OCTET_ASSIGN_OR_RETURN(const uint64_t timeout, NonNegative(name, parameter));
      if (timeout > 0) decoded.timeout = absl::Microseconds(static_cast<int64_t>(timeout));
    } else if (name == "priority") {
      OCTET_ASSIGN_OR_RETURN(const uint64_t priority, NonNegative(name, parameter));
      decoded.urgent = priority == 1;  // 1 is the highest level, 0 asks for the default
    } else if (name == "sequence_start" || name == "sequence_end") {
      if (!parameter.has_bool_param()) return WrongKind(name, "bool", parameter);
    } else if (name == "sequence_id") {
      if (!parameter.has_int64_param() && !parameter.has_uint64_param() &&
          !parameter.has_string_param()) {
        return WrongKind(name, "an integer or a string", parameter);
      }
    }
  }
  return absl::OkStatus();
}

bool AsksForSharedMemory(const google::protobuf::Map<std::string, InferParameter>& parameters) {
  if (parameters.empty()) return false;
  return parameters.contains("shared_memory_region") ||
         parameters.contains("shared_memory_byte_size") ||
         parameters.contains("shared_memory_offset");
}

// For each of the model's inputs, which of the request's it is.
absl::StatusOr<absl::InlinedVector<int, 8>> MatchInputs(const ModelInferRequest& head,
                                                        const ModelSignature& model) {
  absl::InlinedVector<int, 8> order(model.inputs.size(), -1);
  for (int i = 0; i < head.inputs_size(); ++i) {
    const InputTensor& input = head.inputs(i);
    const int index = IndexOf(model.inputs, input.name());
    if (index < 0) {
      return Invalid("unexpected input ", Quote(input.name()), ", expected ", Names(model.inputs));
    }
    if (order[index] >= 0) {
      return Invalid("input ", Quote(input.name()), " already exists in the request");
    }
    if (AsksForSharedMemory(input.parameters())) {
      return Invalid("input ", Quote(input.name()),
                     ": shared memory is not supported; send the tensor in the request");
    }
    order[index] = i;
  }
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] < 0) {
      return Invalid("input ", Quote(model.inputs[i].name), " is missing: expected ",
                     model.inputs.size(), " inputs, received ", head.inputs_size());
    }
  }
  return order;
}

// All inputs raw, or all typed.
absl::Status CheckRepresentation(const InferRequest& request) {
  const ModelInferRequest& head = request.head;
  const size_t raw = request.raw_inputs.size();
  if (raw != 0 && raw != static_cast<size_t>(head.inputs_size())) {
    return Invalid("raw_input_contents: expected one entry for each of ", head.inputs_size(),
                   " inputs, received ", raw);
  }
  for (const InputTensor& input : head.inputs()) {
    const bool typed = ContentsSize(input.contents()) > 0;
    if (raw != 0 && typed) {
      return Invalid("input ", Quote(input.name()),
                     ": contents must be empty where raw_input_contents is used");
    }
    if (raw == 0 && !typed) {
      return Invalid("input ", Quote(input.name()),
                     ": expected raw_input_contents or contents, received neither");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDataType(const InputTensor& input, const TensorSpec& spec) {
  if (input.datatype() == Name(spec.dtype)) return absl::OkStatus();
  return Invalid("input ", Quote(input.name()), ": expected datatype ", Name(spec.dtype),
                 ", received ", Quote(input.datatype()));
}

absl::Status CheckShape(const InputTensor& input, const TensorSpec& spec, bool batched) {
  const auto& dims = input.shape();
  bool fits = dims.size() == static_cast<int>(spec.shape.size());
  for (size_t i = batched ? 1 : 0; fits && i < spec.shape.size(); ++i) {
    const int64_t dim = dims[static_cast<int>(i)];
    fits = spec.shape[i] == kUnknownDim ? dim >= 1 : dim == spec.shape[i];
  }
  if (fits) return absl::OkStatus();
  return Invalid("input ", Quote(input.name()), ": expected shape ", ShapeText(spec.shape),
                 ", received ", ShapeText(dims));
}

absl::StatusOr<int64_t> CheckBatch(const ModelInferRequest& head, int64_t max_batch_size) {
  if (max_batch_size == 0) return 1;
  const InputTensor& first = head.inputs(0);
  const int64_t batch = first.shape(0);
  if (batch < 1 || batch > max_batch_size) {
    return Invalid("input ", Quote(first.name()), ": batch size must be from 1 to ", max_batch_size,
                   " (max_batch_size), received ", batch);
  }
  for (const InputTensor& input : head.inputs()) {
    if (input.shape(0) != batch) {
      return Invalid("batch size must be the same for all inputs: ", Quote(first.name()), " has ",
                     batch, ", ", Quote(input.name()), " has ", input.shape(0));
    }
  }
  return batch;
}

// Kernels read BOOL as bool, of which only two values exist.
bool AreBools(const RawInput& raw) {
  return std::all_of(raw.pieces.begin(), raw.pieces.end(), [](Piece piece) {
    return std::all_of(piece.begin(), piece.end(),
                       [](std::byte value) { return value <= std::byte{1}; });
  });
}

// Points `tensor` at the payload of one input, whose length is checked.
absl::Status TakePayload(const InferRequest& request, int index, const TensorSpec& spec,
                         runtime::InputTensor& tensor,
                         std::vector<std::unique_ptr<std::byte[]>>& narrowed) {
  const InputTensor& input = request.head.inputs(index);
  tensor.shape.assign(input.shape().begin(), input.shape().end());
  const absl::StatusOr<size_t> size = CheckedByteSize(spec.dtype, tensor.shape);
  if (!size.ok()) {
    return Invalid("input ", Quote(input.name()), ": ", size.status().message());
  }
  if (request.raw_inputs.empty()) {
    OCTET_ASSIGN_OR_RETURN(const Piece bytes,
                           TypedBytes(input, spec.dtype, *size / ByteSize(spec.dtype), narrowed));
    tensor.pieces.push_back(bytes);
    return absl::OkStatus();
  }
  const RawInput& raw = request.raw_inputs[index];
  if (raw.size != *size) {
    return Invalid("input ", Quote(input.name()), ": expected ", *size, " bytes for ",
                   Name(spec.dtype), " ", ShapeText(tensor.shape), ", received ", raw.size);
  }
  if (spec.dtype == DataType::kBool && !AreBools(raw)) {
    return Invalid("input ", Quote(input.name()), ": BOOL elements must be bytes of 0 or 1");
  }
  tensor.pieces.assign(raw.pieces.begin(), raw.pieces.end());
  return absl::OkStatus();
}

absl::StatusOr<int64_t> RequestedClasses(
    const ModelInferRequest::InferRequestedOutputTensor& output) {
  const auto parameter = output.parameters().find("classification");
  if (parameter == output.parameters().end()) return 0;
  const absl::StatusOr<uint64_t> classes = NonNegative("classification", parameter->second);
  if (!classes.ok()) {
    return Annotate(classes.status(), absl::StrCat("output ", Quote(output.name())));
  }
  if (*classes == 0 || *classes > uint64_t{std::numeric_limits<int32_t>::max()}) {
    return Invalid("output ", Quote(output.name()),
                   ": parameter \"classification\" must be at least 1, received ", *classes);
  }
  return static_cast<int64_t>(*classes);
}

absl::Status DecodeOutputs(const ModelInferRequest& head, const ModelSignature& model,
                           DecodedRequest& decoded) {
  if (head.outputs_size() == 0) {
    for (size_t i = 0; i < model.outputs.size(); ++i) {
      decoded.outputs.push_back(static_cast<int>(i));
      decoded.classes.push_back(0);
    }
    return absl::OkStatus();
  }
  for (const auto& output : head.outputs()) {
    const int index = IndexOf(model.outputs, output.name());
    if (index < 0) {
      return Invalid("unexpected output ", Quote(output.name()), ", expected ",
                     Names(model.outputs));
    }
    if (std::find(decoded.outputs.begin(), decoded.outputs.end(), index) != decoded.outputs.end()) {
      return Invalid("output ", Quote(output.name()), " is requested twice");
    }
    if (AsksForSharedMemory(output.parameters())) {
      return Invalid("output ", Quote(output.name()), ": shared memory is not supported");
    }
    OCTET_ASSIGN_OR_RETURN(const int64_t classes, RequestedClasses(output));
    decoded.outputs.push_back(index);
    decoded.classes.push_back(classes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DecodedRequest> DecodeInferRequest(const InferRequest& request,
                                                  const ModelSignature& model) {
  const ModelInferRequest& head = request.head;
  const bool batched = model.max_batch_size > 0;
  DecodedRequest decoded;
  OCTET_RETURN_IF_ERROR(DecodeParameters(head, decoded));
  OCTET_ASSIGN_OR_RETURN(const auto order, MatchInputs(head, model));
  OCTET_RETURN_IF_ERROR(CheckRepresentation(request));
  for (size_t i = 0; i < order.size(); ++i) {
    OCTET_RETURN_IF_ERROR(CheckDataType(head.inputs(order[i]), model.inputs[i]));
  }
  for (size_t i = 0; i < order.size(); ++i) {
    OCTET_RETURN_IF_ERROR(CheckShape(head.inputs(order[i]), model.inputs[i], batched));
  }
  OCTET_ASSIGN_OR_RETURN(decoded.input.rows, CheckBatch(head, model.max_batch_size));
  decoded.input.inputs.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    OCTET_RETURN_IF_ERROR(
        TakePayload(request, order[i], model.inputs[i], decoded.input.inputs[i], decoded.narrowed));
  }
  OCTET_RETURN_IF_ERROR(DecodeOutputs(head, model, decoded));
  return decoded;
}

}  // namespace octet::server
