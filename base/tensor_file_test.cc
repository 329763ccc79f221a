#include "base/tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace octet {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr int64_t kMegabyte = 1 << 20;

Tensor Numbers(int64_t count, float first) {
  std::vector<float> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), first);
  return Tensor::Of<float>({count}, numbers);
}

// Bytes of the mapping at `data` that are in this process's memory.
int64_t ResidentBytes(const std::byte* data) {
  std::ifstream maps("/proc/self/smaps");
  const std::string start = absl::StrCat(absl::Hex(reinterpret_cast<uintptr_t>(data)), "-");
  for (std::string line; std::getline(maps, line);) {
    if (!absl::StartsWith(line, start)) continue;
    while (std::getline(maps, line)) {
      if (absl::StartsWith(line, "Rss:")) return std::stoll(line.substr(4)) * 1024;
    }
  }
  return -1;
}

// Bytes on the disk of the files without a name that this process has open in a directory.
int64_t UnnamedBytes(const std::string& directory) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry, error).string();
    struct stat info = {};
    if (!absl::StartsWith(target, directory) || stat(entry.path().c_str(), &info) != 0) continue;
    if (info.st_nlink == 0) bytes += int64_t{info.st_blocks} * 512;
  }
  return bytes;
}

std::string NewDirectory(const std::string& name) {
  const std::string directory = absl::StrCat(testing::TempDir(), "octet_tensor_file_", name);
  std::filesystem::remove_all(directory);
  std::filesystem::create_directory(directory);
  return std::filesystem::canonical(directory).string();
}

TEST(TensorFileTest, HeldTensorsAreTheSame) {
  const auto file = TensorFile::In(NewDirectory("same"));
  std::vector<Tensor> tensors, held;
  for (int i = 0; i < 5; ++i) {
    tensors.push_back(Numbers(100'000 + i, static_cast<float>(i)));  // no whole number of pages
    held.push_back(file->Hold(tensors.back()));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(held[i].in_file());
    EXPECT_FALSE(tensors[i].in_file());
    EXPECT_EQ(held[i].id(), tensors[i].id());
    EXPECT_EQ(held[i].shape(), tensors[i].shape());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(held[i].data()) % 64, 0u);
    EXPECT_THAT(held[i].As<float>(), ElementsAreArray(tensors[i].As<float>()));
    held[i].DropPages();
    EXPECT_THAT(held[i].As<float>(), ElementsAreArray(tensors[i].As<float>()));
    tensors[i].DropPages();  // not in a file: nothing is lost
    EXPECT_EQ(tensors[i].As<float>()[1], static_cast<float>(i) + 1);
  }
  EXPECT_EQ(file->Hold(held[0]).data(), held[0].data());
}

TEST(TensorFileTest, SmallAndReleasedTensorsStayWhereTheyAre) {
  const auto file = TensorFile::In("/nonexistent");
  const Tensor small = Numbers(16, 1);
  EXPECT_EQ(file->Hold(small).data(), small.data());
  EXPECT_FALSE(file->Hold(Numbers(kMegabyte, 1).WithoutBytes()).has_bytes());
  EXPECT_FALSE(file->Hold(Tensor()).in_file());
  EXPECT_EQ(file->status(), absl::OkStatus());  // the directory was not wanted yet
}

TEST(TensorFileTest, AreInMemoryWhileTheyAreRead) {
  const auto file = TensorFile::In(NewDirectory("resident"));
  const Tensor held = file->Hold(Numbers(kMegabyte, 0));
  EXPECT_EQ(ResidentBytes(held.data()), 0);
  const auto numbers = held.As<float>();
  EXPECT_GT(std::accumulate(numbers.begin(), numbers.end(), 0.0), 0);
  EXPECT_EQ(ResidentBytes(held.data()), 4 * kMegabyte);
  held.DropPages();
  EXPECT_EQ(ResidentBytes(held.data()), 0);
}

TEST(TensorFileTest, HasNoNameAndGivesItsSpaceBack) {
  const std::string directory = NewDirectory("space");
  {
    const auto file = TensorFile::In(directory);
    const Tensor stays = file->Hold(Numbers(kMegabyte, 0));
    {
      const Tensor goes = file->Hold(Numbers(kMegabyte, 0));
      EXPECT_TRUE(std::filesystem::is_empty(directory));
      EXPECT_GE(UnnamedBytes(directory), 8 * kMegabyte);
    }
    EXPECT_LT(UnnamedBytes(directory), 5 * kMegabyte);
    EXPECT_EQ(stays.As<float>()[7], 7);
  }
  EXPECT_EQ(UnnamedBytes(directory), 0);
}

TEST(TensorFileTest, TensorsOutliveTheFile) {
  const std::string directory = NewDirectory("outlive");
  Tensor held = TensorFile::In(directory)->Hold(Numbers(kMegabyte, 5));
  ASSERT_TRUE(held.in_file());
  const Tensor row = held.Reshaped({1, kMegabyte});
  held = Tensor();
  row.DropPages();
  EXPECT_EQ(row.As<float>()[2], 7);
}

TEST(TensorFileTest, WithoutADirectoryTensorsStayInMemory) {
  const auto file = TensorFile::In("/nonexistent/directory");
  const Tensor tensor = Numbers(kMegabyte, 1);
  EXPECT_EQ(file->Hold(tensor).data(), tensor.data());
  EXPECT_THAT(std::string(file->status().message()), HasSubstr("/nonexistent/directory"));
}

TEST(TensorFileTest, OnAFullDiskTensorsStayInMemory) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit = {.rlim_cur = 6 * kMegabyte, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string directory = NewDirectory("full");
  const auto file = TensorFile::In(directory);
  const Tensor first = Numbers(kMegabyte, 1), second = Numbers(kMegabyte, 2);
  const Tensor held_first = file->Hold(first), held_second = file->Hold(second);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(held_first.in_file());
  EXPECT_THAT(held_first.As<float>(), ElementsAreArray(first.As<float>()));
  EXPECT_EQ(held_second.data(), second.data());
  EXPECT_FALSE(file->status().ok());
  EXPECT_LT(UnnamedBytes(directory), 5 * kMegabyte);  // no half of the second
  EXPECT_EQ(file->Hold(second).data(), second.data());
}

TEST(TensorFileTest, ThreadsHoldAtTheSameTime) {
  const auto file = TensorFile::In(NewDirectory("threads"));
  std::vector<Tensor> held(64);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < held.size(); i += 4) {
        held[i] = file->Hold(Numbers(20'000, static_cast<float>(i)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < held.size(); ++i) {
    ASSERT_TRUE(held[i].in_file());
    EXPECT_EQ(held[i].As<float>()[19'999], static_cast<float>(19'999 + i));
  }
}

}  // namespace
}  // namespace octet
