// Builds ModelInferRequests and reads replies, for tests.

#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "proto/open_inference.pb.h"

namespace octet::testing {

template <typename T>
std::string RawBytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <typename T>
std::vector<T> Values(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

inline inference::ModelInferRequest::InferInputTensor& AddInput(
    inference::ModelInferRequest& request, const std::string& name, const std::string& datatype,
    const std::vector<int64_t>& shape) {
  auto& input = *request.add_inputs();
  input.set_name(name);
  input.set_datatype(datatype);
  for (const int64_t dim : shape) input.add_shape(dim);
  return input;
}

// A good request for FakeModel::Sums(): `rows` rows of four values each.
inline inference::ModelInferRequest SumsRequest(const std::string& model,
                                                const std::vector<float>& values) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  AddInput(request, "x", "FP32", {static_cast<int64_t>(values.size() / 4), 4});
  request.add_raw_input_contents(RawBytes(values));
  return request;
}

}  // namespace octet::testing
