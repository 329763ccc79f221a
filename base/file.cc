#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/memory.h"

namespace octet {

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, path);
  struct stat info = {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  MappedFile file;
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) {
    close(fd);
    return file;
  }
  void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(error, path);
  file.mapping_ = std::shared_ptr<const void>(
      memory, [size](const void* start) { munmap(const_cast<void*>(start), size); });
  file.bytes_ = {static_cast<const std::byte*>(memory), size};
  return file;
}

void MappedFile::DropPages() const {
  if (!bytes_.empty()) DropFilePages(bytes_);
}

absl::Status WriteFile(const std::string& path, absl::string_view content) {
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (file == nullptr) return absl::ErrnoToStatus(errno, temporary);
  // On the disk before the name is: a power failure leaves the old file or the new one.
  const bool written = std::fwrite(content.data(), 1, content.size(), file) == content.size() &&
                       std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  if (std::fclose(file) != 0 || !written) {
    const int error = errno;
    unlink(temporary.c_str());
    return absl::ErrnoToStatus(error, temporary);
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return absl::ErrnoToStatus(error, path);
  }
  return absl::OkStatus();
}

}  // namespace octet
