#include "server/engine/config_watcher.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/config/config_file.h"
#include "server/log.h"

namespace octet::server {
namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MODIFY |
                             IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF;

}  // namespace

ConfigWatcher::ConfigWatcher(std::string file, std::string text, ChangeFn on_change,
                             ConfigWatcherOptions options)
    : file_(std::move(file)),
      on_change_(std::move(on_change)),
      options_(options),
      known_(std::move(text)) {}

absl::StatusOr<std::unique_ptr<ConfigWatcher>> ConfigWatcher::Start(std::string file,
                                                                    std::string text,
                                                                    ChangeFn on_change,
                                                                    ConfigWatcherOptions options) {
  std::unique_ptr<ConfigWatcher> watcher(
      new ConfigWatcher(std::move(file), std::move(text), std::move(on_change), options));
  watcher->wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (watcher->wake_ < 0) return absl::InternalError(absl::StrCat("eventfd: ", strerror(errno)));
  if (options.notifications) {
    watcher->notify_ = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watcher->notify_ < 0) {
      LogWarning("no notifications of changes of the configuration: it is looked at instead",
                 {{"reason", strerror(errno)}});
    }
  }
  watcher->WatchFolders();
  watcher->thread_ = std::thread(&ConfigWatcher::Run, watcher.get());
  return watcher;
}

ConfigWatcher::~ConfigWatcher() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  if (thread_.joinable()) {
    Wake();
    thread_.join();
  }
  if (notify_ >= 0) close(notify_);
  if (wake_ >= 0) close(wake_);
}

void ConfigWatcher::CheckNow() {
  {
    const MutexLock lock(mutex_);
    check_ = true;
  }
  Wake();
}

void ConfigWatcher::Wake() {
  const uint64_t one = 1;
  // It fails only if the counter is full, and then the thread is awake.
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
}

void ConfigWatcher::Run() {
  while (true) {
    // First the folders: what changes after they are watched, is told; what changed before, is
    // seen.
    WatchFolders();
    const absl::Duration wait = Look();
    {
      const MutexLock lock(mutex_);
      if (stopped_) return;
    }
    Await(wait);
  }
}

// Watches the folder that the file's name is in and the one that it really is in. Both may be
// replaced at any time; adding a watch that is there already changes nothing.
void ConfigWatcher::WatchFolders() {
  if (notify_ < 0) return;
  std::vector<std::filesystem::path> files = {std::filesystem::path(file_)};
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(file_, error);
  if (!error) files.push_back(real);
  std::vector<Folder> folders;
  for (const std::filesystem::path& file : files) {
    const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
    folders.push_back({folder, file.filename().string(),
                       inotify_add_watch(notify_, folder.c_str(), kEvents | IN_ONLYDIR)});
  }
  // A folder that the file has left.
  for (const Folder& old : folders_) {
    const bool kept = std::any_of(folders.begin(), folders.end(),
                                  [&](const Folder& folder) { return folder.watch == old.watch; });
    if (!kept && old.watch >= 0) inotify_rm_watch(notify_, old.watch);
  }
  folders_ = std::move(folders);
}

// Reads the file and reports it if it is time to; returns when to look again.
absl::Duration ConfigWatcher::Look() {
  bool check = false;
  {
    const MutexLock lock(mutex_);
    std::swap(check, check_);
  }
  const absl::Time now = absl::Now();
  const absl::StatusOr<std::string> text = ReadConfigText(file_);
  if (check) {
    changed_.reset();
    if (text.ok()) known_ = *text;
    on_change_(text);
    return options_.poll;
  }
  if (!text.ok() || absl::StripAsciiWhitespace(*text).empty()) {
    changed_.reset();
    gone_since_ = std::min(gone_since_, now);
    if (now - gone_since_ >= options_.settle && !gone_logged_) {
      gone_logged_ = true;
      LogWarning(
          "the configuration file cannot be read: everything stays as it is",
          {{"file", file_}, {"reason", text.ok() ? "it is empty" : text.status().message()}});
    }
    return gone_logged_ ? options_.poll : options_.settle;
  }
  gone_since_ = absl::InfiniteFuture();
  gone_logged_ = false;
  if (*text == known_) {
    changed_.reset();
    return options_.poll;
  }
  if (changed_ != *text) {
    changed_ = *text;
    since_ = now;
  }
  const absl::Time due = since_ + (writing_ ? options_.longest_write : options_.settle);
  if (now < due) return due - now;
  known_ = *std::move(changed_);
  changed_.reset();
  writing_ = false;
  on_change_(known_);
  return options_.poll;
}

// True if one of the events may have to do with the file.
bool ConfigWatcher::ReadEvents() {
  alignas(inotify_event) char buffer[4096];
  bool ours = false;
  while (true) {
    const ssize_t size = read(notify_, buffer, sizeof(buffer));
    if (size <= 0) return ours;
    for (ssize_t at = 0; at < size;) {
      const auto* const event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      const std::string name = event->len > 0 ? event->name : "";
      const bool file = std::any_of(folders_.begin(), folders_.end(), [&](const Folder& folder) {
        return folder.watch == event->wd && folder.file == name;
      });
      if (file) writing_ = (event->mask & IN_MODIFY) != 0;
      // Other files may be written all the time, logs for example; links do not change by that.
      if (file || (event->mask & (IN_MODIFY | IN_CLOSE_WRITE)) == 0) ours = true;
    }
  }
}

// Returns when there may be something to see, at the latest after `longest`.
void ConfigWatcher::Await(absl::Duration longest) {
  const absl::Time deadline = absl::Now() + longest;
  pollfd files[] = {{wake_, POLLIN, 0}, {notify_, POLLIN, 0}};  // poll() passes over negative ones
  while (true) {
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    const int64_t milliseconds = std::min<int64_t>(
        absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))), 1 << 30);
    const int count = poll(files, 2, static_cast<int>(milliseconds));
    if (count == 0) return;
    if (count < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (files[0].revents != 0) {
      uint64_t ignored = 0;
      [[maybe_unused]] const ssize_t size = read(wake_, &ignored, sizeof(ignored));
      return;
    }
    if (files[1].revents != 0 && ReadEvents()) return;
  }
}

}  // namespace octet::server
