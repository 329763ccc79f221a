// Serves a model in process and writes its outputs, for scripts that judge them.
//
//   run_model MODEL SAMPLES.npz OUTPUT_FOLDER [--int8 | --dynamic | --int4 | --bf16] [--calibration
//   PATH]
//             [--batches 1,8] [--all-int8] [--reduced-weights] [--weights ALGORITHM]
//             [--group N] [--codebook ALGORITHM] [--no-gptq] [--expand-run]
//             [--resize 256|HxW] [--crop HxW] [--mean R,G,B] [--std R,G,B] [--bgr] [--gray]
//
// The samples go through as the server's do: loaded by LoadModel(), each sample a caller of its
// own, as many callers to a run as the batch size says. --all-int8 keeps every layer in int8,
// whatever that does to the outputs: for models of random weights. --reduced-weights limits weight
// codes to what every processor multiplies exactly. The options from --weights on are of 4-bit
// weights, those from --resize on of images: SAMPLES may be a folder of them.
//
// OUTPUT_FOLDER/BATCH_INDEX.bin gets the rows of one output, one caller after the other; the
// standard output gets what scripts read, "KEY VALUE" a line, and for each file
// "output BATCH INDEX NAME TYPE SHAPE", where SHAPE is that of all rows together.

#include <algorithm>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/border.h"
#include "runtime/calibration_data.h"
#include "runtime/load.h"

namespace octet {
namespace {

struct Arguments {
  std::string model, samples, folder;
  std::vector<int64_t> batches = {1};
  runtime::LoadOptions options;
};

// Options of 4-bit weights and those that have one more word, `value`; how many words they took.
absl::StatusOr<size_t> ParseWeights(const std::string& word, const std::string& value,
                                    runtime::QuantizeOptions& options) {
  if (word == "--no-gptq") {
    options.compensation = runtime::QuantizeOptions::Compensation::kNone;
    return 1;
  }
  if (word == "--expand-run") {
    options.four_bits.expand_at_run = true;
    return 1;
  }
  if (word == "--weights") {
    options.weight_algorithm = value;
    return 2;
  }
  if (word == "--codebook") {
    options.four_bits.codebook = value;
    return 2;
  }
  if (word != "--group") return 0;
  if (!absl::SimpleAtoi(value, &options.four_bits.group) || options.four_bits.group < 0) {
    return absl::InvalidArgumentError(absl::StrCat("--group: ", value, " is no group size"));
  }
  return 2;
}

// "--sqnr DB": that accuracy, whatever it costs; how many words it took.
absl::StatusOr<size_t> ParseTarget(const std::string& word, const std::string& value,
                                   runtime::QuantizeOptions& options) {
  if (word != "--sqnr") return 0;
  if (!absl::SimpleAtod(value, &options.accuracy.value)) {
    return absl::InvalidArgumentError(absl::StrCat("--sqnr: ", value, " is no number"));
  }
  options.target_is_set = true;
  options.max_float_fraction = 1;
  options.search_seconds = 600;
  return 2;
}

absl::StatusOr<std::vector<double>> ParseNumbers(const std::string& text, char separator) {
  std::vector<double> numbers;
  for (const absl::string_view part : absl::StrSplit(text, separator)) {
    double number = 0;
    if (!absl::SimpleAtod(part, &number)) {
      return absl::InvalidArgumentError(absl::StrCat(text, ": ", part, " is no number"));
    }
    numbers.push_back(number);
  }
  return numbers;
}

// "HxW", or one number with which the width is 0.
absl::StatusOr<runtime::ImageSize> ParseSize(const std::string& text) {
  OCTET_ASSIGN_OR_RETURN(std::vector<double> sides, ParseNumbers(text, 'x'));
  sides.resize(2);
  return runtime::ImageSize{static_cast<int64_t>(sides[0]), static_cast<int64_t>(sides[1])};
}

// What is done to images; how many words it took.
absl::StatusOr<size_t> ParseImages(const std::string& word, const std::string& value,
                                   std::optional<runtime::ImagePreprocessing>& images) {
  runtime::ImagePreprocessing settings = images.value_or(runtime::ImagePreprocessing());
  size_t taken = 2;
  if (word == "--mean" || word == "--std") {
    OCTET_ASSIGN_OR_RETURN((word == "--mean" ? settings.mean : settings.std),
                           ParseNumbers(value, ','));
  } else if (word == "--crop") {
    OCTET_ASSIGN_OR_RETURN(settings.crop, ParseSize(value));
  } else if (word == "--resize") {
    OCTET_ASSIGN_OR_RETURN(const runtime::ImageSize size, ParseSize(value));
    if (size.width == 0) settings.shorter_side = size.height;
    if (size.width > 0) settings.resize = size;
  } else if (word == "--bgr" || word == "--gray") {
    settings.color = word == "--bgr" ? runtime::ImagePreprocessing::Color::kBgr
                                     : runtime::ImagePreprocessing::Color::kGray;
    taken = 1;
  } else {
    return 0;
  }
  images = settings;
  return taken;
}

absl::StatusOr<Arguments> Parse(const std::vector<std::string>& words) {
  Arguments arguments;
  std::vector<std::string> paths;
  arguments.options.quantization.target_is_set = false;
  for (size_t i = 0; i < words.size(); ++i) {
    runtime::LoadOptions& options = arguments.options;
    const std::string value = i + 1 < words.size() ? words[i + 1] : "";
    OCTET_ASSIGN_OR_RETURN(const size_t taken, ParseWeights(words[i], value, options.quantization));
    OCTET_ASSIGN_OR_RETURN(const size_t also, ParseTarget(words[i], value, options.quantization));
    OCTET_ASSIGN_OR_RETURN(const size_t images,
                           ParseImages(words[i], value, options.preprocessing));
    if (taken + also + images > 0) {
      i += taken + also + images - 1;
    } else if (words[i] == "--int4") {
      options.mode = runtime::Mode::kInt4;
      options.samples_required = true;
    } else if (words[i] == "--int8") {
      options.mode = runtime::Mode::kInt8;
      options.samples_required = true;
    } else if (words[i] == "--dynamic") {
      options.mode = runtime::Mode::kInt8;
      options.dynamic = true;
    } else if (words[i] == "--bf16") {
      options.mode = runtime::Mode::kBFloat16;
    } else if (words[i] == "--all-int8") {
      options.quantization.on_fail = runtime::OnFail::kWarn;
    } else if (words[i] == "--reduced-weights") {
      options.quantization.weight_range = runtime::QuantizeOptions::WeightRange::kReduced;
    } else if (words[i] == "--calibration" && i + 1 < words.size()) {
      options.calibration_path = words[++i];
    } else if (words[i] == "--batches" && i + 1 < words.size()) {
      arguments.batches.clear();
      for (const absl::string_view text : absl::StrSplit(words[++i], ',')) {
        int64_t batch = 0;
        if (!absl::SimpleAtoi(text, &batch) || batch < 1) {
          return absl::InvalidArgumentError(absl::StrCat("--batches: ", text, " is no batch size"));
        }
        arguments.batches.push_back(batch);
      }
    } else {
      paths.push_back(words[i]);
    }
  }
  if (paths.size() != 3) return absl::InvalidArgumentError("expected MODEL SAMPLES OUTPUT_FOLDER");
  arguments.model = paths[0];
  arguments.samples = paths[1];
  arguments.folder = paths[2];
  arguments.options.max_batch_size =
      *std::max_element(arguments.batches.begin(), arguments.batches.end());
  return arguments;
}

// A sample as clients send it, in the model's own element types.
struct Caller {
  std::vector<std::vector<std::byte>> bytes;
  runtime::InputRows rows;
};

Caller MakeCaller(const std::vector<Tensor>& sample,
                  const std::vector<runtime::TensorSpec>& specs) {
  Caller caller;
  for (size_t i = 0; i < sample.size(); ++i) {
    const auto elements = static_cast<size_t>(ElementCount(sample[i].shape()));
    std::vector<std::byte>& bytes = caller.bytes.emplace_back(elements * ByteSize(specs[i].dtype));
    runtime::ToBorder(specs[i].dtype, {sample[i].data(), sample[i].byte_size()}, bytes.data());
    caller.rows.inputs.push_back({sample[i].shape(), {bytes}});
  }
  return caller;
}

// One output of all callers; each of them must have given the same shape but for the rows.
struct Collected {
  std::string bytes;
  Shape shape;
};

absl::Status Collect(const runtime::ExecutionContext& context, const runtime::TensorSpec& spec,
                     int output, int caller, bool batchable, Collected& collected) {
  Shape shape = context.OutputShape(output, caller);
  OCTET_ASSIGN_OR_RETURN(const size_t size, CheckedByteSize(spec.dtype, shape));
  const size_t before = collected.bytes.size();
  collected.bytes.resize(before + size);
  context.Store(output, caller,
                {reinterpret_cast<std::byte*>(collected.bytes.data()) + before, size});
  if (!batchable) shape.insert(shape.begin(), 1);  // a sample is a row
  if (before > 0) shape[0] += collected.shape.at(0);
  collected.shape = std::move(shape);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Collected>> RunBatches(const runtime::CompiledModel& model,
                                                  const std::vector<Caller>& callers,
                                                  int64_t batch) {
  OCTET_ASSIGN_OR_RETURN(const auto context, model.NewContext());
  std::vector<Collected> outputs(model.outputs().size());
  const size_t together = model.batchable() ? static_cast<size_t>(batch) : 1;
  for (size_t first = 0; first < callers.size(); first += together) {
    std::vector<const runtime::InputRows*> company;
    for (size_t i = first; i < std::min(first + together, callers.size()); ++i) {
      company.push_back(&callers[i].rows);
    }
    OCTET_RETURN_IF_ERROR(context->Load(company));
    OCTET_RETURN_IF_ERROR(context->Execute());
    for (size_t o = 0; o < outputs.size(); ++o) {
      for (size_t c = 0; c < company.size(); ++c) {
        OCTET_RETURN_IF_ERROR(Collect(*context, model.outputs()[o], static_cast<int>(o),
                                      static_cast<int>(c), model.batchable(), outputs[o]));
      }
    }
  }
  return outputs;
}

void PrintSummary(const runtime::CompiledModel& model) {
  const runtime::ModelSummary& summary = model.summary();
  const runtime::MemoryLedger memory = model.memory();
  std::cout << "mode " << summary.mode << "\ncalibration " << summary.calibration
            << "\nint8_mac_share " << summary.int8_mac_share << "\noutput_sqnr_db "
            << summary.output_sqnr_db << "\nfloat32_weight_bytes " << memory.float32_weight_bytes
            << "\nserved_weight_bytes " << memory.served_weight_bytes << "\nload_seconds "
            << summary.load_seconds << "\nkernels " << summary.kernels << "\n";
  for (const std::string& warning : summary.warnings) std::cerr << "warning: " << warning << "\n";
}

absl::Status Run(const std::vector<std::string>& words) {
  OCTET_ASSIGN_OR_RETURN(const Arguments arguments, Parse(words));
  OCTET_ASSIGN_OR_RETURN(const auto model, runtime::LoadModel(arguments.model, arguments.options));
  PrintSummary(*model);
  OCTET_ASSIGN_OR_RETURN(
      const runtime::CalibrationData data,
      runtime::ReadCalibrationData(arguments.samples, model->inputs(), model->batchable(),
                                   size_t{1} << 20, arguments.options.preprocessing));
  std::vector<Caller> callers;
  callers.reserve(data.samples.size());
  for (const std::vector<Tensor>& sample : data.samples) {
    callers.push_back(MakeCaller(sample, model->inputs()));
  }
  for (const int64_t batch : arguments.batches) {
    OCTET_ASSIGN_OR_RETURN(const auto outputs, RunBatches(*model, callers, batch));
    for (size_t o = 0; o < outputs.size(); ++o) {
      const runtime::TensorSpec& spec = model->outputs()[o];
      OCTET_RETURN_IF_ERROR(
          WriteFile(absl::StrCat(arguments.folder, "/", batch, "_", o, ".bin"), outputs[o].bytes));
      std::cout << "output " << batch << " " << o << " " << spec.name << " " << Name(spec.dtype)
                << " " << ToText(outputs[o].shape) << "\n";
    }
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  const absl::Status status = octet::Run({argv + 1, argv + argc});
  if (!status.ok()) std::cerr << "run_model: " << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
