// The ONNX backend cases on disk: see make_cases.py.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "tests/support/compare.h"

namespace octet::conformance {

struct Case {
  std::string suite;
  std::string name;
  std::string folder;
  testing::Tolerance tolerance;
  std::string unsupported;  // the kind of type that Octet has not got; empty if it has all
  std::vector<std::string> operators;
  std::vector<std::string> output_types;  // names of DataType
};

absl::StatusOr<std::vector<Case>> ReadIndex(const std::string& folder);

struct DataSet {
  std::vector<Tensor> inputs;
  std::vector<Tensor> expected;
};

absl::StatusOr<std::vector<DataSet>> ReadDataSets(const Case& test);

// The list of known failures: a glob pattern and a reason on each line.
struct Skip {
  std::string pattern;
  std::string reason;
};

absl::StatusOr<std::vector<Skip>> ReadSkips(const std::string& path);

}  // namespace octet::conformance
