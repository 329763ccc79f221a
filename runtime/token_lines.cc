#include "runtime/token_lines.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"

namespace octet::runtime {
namespace {

constexpr size_t kMostLineBytes = size_t{1} << 20;
// Beyond, a double does not have every integer.
constexpr double kMostValue = 9007199254740992;

struct Line {
  size_t number = 0;  // 1-based
  absl::string_view text;
};

struct Lines {
  MappedFile file;
  std::vector<Line> lines;
};

// What an input is that may be left out; null: it may not.
const double* Default(absl::string_view input) {
  static constexpr double kOne = 1, kZero = 0;
  if (input == "attention_mask") return &kOne;
  return input == "token_type_ids" ? &kZero : nullptr;
}

absl::StatusOr<std::vector<double>> Integers(const google::protobuf::Value& value, double most) {
  absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("expected a list of one or more integers up to ", static_cast<int64_t>(most)));
  if (!value.has_list_value() || value.list_value().values().empty()) return wrong;
  std::vector<double> integers;
  for (const google::protobuf::Value& element : value.list_value().values()) {
    const double number = element.number_value();
    const bool integer = element.has_number_value() && std::trunc(number) == number;
    if (!integer || std::abs(number) > most) return wrong;
    integers.push_back(number);
  }
  return integers;
}

double MostValue(DataType type) {
  return type == DataType::kInt32 ? std::numeric_limits<int32_t>::max() : kMostValue;
}

absl::StatusOr<Tensor> ToTensor(const std::vector<double>& integers, DataType type) {
  OCTET_ASSIGN_OR_RETURN(Tensor tensor,
                         Tensor::Allocate(type, {1, static_cast<int64_t>(integers.size())}));
  const auto fill = [&](auto elements) {
    using Element = typename decltype(elements)::value_type;
    std::transform(integers.begin(), integers.end(), elements.begin(),
                   [](double integer) { return static_cast<Element>(integer); });
  };
  if (type == DataType::kInt32) {
    fill(tensor.MutableAs<int32_t>());
  } else {
    fill(tensor.MutableAs<int64_t>());
  }
  return tensor;
}

// One list for each input, those that were left out empty.
absl::StatusOr<std::vector<std::vector<double>>> Lists(const google::protobuf::Struct& object,
                                                       const std::vector<TensorSpec>& inputs) {
  std::vector<std::vector<double>> lists;
  for (const TensorSpec& spec : inputs) {
    const auto found = object.fields().find(spec.name);
    if (found == object.fields().end()) {
      if (Default(spec.name) == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("has nothing for input ", spec.name));
      }
      lists.emplace_back();
      continue;
    }
    absl::StatusOr<std::vector<double>> list = Integers(found->second, MostValue(spec.dtype));
    if (!list.ok()) return Annotate(list.status(), spec.name);
    lists.push_back(*std::move(list));
  }
  return lists;
}

absl::StatusOr<std::vector<Tensor>> ParseSample(absl::string_view line,
                                                const std::vector<TensorSpec>& inputs) {
  google::protobuf::Struct object;
  const auto parsed =
      google::protobuf::util::JsonStringToMessage(std::string(line.data(), line.size()), &object);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("no JSON object: ", parsed.ToString()));
  }
  OCTET_ASSIGN_OR_RETURN(std::vector<std::vector<double>> lists, Lists(object, inputs));
  size_t length = 0;
  for (const std::vector<double>& list : lists) length = std::max(length, list.size());
  if (length == 0) return absl::InvalidArgumentError("has nothing for any input");
  std::vector<Tensor> sample;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& spec = inputs[i];
    if (lists[i].empty()) lists[i].assign(length, *Default(spec.name));
    const int64_t fixed = spec.shape[1];
    const int64_t expected = fixed == kUnknownDim ? static_cast<int64_t>(length) : fixed;
    if (static_cast<int64_t>(lists[i].size()) != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat(spec.name, " has ", lists[i].size(), " integers, expected ", expected));
    }
    OCTET_ASSIGN_OR_RETURN(Tensor tensor, ToTensor(lists[i], spec.dtype));
    sample.push_back(std::move(tensor));
  }
  return sample;
}

}  // namespace

bool ReadsTokens(const std::vector<TensorSpec>& inputs, bool batchable) {
  return std::all_of(inputs.begin(), inputs.end(), [&](const TensorSpec& spec) {
    const bool type = spec.dtype == DataType::kInt32 || spec.dtype == DataType::kInt64;
    return type && spec.shape.size() == 2 &&
           (batchable || spec.shape[0] == 1 || spec.shape[0] == kUnknownDim);
  });
}

absl::StatusOr<SampleSet> TokenSamples(const std::string& path,
                                       const std::vector<TensorSpec>& inputs, bool batchable) {
  if (!ReadsTokens(inputs, batchable)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        ": lines of token ids are for models all of whose inputs are [batch, length] of "
        "INT32 or INT64, each sample a batch of its own"));
  }
  OCTET_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const absl::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  const auto lines = std::make_shared<Lines>(Lines{std::move(file), {}});
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view stripped = absl::StripAsciiWhitespace(line);
    if (stripped.size() > kMostLineBytes) {
      return absl::InvalidArgumentError(absl::StrCat(path, " line ", number, ": has ",
                                                     stripped.size(), " bytes, expected at most ",
                                                     kMostLineBytes));
    }
    if (!stripped.empty()) lines->lines.push_back({number, stripped});
  }
  SampleSet set{.size = lines->lines.size()};
  set.sample = [path, inputs, lines](size_t index) -> absl::StatusOr<std::vector<Tensor>> {
    const Line& line = lines->lines[index];
    absl::StatusOr<std::vector<Tensor>> sample = ParseSample(line.text, inputs);
    if (!sample.ok()) {
      return Annotate(sample.status(), absl::StrCat(path, " line ", line.number));
    }
    return sample;
  };
  return set;
}

}  // namespace octet::runtime
