#include "base/tensor_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/memory.h"
#include "base/status.h"

namespace octet {

std::shared_ptr<TensorFile> TensorFile::In(std::string directory) {
  return std::shared_ptr<TensorFile>(new TensorFile(std::move(directory)));
}

TensorFile::~TensorFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status TensorFile::OpenOnce() {
  if (fd_ >= 0 || !status_.ok()) return status_;
  int fd = open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    std::string path = absl::StrCat(directory_, "/octet-weights-XXXXXX");
    fd = mkostemp(path.data(), O_CLOEXEC);
    if (fd >= 0) unlink(path.c_str());
  }
  if (fd < 0) return status_ = absl::ErrnoToStatus(errno, directory_);
  fd_ = fd;
  return absl::OkStatus();
}

bool TensorFile::Reserve(size_t size, size_t& offset) {
  const MutexLock lock(mutex_);
  if (!OpenOnce().ok()) return false;
  offset = end_;
  end_ += RoundedUp(size, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  return true;
}

absl::Status TensorFile::Write(std::span<const std::byte> bytes, size_t offset) const {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return absl::ErrnoToStatus(written < 0 ? errno : EIO, directory_);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

void TensorFile::Fail(const absl::Status& status) {
  const MutexLock lock(mutex_);
  status_.Update(status);
}

absl::Status TensorFile::status() const {
  const MutexLock lock(mutex_);
  return status_;
}

void TensorFile::GiveBack(size_t size, size_t offset) const {
  // Where a file system cannot do this, the space goes back with the file.
  fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
            static_cast<off_t>(size));
}

Tensor TensorFile::Hold(const Tensor& tensor) {
  const size_t size = tensor.has_bytes() ? tensor.byte_size() : 0;
  size_t offset = 0;
  if (size < kLeastBytes || tensor.in_file() || !Reserve(size, offset)) return tensor;
  void* memory = MAP_FAILED;
  absl::Status status = Write({tensor.data(), size}, offset);
  if (status.ok()) {
    memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_, static_cast<off_t>(offset));
    if (memory == MAP_FAILED) status = absl::ErrnoToStatus(errno, directory_);
  }
  if (!status.ok()) {
    GiveBack(size, offset);
    Fail(status);
    return tensor;
  }
  Tensor held = tensor;
  const auto give_back = [file = shared_from_this(), size, offset] {
    file->GiveBack(size, offset);
  };
  held.bytes_.reset(static_cast<std::byte*>(memory), UnmapFile{size, give_back});
  return held;
}

std::string TemporaryDirectory() {
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::temp_directory_path(error);
  return error ? "/tmp" : directory.string();
}

}  // namespace octet
