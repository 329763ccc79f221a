#include "runtime/calibration_data.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "graph/onnx/import.h"
#include "runtime/border.h"
#include "runtime/image_folder.h"
#include "runtime/images/decode.h"
#include "runtime/npy.h"
#include "runtime/sample_set.h"
#include "runtime/token_lines.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;

using NamedArrays = std::vector<std::pair<std::string, Tensor>>;

Tensor ToEngineType(const Tensor& tensor) {
  if (ComputeType(tensor.dtype()) == tensor.dtype()) return tensor;
  Tensor result = *Tensor::Allocate(ComputeType(tensor.dtype()), tensor.shape());
  FromBorder(tensor.dtype(), {tensor.data(), tensor.byte_size()}, result.mutable_data());
  return result;
}

absl::StatusOr<Tensor> Fitted(const Tensor& array, const TensorSpec& spec) {
  Tensor tensor = ToEngineType(array);
  if (tensor.dtype() != ComputeType(spec.dtype)) {
    return absl::InvalidArgumentError(absl::StrCat("input ", spec.name, " is ", Name(spec.dtype),
                                                   ", the array is ", Name(array.dtype())));
  }
  const Shape& shape = tensor.shape();
  bool fits = shape.size() == spec.shape.size();
  for (size_t d = 1; fits && d < shape.size(); ++d) {
    fits = spec.shape[d] == kUnknownDim || spec.shape[d] == shape[d];
  }
  if (!fits || shape.empty() || shape[0] == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input ", spec.name, " has shape ", ToText(spec.shape), ", the array has ", ToText(shape)));
  }
  return tensor;
}

// A copy of `rows` rows from row `first`, so that a sample does not hold the whole array.
absl::StatusOr<Tensor> Rows(const Tensor& array, int64_t first, int64_t rows) {
  Shape shape = array.shape();
  const size_t row_bytes = array.byte_size() / static_cast<size_t>(shape[0]);
  shape[0] = rows;
  OCTET_ASSIGN_OR_RETURN(Tensor sample, Tensor::Allocate(array.dtype(), shape));
  if (sample.byte_size() > 0) {
    std::memcpy(sample.mutable_data(), array.data() + static_cast<size_t>(first) * row_bytes,
                sample.byte_size());
  }
  return sample;
}

bool IsIntegral(DataType type) {
  return type == DataType::kInt8 || type == DataType::kUint8 || type == DataType::kInt16 ||
         type == DataType::kUint16 || type == DataType::kInt32 || type == DataType::kUint32 ||
         type == DataType::kInt64 || type == DataType::kUint64;
}

// [N] or [N, 1] integers.
absl::StatusOr<std::vector<int64_t>> Labels(const Tensor& array, size_t samples) {
  const Shape& shape = array.shape();
  const bool flat = shape.size() == 1 || (shape.size() == 2 && shape[1] == 1);
  if (!IsIntegral(array.dtype()) || !flat || shape[0] != static_cast<int64_t>(samples)) {
    return absl::InvalidArgumentError(absl::StrCat("labels: expected ", samples,
                                                   " integers, the array is ", Name(array.dtype()),
                                                   " of shape ", ToText(shape)));
  }
  std::vector<int64_t> labels;
  VisitType(array.dtype(), [&]<typename T>() {
    for (const T label : array.As<T>()) labels.push_back(static_cast<int64_t>(label));
  });
  return labels;
}

class Reader {
 public:
  Reader(const std::vector<TensorSpec>& inputs, bool batchable,
         const std::optional<ImagePreprocessing>& preprocessing)
      : inputs_(inputs), batchable_(batchable), preprocessing_(preprocessing) {}

  absl::Status Read(const fs::path& path) {
    std::error_code error;
    if (!fs::exists(path, error)) {
      return absl::NotFoundError(absl::StrCat("calibration data: nothing at ", path.string()));
    }
    if (!fs::is_directory(path, error)) return ReadFile(path);
    OCTET_RETURN_IF_ERROR(ReadArrays(path));
    return ReadImages(path, FindImages(path.string()));
  }

  // An even choice of at most `most` samples.
  absl::StatusOr<CalibrationData> Take(size_t most, TensorFile* file) const {
    size_t total = 0;
    bool labelled = true;
    for (const SampleSet& set : sets_) {
      total += set.size;
      labelled = labelled && set.labels.has_value();
    }
    const size_t wanted = std::min(total, most);
    CalibrationData data;
    size_t seen = 0;
    for (const SampleSet& set : sets_) {
      for (size_t s = 0; s < set.size; ++s, ++seen) {
        // The sample is taken when its share of `wanted` reaches the next whole number.
        if ((seen + 1) * wanted / total == seen * wanted / total) continue;
        OCTET_ASSIGN_OR_RETURN(std::vector<Tensor> sample, set.sample(s));
        for (Tensor& tensor : sample) {
          if (file != nullptr) tensor = file->Hold(tensor);
        }
        data.samples.push_back(std::move(sample));
        if (labelled) data.labels.push_back((*set.labels)[s]);
      }
    }
    return data;
  }

 private:
  // Of an array's rows, how many are a sample.
  int64_t RowsInSample() const {
    const int64_t first = inputs_[0].shape.empty() ? 1 : inputs_[0].shape[0];
    return batchable_ || first == kUnknownDim ? 1 : std::max<int64_t>(first, 1);
  }

  // Of arrays with the same number of rows, one per model input.
  SampleSet ToSamples(std::vector<Tensor> arrays) const {
    const int64_t rows = RowsInSample();
    SampleSet set{.size = static_cast<size_t>(arrays[0].shape()[0] / rows)};
    set.sample = [arrays = std::move(arrays),
                  rows](size_t index) -> absl::StatusOr<std::vector<Tensor>> {
      std::vector<Tensor> sample;
      for (const Tensor& array : arrays) {
        OCTET_ASSIGN_OR_RETURN(Tensor part, Rows(array, static_cast<int64_t>(index) * rows, rows));
        sample.push_back(std::move(part));
      }
      return sample;
    };
    return set;
  }

  bool IsInput(absl::string_view name) const {
    return std::any_of(inputs_.begin(), inputs_.end(),
                       [&](const TensorSpec& spec) { return spec.name == name; });
  }

  absl::Status Add(const NamedArrays& named, const std::string& file) {
    const auto labels = std::find_if(named.begin(), named.end(), [&](const auto& array) {
      return (array.first == "labels" || array.first == "label") && !IsInput(array.first);
    });
    const size_t others = named.size() - (labels == named.end() ? 0 : 1);
    std::vector<Tensor> arrays;
    for (const TensorSpec& spec : inputs_) {
      const auto found = std::find_if(named.begin(), named.end(), [&](const auto& array) {
        const bool is_labels = labels != named.end() && &array == &*labels;
        const bool only = inputs_.size() == 1 && others == 1 && !is_labels;
        return array.first == spec.name || only;
      });
      if (found == named.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat(file, ": has no array for input ", spec.name));
      }
      absl::StatusOr<Tensor> fitted = Fitted(found->second, spec);
      if (!fitted.ok()) return Annotate(fitted.status(), file);
      if (!arrays.empty() && fitted->shape()[0] != arrays[0].shape()[0]) {
        return absl::InvalidArgumentError(
            absl::StrCat(file, ": the arrays have different numbers of samples"));
      }
      arrays.push_back(*std::move(fitted));
    }
    SampleSet set = ToSamples(std::move(arrays));
    if (labels != named.end()) {
      absl::StatusOr<std::vector<int64_t>> classes = Labels(labels->second, set.size);
      if (!classes.ok()) return Annotate(classes.status(), file);
      set.labels = *std::move(classes);
    }
    sets_.push_back(std::move(set));
    return absl::OkStatus();
  }

  // `names` in `folder`.
  absl::Status ReadImages(const fs::path& folder, std::vector<std::string> names) {
    if (names.empty()) return absl::OkStatus();
    if (!preprocessing_.has_value()) {
      if (!sets_.empty()) return absl::OkStatus();
      return absl::InvalidArgumentError(
          absl::StrCat(folder.string(), ": there are images (", names.front(),
                       "), and nothing says how pixels become the model's input: set "
                       "quantization.calibration.preprocessing, with mean and std as in training"));
    }
    absl::StatusOr<ImageInput> input = ImageInput::For(inputs_, batchable_, *preprocessing_);
    if (!input.ok()) return Annotate(input.status(), folder.string());
    OCTET_ASSIGN_OR_RETURN(SampleSet set, ImageSamples(folder.string(), std::move(names), *input));
    sets_.push_back(std::move(set));
    return absl::OkStatus();
  }

  // Those of a folder.
  absl::Status ReadArrays(const fs::path& folder) {
    std::error_code error;
    if (fs::exists(folder / "input_0.pb", error)) return ReadTestData(folder);
    std::vector<fs::path> entries;
    for (const auto& entry : fs::directory_iterator(folder, error)) entries.push_back(entry.path());
    std::sort(entries.begin(), entries.end());
    for (const fs::path& entry : entries) {
      const bool test_data = absl::StartsWith(entry.filename().string(), "test_data_set_");
      const bool tokens = entry.extension() == ".jsonl" && ReadsTokens(inputs_, batchable_);
      if (test_data || tokens || entry.extension() == ".npz" || entry.extension() == ".npy") {
        OCTET_RETURN_IF_ERROR(fs::is_directory(entry, error) ? ReadArrays(entry) : ReadFile(entry));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadFile(const fs::path& path) {
    if (path.extension() == ".npz") {
      OCTET_ASSIGN_OR_RETURN(const auto arrays, ReadNpz(path.string()));
      return Add(arrays, path.string());
    }
    if (path.extension() == ".jsonl") {
      OCTET_ASSIGN_OR_RETURN(SampleSet set, TokenSamples(path.string(), inputs_, batchable_));
      sets_.push_back(std::move(set));
      return absl::OkStatus();
    }
    if (IsImageName(path.string())) {
      const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
      return ReadImages(folder, {path.filename().string()});
    }
    if (path.extension() != ".npy") {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), ": expected .npz, .npy, .jsonl, .jpg, .png or a folder"));
    }
    OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path.string()));
    absl::StatusOr<Tensor> tensor = ParseNpy(file.bytes());
    if (!tensor.ok()) return Annotate(tensor.status(), path.string());
    return Add({{path.stem().string(), *std::move(tensor)}}, path.string());
  }

  absl::Status ReadTestData(const fs::path& folder) {
    NamedArrays arrays;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const fs::path path = folder / absl::StrCat("input_", i, ".pb");
      OCTET_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path.string()));
      absl::StatusOr<Tensor> tensor = graph::ReadTensorProto(file.bytes());
      if (!tensor.ok()) return Annotate(tensor.status(), path.string());
      arrays.emplace_back(inputs_[i].name, *std::move(tensor));
    }
    return Add(arrays, folder.string());
  }

  const std::vector<TensorSpec>& inputs_;
  const bool batchable_;
  const std::optional<ImagePreprocessing>& preprocessing_;
  std::vector<SampleSet> sets_;
};

}  // namespace

absl::StatusOr<CalibrationData> ReadCalibrationData(
    const std::string& path, const std::vector<TensorSpec>& inputs, bool batchable,
    size_t max_samples, const std::optional<ImagePreprocessing>& preprocessing, TensorFile* file) {
  if (inputs.empty()) return absl::InvalidArgumentError("the model has no inputs to calibrate");
  Reader reader(inputs, batchable, preprocessing);
  OCTET_RETURN_IF_ERROR(reader.Read(path));
  OCTET_ASSIGN_OR_RETURN(CalibrationData data, reader.Take(max_samples, file));
  data.source = path;
  if (data.samples.empty()) {
    return absl::NotFoundError(absl::StrCat("calibration data: no samples in ", path));
  }
  return data;
}

std::string CalibrationBeside(const std::string& model_path) {
  const fs::path folder = fs::path(model_path).parent_path() / "calibration";
  std::error_code error;
  return fs::is_directory(folder, error) ? folder.string() : "";
}

}  // namespace octet::runtime
