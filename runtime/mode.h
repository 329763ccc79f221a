// What a model is asked to compute in, and what this processor makes of it.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace octet::runtime {

enum class Mode : uint8_t {
  kFloat32,
  kBFloat16,
  kInt8,
  kInt4,  // weights in 4 bits, computed with in 8
  kAuto,  // the fastest that this processor is made for
};

// Of a layer: not kAuto.
using LayerMode = Mode;

// "fp32", "bf16", "int8", "int4", "auto".
absl::string_view Name(Mode mode);

// What matters of a processor here.
struct Processor {
  std::string instruction_set;  // for people
  bool vnni = false;            // 8-bit products do not saturate
  bool bfloat16 = false;        // bfloat16 products are instructions
};
Processor ThisProcessor();

// Whether layers multiply integers.
inline bool IsInteger(Mode mode) { return mode == Mode::kInt8 || mode == Mode::kInt4; }

struct ResolvedMode {
  Mode mode = Mode::kFloat32;         // never kAuto
  std::string reason;                 // why this one; empty if it is what was asked for
  std::vector<std::string> warnings;  // begin with their code, "Q013: "
};

// kAuto: int8 with VNNI, else bfloat16 where it is native, else float32. bfloat16 that is not
// native becomes float32, with a warning (Q013).
ResolvedMode Resolve(Mode asked, const Processor& processor);

// The warning that 8-bit products saturate on this processor (Q014), and what is done about it:
// codes of weights that `are_reduced`, or not. Empty if they do not saturate.
std::string SaturationWarning(const Processor& processor, bool are_reduced);

}  // namespace octet::runtime
