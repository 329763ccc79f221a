#include "runtime/mode.h"

#include "absl/strings/str_cat.h"
#include "kernels/cpu.h"

namespace octet::runtime {

absl::string_view Name(Mode mode) {
  switch (mode) {
    case Mode::kFloat32:
      return "fp32";
    case Mode::kBFloat16:
      return "bf16";
    case Mode::kInt8:
      return "int8";
    case Mode::kInt4:
      return "int4";
    case Mode::kAuto:
      break;
  }
  return "auto";
}

Processor ThisProcessor() {
  return {.instruction_set = kernels::InstructionSet(),
          .vnni = kernels::HasVnni(),
          .bfloat16 = kernels::HasBFloat16()};
}

ResolvedMode Resolve(Mode asked, const Processor& processor) {
  const std::string& isa = processor.instruction_set;
  if (asked == Mode::kBFloat16 && !processor.bfloat16) {
    const std::string reason =
        absl::StrCat("this CPU (", isa, ") has neither AVX512-BF16 nor AMX-BF16");
    return {.mode = Mode::kFloat32,
            .reason = reason,
            .warnings = {absl::StrCat("Q013: mode bf16: ", reason, ": served in float32")}};
  }
  if (asked != Mode::kAuto) return {.mode = asked};
  if (processor.vnni) {
    return {.mode = Mode::kInt8,
            .reason = absl::StrCat("auto: this CPU (", isa, ") multiplies 8-bit integers (VNNI)")};
  }
  if (processor.bfloat16) {
    return {.mode = Mode::kBFloat16,
            .reason = absl::StrCat("auto: this CPU (", isa, ") has bfloat16 and no VNNI")};
  }
  return {.mode = Mode::kFloat32,
          .reason = absl::StrCat("auto: this CPU (", isa, ") has neither VNNI nor bfloat16")};
}

std::string SaturationWarning(const Processor& processor, bool are_reduced) {
  if (processor.vnni) return "";
  return absl::StrCat("Q014: mode int8: sums of 8-bit products saturate on this CPU (",
                      processor.instruction_set, ", without VNNI): ",
                      are_reduced
                          ? "the range of the weights becomes reduced, codes up to 63"
                          : "with weights.range full, layers that are found wrong run in float32");
}

}  // namespace octet::runtime
