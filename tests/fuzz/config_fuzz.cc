// Any bytes as a configuration file: no crash, and an error that is one line; what is taken can be
// explained.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "server/config/config_file.h"
#include "server/config/explain.h"
#include "server/config/yaml_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<octet::server::LoadedConfig> loaded =
      octet::server::ParseConfig(text, "fuzz.yaml");
  if (loaded.ok()) {
    if (octet::server::ExplainConfig(*loaded).empty()) std::abort();
    return 0;
  }
  const absl::string_view message = loaded.status().message();
  if (loaded.status().code() != absl::StatusCode::kInvalidArgument) std::abort();
  if (message.find('\n') != absl::string_view::npos) std::abort();
  return 0;
}
