// The artefact that a second start needs instead of quantizing again: a .qpack file.
//
// Sections (section_file.h) are key, report, smooth, digest and network (network_delta.h). Nothing
// in a file is believed before its SHA-256 has been checked, and no network is used that does not
// have the fingerprint of the one that was kept.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/quantize_model.h"
#include "runtime/section_file.h"
#include "runtime/smooth_activations.h"

namespace octet::runtime {

// What the result of a quantization depends on. Digests are hexadecimal.
struct PackKey {
  std::string network;        // of the float network: model file, external data and rewrites
  std::string data;           // of the samples' files; "none" without samples
  std::string configuration;  // as text
  std::string processor;      // instruction set
  std::string software;       // versions that make a difference

  bool operator==(const PackKey&) const = default;
};

// Which parts differ, for people: "the calibration data is another"; empty if none does.
std::string Difference(const PackKey& found, const PackKey& wanted);

struct QuantizedPack {
  PackKey key;
  QuantizeReport report;
  std::vector<SmoothedActivation> smoothing;
  std::string network;      // of the quantized network: EncodeNetwork() on top of the float network
  std::string fingerprint;  // and Fingerprint(), hexadecimal
};

inline constexpr FileForm kPackForm = {"OCTQPACK", ".qpack"};

std::string EncodePack(const QuantizedPack& pack);

// InvalidArgument says what is damaged; FailedPrecondition: the form is of another version. Any
// bytes may be given.
absl::StatusOr<QuantizedPack> DecodePack(std::span<const std::byte> bytes);

}  // namespace octet::runtime
