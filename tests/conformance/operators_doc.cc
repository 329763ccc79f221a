// Writes docs/operators.md from the registry, or checks that it is what the registry says.
//
// usage: operators_doc [--check] docs/operators.md

#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "kernels/operator.h"

namespace octet {
namespace {

constexpr int kOldestOpset = 7;

constexpr char kIntroduction[] =
    "# Operators\n\n"
    "Generated from the operator table by `operators_doc`; do not edit.\n\n"
    "Octet runs these operators of ONNX opset 7 and newer. Elements are float32, any integer type\n"
    "or bool, as the operator's ONNX definition allows; float16, bfloat16 and double are computed\n"
    "in float32 and have their own type at the model's inputs and outputs. Inputs that decide\n"
    "shapes must be constants, or computed from constants and shapes. `Constant` and `If` are "
    "read\n"
    "by the importer; the condition of an `If` must be constant or computed from constants.\n\n"
    "- **Opsets**: the meanings that are known; a meaning holds until the next one.\n"
    "- **Kernel**: *oneDNN* for operators with kernels of their own (in forms that no kernel "
    "takes,\n"
    "  the plain implementation runs), *plain* for the others, *spelled out* for those that are\n"
    "  replaced by simpler operators when the model is loaded.\n"
    "- **int8**: *computes* multiplies in int8; *combines* works on codes with a quantizer for "
    "each\n"
    "  operand; *carries* moves codes unchanged; empty: runs in float32.\n\n"
    "| Operator | Opsets | Kernel | int8 |\n"
    "| --- | --- | --- | --- |\n";

absl::string_view QuantColumn(graph::QuantRole role) {
  switch (role) {
    case graph::QuantRole::kCompute:
      return "computes";
    case graph::QuantRole::kCarry:
      return "carries";
    case graph::QuantRole::kCombine:
      return "combines";
    case graph::QuantRole::kFloat:
      break;
  }
  return "";
}

absl::string_view KernelColumn(const graph::OpSchema& schema) {
  if (kernels::OperatorOf(schema).lower != nullptr) return "oneDNN";
  return schema.reference != nullptr ? "plain" : "spelled out";
}

std::string Opsets(const std::vector<const graph::OpSchema*>& meanings, bool onnx_domain) {
  std::string text;
  for (size_t i = 0; i < meanings.size(); ++i) {
    int first = meanings[i]->since_version;
    if (onnx_domain && first < kOldestOpset) first = kOldestOpset;
    if (!text.empty()) text += ", ";
    if (i + 1 == meanings.size()) {
      absl::StrAppend(&text, first, "+");
    } else if (const int last = meanings[i + 1]->since_version - 1; last > first) {
      absl::StrAppend(&text, first, "–", last);
    } else {
      absl::StrAppend(&text, first);
    }
  }
  return text;
}

std::string Document() {
  std::map<std::string, std::vector<const graph::OpSchema*>> operators;
  for (const graph::OpSchema* schema : kernels::Registry().all()) {
    if (absl::StartsWith(schema->type, "octet.")) continue;  // made by passes, never in files
    operators[std::string(schema->type)].push_back(schema);
  }
  std::string text = kIntroduction;
  for (const auto& [type, meanings] : operators) {
    const graph::OpSchema& newest = *meanings.back();
    absl::StrAppend(&text, "| ", type, " | ", Opsets(meanings, !absl::StrContains(type, '.')),
                    " | ", KernelColumn(newest), " | ", QuantColumn(newest.quant), " |\n");
  }
  return text;
}

int Main(bool check, const std::string& path) {
  const std::string wanted = Document();
  if (!check) {
    const absl::Status written = WriteFile(path, wanted);
    if (!written.ok()) std::cerr << written.message() << "\n";
    return written.ok() ? 0 : 1;
  }
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) {
    std::cerr << file.status().message() << "\n";
    return 1;
  }
  const absl::string_view found(reinterpret_cast<const char*>(file->bytes().data()),
                                file->bytes().size());
  if (found == wanted) return 0;
  std::cerr << path << " is not what the operator table says; write it again with: operators_doc "
            << path << "\n";
  return 1;
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  const bool check = argc == 3 && std::string(argv[1]) == "--check";
  if (argc != 2 && !check) {
    std::cerr << "usage: operators_doc [--check] FILE\n";
    return 2;
  }
  return octet::Main(check, argv[argc - 1]);
}
