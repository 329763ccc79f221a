#include "runtime/pack_file.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/build_id.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "kernels/cpu.h"
#include "runtime/fingerprint.h"
#include "runtime/load_samples.h"

namespace octet::runtime {
namespace {

namespace fs = std::filesystem;

// Codes are a quarter of the weights that a model may have.
constexpr uintmax_t kMostPackBytes = uintmax_t{4} << 30;

std::string PathOf(const std::string& model, const PackCache& cache) {
  if (!cache.file.empty()) return cache.file;
  const std::string suffix = absl::StrCat(".", kernels::InstructionSet(), ".qpack");
  const fs::path path(model);
  if (cache.folder.empty()) return (path.parent_path() / path.stem()).string() + suffix;
  return (fs::path(cache.folder) / NameInSharedFolder(model, suffix)).string();
}

}  // namespace

std::string NameInSharedFolder(const std::string& model, const std::string& suffix) {
  std::error_code ignored;
  Sha256 sha256;
  sha256.Add(absl::string_view(fs::absolute(model, ignored).lexically_normal().string()));
  return absl::StrCat(Hex(sha256.Finish()).substr(0, 12), "-", fs::path(model).stem().string(),
                      suffix);
}

absl::StatusOr<PackFile> PackFileFor(const std::string& path, const std::string& calibration,
                                     const LoadOptions& options, const graph::Graph& network) {
  PackFile file{.path = PathOf(path, options.cache)};
  OCTET_ASSIGN_OR_RETURN(const std::string samples, DigestOfFiles(calibration));
  OCTET_ASSIGN_OR_RETURN(const std::string validation, DigestOfFiles(options.validation_path));
  const std::string data = options.synthetic    ? "synthetic"
                           : options.statistics ? absl::StrCat("statistics ", samples)
                                                : samples;
  file.key = {.network = Hex(Fingerprint(network)),
              .data = absl::StrCat(data, ",", validation),
              .configuration = options.cache.configuration,
              .processor = kernels::InstructionSet(),
              .software = absl::StrCat("build ", BuildId().substr(0, 16), " with oneDNN ",
                                       kernels::OneDnnVersion())};
  return file;
}

absl::StatusOr<QuantizedPack> ReadPack(const std::string& path) {
  OCTET_ASSIGN_OR_RETURN(const std::string content,
                         ReadSectionFile(path, kPackForm, kMostPackBytes));
  absl::StatusOr<QuantizedPack> pack =
      DecodePack(std::as_bytes(std::span(content.data(), content.size())));
  if (!pack.ok()) return Annotate(pack.status(), path);
  return pack;
}

absl::StatusOr<QuantizedPack> ReadPack(const PackFile& file) {
  OCTET_ASSIGN_OR_RETURN(QuantizedPack pack, ReadPack(file.path));
  const std::string difference = Difference(pack.key, file.key);
  if (difference.empty()) return pack;
  return absl::FailedPreconditionError(absl::StrCat(file.path, ": ", difference));
}

absl::StatusOr<std::string> WritePack(const PackFile& file, bool optional, QuantizedPack pack) {
  const fs::path folder = fs::path(file.path).parent_path();
  if (optional && access(folder.empty() ? "." : folder.c_str(), W_OK) != 0) {
    return absl::StrCat("not kept: ", folder.string(), " cannot be written to");
  }
  std::error_code error;
  if (!optional && !folder.empty()) fs::create_directories(folder, error);
  pack.key = file.key;
  const absl::Status written = WriteFile(file.path, EncodePack(pack));
  if (written.ok()) return std::string();
  return Annotate(written, "the quantized network cannot be kept");
}

}  // namespace octet::runtime
