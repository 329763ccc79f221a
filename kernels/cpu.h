// The processor we run on, and the threads that run kernels.

#pragma once

#include <string>

namespace octet::kernels {

// oneDNN's name of the instruction set in use ("avx512_core_vnni"), after ONEDNN_MAX_CPU_ISA.
std::string InstructionSet();

// Whether 8-bit products are accumulated without saturation (VNNI, AVX-VNNI or AMX).
bool HasVnni();

// Whether bfloat16 products are instructions of their own (AVX512-BF16 or AMX-BF16). Elsewhere
// they are emulated, several times slower than float32, or not there at all.
bool HasBFloat16();

std::string OneDnnVersion();  // "3.7.2"

// Call once on every thread that runs kernels: sets how many OpenMP threads it may use, and rounds
// denormal numbers to zero, as AMX does, so that results are the same on every CPU.
void PrepareThread(int threads);

}  // namespace octet::kernels
