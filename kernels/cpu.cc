#include "kernels/cpu.h"

#include <omp.h>
#include <xmmintrin.h>

#include "absl/strings/str_cat.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace octet::kernels {

std::string InstructionSet() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      return "sse41";
    case dnnl::cpu_isa::avx:
      return "avx";
    case dnnl::cpu_isa::avx2:
      return "avx2";
    case dnnl::cpu_isa::avx2_vnni:
      return "avx2_vnni";
    case dnnl::cpu_isa::avx2_vnni_2:
      return "avx2_vnni_2";
    case dnnl::cpu_isa::avx512_core:
      return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_fp16:
      return "avx512_core_fp16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "avx512_core_amx";
    case dnnl::cpu_isa::avx512_core_amx_fp16:
      return "avx512_core_amx_fp16";
    default:
      return "x86-64";
  }
}

bool HasVnni() {
  const std::string isa = InstructionSet();
  return isa != "sse41" && isa != "avx" && isa != "avx2" && isa != "avx512_core" && isa != "x86-64";
}

bool HasBFloat16() {
  const std::string isa = InstructionSet();
  return isa == "avx512_core_bf16" || isa == "avx512_core_fp16" || isa == "avx512_core_amx" ||
         isa == "avx512_core_amx_fp16";
}

std::string OneDnnVersion() {
  const dnnl::version_t* version = dnnl::version();
  return absl::StrCat(version->major, ".", version->minor, ".", version->patch);
}

void PrepareThread(int threads) {
  omp_set_num_threads(threads);
  constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  _mm_setcsr(_mm_getcsr() | kFlushToZero | kDenormalsAreZero);
}

}  // namespace octet::kernels
