// Runs LLVMFuzzerTestOneInput over every file of the folders given, and over mutations of each that
// are the same in every run. For compilers without libFuzzer, and for ctest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMutationsPerFile = 300;
constexpr int kMaxEdits = 4;
// Mutating large files takes long and finds little.
constexpr size_t kLargestMutated = size_t{64} << 10;

using Bytes = std::vector<uint8_t>;

Bytes ReadBytes(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(stream), {});
}

size_t Below(std::mt19937& random, size_t limit) { return limit == 0 ? 0 : random() % limit; }

// One edit: a byte changed, a piece removed, doubled or moved, or the end cut off.
void Edit(std::mt19937& random, Bytes& bytes) {
  if (bytes.empty()) return;
  const size_t start = Below(random, bytes.size());
  const size_t length = std::min<size_t>(1 + Below(random, 16), bytes.size() - start);
  const auto first = bytes.begin() + static_cast<ptrdiff_t>(start);
  const Bytes piece(first, first + static_cast<ptrdiff_t>(length));
  switch (random() % 5) {
    case 0:
      bytes[start] = static_cast<uint8_t>(random());
      break;
    case 1:
      bytes.erase(first, first + static_cast<ptrdiff_t>(length));
      break;
    case 2:
      bytes.insert(first, piece.begin(), piece.end());
      break;
    case 3: {
      const size_t target = Below(random, bytes.size());
      bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(target), piece.begin(), piece.end());
      break;
    }
    default:
      bytes.resize(start);
  }
}

int Replay(const std::filesystem::path& path) {
  const Bytes original = ReadBytes(path);
  LLVMFuzzerTestOneInput(original.data(), original.size());
  if (original.size() > kLargestMutated) return 1;
  std::mt19937 random(static_cast<uint32_t>(original.size()));
  for (int i = 0; i < kMutationsPerFile; ++i) {
    Bytes mutated = original;
    const size_t edits = 1 + Below(random, kMaxEdits);
    for (size_t edit = 0; edit < edits; ++edit) Edit(random, mutated);
    LLVMFuzzerTestOneInput(mutated.data(), mutated.size());
  }
  return 1 + kMutationsPerFile;
}

}  // namespace

int main(int argc, char** argv) {
  int inputs = 0;
  for (int i = 1; i < argc; ++i) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const std::filesystem::path& file : files) inputs += Replay(file);
  }
  std::printf("%d inputs\n", inputs);
  return inputs > 0 ? 0 : 1;  // an empty corpus proves nothing
}
