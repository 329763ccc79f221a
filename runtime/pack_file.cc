#include "runtime/pack_file.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
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
  const fs::path path(model);
  const std::string name =
      absl::StrCat(path.stem().string(), ".", kernels::InstructionSet(), ".qpack");
  if (cache.folder.empty()) return (path.parent_path() / name).string();
  // Models of one name share the folder.
  std::error_code ignored;
  Sha256 sha256;
  sha256.Add(absl::string_view(fs::absolute(path, ignored).lexically_normal().string()));
  return (fs::path(cache.folder) / absl::StrCat(Hex(sha256.Finish()).substr(0, 12), "-", name))
      .string();
}

}  // namespace

absl::StatusOr<PackFile> PackFileFor(const std::string& path, const std::string& calibration,
                                     const LoadOptions& options, const graph::Graph& network) {
  PackFile file{.path = PathOf(path, options.cache)};
  OCTET_ASSIGN_OR_RETURN(const std::string samples, DigestOfFiles(calibration));
  OCTET_ASSIGN_OR_RETURN(const std::string validation, DigestOfFiles(options.validation_path));
  file.key = {.network = Hex(Fingerprint(network)),
              .data = absl::StrCat(options.synthetic ? "synthetic" : samples, ",", validation),
              .configuration = options.cache.configuration,
              .processor = kernels::InstructionSet(),
              .software = absl::StrCat("build ", BuildId().substr(0, 16), " with oneDNN ",
                                       kernels::OneDnnVersion())};
  return file;
}

absl::StatusOr<QuantizedPack> ReadPack(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return absl::NotFoundError(absl::StrCat(path, ": not there"));
  // A device or a pipe would never end.
  const uintmax_t size = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  if (error || size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a .qpack file"));
  }
  if (size > kMostPackBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", size, " bytes, expected at most ", kMostPackBytes));
  }
  // Read, not mapped: who shortens it meanwhile makes it damaged, and nothing worse.
  std::string content(static_cast<size_t>(size), '\0');
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read"));
  stream.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
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
