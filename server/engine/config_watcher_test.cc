#include "server/engine/config_watcher.h"

#include <fcntl.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

namespace fs = std::filesystem;
using octet::testing::TemporaryDirectory;

// Without inotify and without polling, in turn: each must do alone. Nothing waits for time to pass
// but the watcher itself.
class ConfigWatcherTest : public ::testing::TestWithParam<bool> {
 protected:
  void Start(const fs::path& file, const std::string& text = "one") {
    const bool notifications = GetParam();
    auto watcher = ConfigWatcher::Start(
        file.string(), text,
        [this](const absl::StatusOr<std::string>& seen) {
          const MutexLock lock(mutex_);
          // A status of its own: the packaged Abseil counts owners where
          // ThreadSanitizer does not see it.
          const absl::Status& status = seen.status();
          reports_.push_back(seen.ok() ? seen : absl::Status(status.code(), status.message()));
          changed_.NotifyAll();
        },
        {.poll = notifications ? absl::Hours(1) : absl::Milliseconds(2),
         .settle = absl::Milliseconds(20),
         .longest_write = absl::Hours(1),
         .notifications = notifications});
    ASSERT_TRUE(watcher.ok()) << watcher.status();
    watcher_ = *std::move(watcher);
  }

  // Waits for a report and takes it.
  absl::StatusOr<std::string> Next() {
    const MutexLock lock(mutex_);
    while (reports_.empty()) changed_.Wait(mutex_);
    absl::StatusOr<std::string> report = reports_.front();
    reports_.pop_front();
    return report;
  }

  size_t waiting() {
    const MutexLock lock(mutex_);
    return reports_.size();
  }

  // Nothing was reported before this.
  void ExpectQuiet() {
    watcher_->CheckNow();
    Next().status().IgnoreError();
    EXPECT_EQ(waiting(), 0u);
  }

  TemporaryDirectory directory_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<absl::StatusOr<std::string>> reports_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ConfigWatcher> watcher_;
};

TEST_P(ConfigWatcherTest, SeesAFileWrittenInPlace) {
  const fs::path file = directory_.Write("octet.yaml", "one");
  Start(file);
  directory_.Write("octet.yaml", "two");
  EXPECT_EQ(*Next(), "two");
  directory_.Write("octet.yaml", "one");
  EXPECT_EQ(*Next(), "one");
}

TEST_P(ConfigWatcherTest, SeesAFileRenamedOverIt) {
  const fs::path file = directory_.Write("octet.yaml", "one");
  Start(file);
  fs::rename(directory_.Write("octet.yaml.new", "two"), file);
  EXPECT_EQ(*Next(), "two");
  fs::rename(directory_.Write("octet.yaml.new", "three"), file);
  EXPECT_EQ(*Next(), "three");
}

// As the kubelet does it: octet.yaml -> ..data/octet.yaml, ..data -> ..1, and a rename replaces
// ..data.
TEST_P(ConfigWatcherTest, SeesAConfigMapSwap) {
  directory_.Write("..1/octet.yaml", "one");
  fs::create_symlink("..1", directory_.path() / "..data");
  fs::create_symlink("..data/octet.yaml", directory_.path() / "octet.yaml");
  Start(directory_.path() / "octet.yaml");
  for (const std::string next : {"2", "3", "4"}) {
    const std::string folder = ".." + next;
    directory_.Write(folder + "/octet.yaml", next);
    fs::create_symlink(folder, directory_.path() / "..data_tmp");
    const fs::path old = fs::canonical(directory_.path() / "..data");
    fs::rename(directory_.path() / "..data_tmp", directory_.path() / "..data");
    fs::remove_all(old);
    EXPECT_EQ(*Next(), next);
  }
}

TEST_P(ConfigWatcherTest, SeesTheTargetOfALinkChange) {
  TemporaryDirectory elsewhere;
  const fs::path target = elsewhere.Write("real.yaml", "one");
  fs::create_symlink(target, directory_.path() / "octet.yaml");
  Start(directory_.path() / "octet.yaml");
  elsewhere.Write("real.yaml", "two");
  EXPECT_EQ(*Next(), "two");
}

TEST_P(ConfigWatcherTest, WaitsForADeletedFileToComeBack) {
  const fs::path file = directory_.Write("octet.yaml", "one");
  Start(file);
  fs::remove(file);
  directory_.Write("octet.yaml", "");
  directory_.Write("octet.yaml", "  \n");
  directory_.Write("octet.yaml", "two");
  EXPECT_EQ(*Next(), "two") << "neither an error nor the empty file";
}

TEST_P(ConfigWatcherTest, TheSameContentIsNoChange) {
  const fs::path file = directory_.Write("octet.yaml", "one");
  Start(file);
  directory_.Write("octet.yaml", "one");
  fs::rename(directory_.Write("octet.yaml.new", "one"), file);
  ExpectQuiet();
}

TEST_P(ConfigWatcherTest, ReportsWhenAsked) {
  const fs::path file = directory_.Write("octet.yaml", "one");
  Start(file);
  watcher_->CheckNow();
  EXPECT_EQ(*Next(), "one") << "unchanged";
  fs::remove(file);
  watcher_->CheckNow();
  EXPECT_EQ(Next().status().code(), absl::StatusCode::kNotFound);
}

TEST_P(ConfigWatcherTest, StopsWhileAChangeSettles) {
  const fs::path file = directory_.Write("octet.yaml", "one");
  Start(file);
  directory_.Write("octet.yaml", "two");
  watcher_.reset();
}

INSTANTIATE_TEST_SUITE_P(Means, ConfigWatcherTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Notified" : "Polled"; });

class ConfigWatcherNotifiedTest : public ConfigWatcherTest {};

// A writer that is slower than the settling time: the half is never reported, since the file is
// still open.
TEST_P(ConfigWatcherNotifiedTest, WaitsForAWriterToClose) {
  const fs::path file = directory_.Write("octet.yaml", "one");
  Start(file);
  const int writer = open(file.c_str(), O_WRONLY | O_TRUNC);
  ASSERT_GE(writer, 0);
  ASSERT_EQ(write(writer, "tw", 2), 2);
  // Ten settling times, told by a clock that the watcher does not know of.
  const absl::Time later = absl::Now() + absl::Milliseconds(200);
  {
    const MutexLock lock(mutex_);
    while (absl::Now() < later) changed_.WaitUntil(mutex_, later);
    EXPECT_TRUE(reports_.empty());
  }
  ASSERT_EQ(write(writer, "o", 1), 1);
  close(writer);
  EXPECT_EQ(*Next(), "two");
}

INSTANTIATE_TEST_SUITE_P(Writers, ConfigWatcherNotifiedTest, ::testing::Values(true));

}  // namespace
}  // namespace octet::server
