// Tells when the content of a configuration file has changed, however that came about: the file was
// written in place, another was renamed over it, or a symbolic link on the way to it points
// elsewhere, as in Kubernetes' ConfigMap volumes, where octet.yaml -> ..data/octet.yaml and a
// rename replaces the link ..data. Changes are noticed through inotify on the folders, and by
// looking at the file now and then where that does not tell (network file systems).

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace octet::server {

struct ConfigWatcherOptions {
  absl::Duration poll = absl::Seconds(1);
  absl::Duration settle = absl::Milliseconds(100);   // content stands this long before it counts
  absl::Duration longest_write = absl::Seconds(10);  // same, while a writer has the file open
  bool notifications = true;                         // inotify
};

// Thread-safe.
class ConfigWatcher {
 public:
  // Called on the watcher's thread with the content, which is as it was read: never that of a file
  // that is still being written, as far as that can be known, and never blank, since that is what a
  // file is before it has been written. An error only after CheckNow().
  using ChangeFn = std::function<void(const absl::StatusOr<std::string>& text)>;

  // Watches `file`, whose content is known to be `text`. Internal if there is no file descriptor.
  static absl::StatusOr<std::unique_ptr<ConfigWatcher>> Start(std::string file, std::string text,
                                                              ChangeFn on_change,
                                                              ConfigWatcherOptions options = {});
  // Waits for a call of `on_change` that is under way.
  ~ConfigWatcher();

  ConfigWatcher(const ConfigWatcher&) = delete;
  ConfigWatcher& operator=(const ConfigWatcher&) = delete;

  // Reports the content soon, changed or not, whatever it is.
  void CheckNow() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  ConfigWatcher(std::string file, std::string text, ChangeFn on_change,
                ConfigWatcherOptions options);

  void Run();
  absl::Duration Look();
  void WatchFolders();
  bool ReadEvents();
  void Await(absl::Duration longest);
  void Wake();

  const std::string file_;
  const ChangeFn on_change_;
  const ConfigWatcherOptions options_;
  int notify_ = -1;  // inotify; -1: none
  int wake_ = -1;    // eventfd

  Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool check_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the watcher's thread.
  struct Folder {
    std::string path;
    std::string file;  // the name in it that matters
    int watch = -1;
  };
  std::vector<Folder> folders_;
  std::string known_;                   // reported last
  std::optional<std::string> changed_;  // seen, and not reported yet
  absl::Time since_;                    // when `changed_` was first seen
  bool writing_ = false;                // somebody has the file open and has written to it
  absl::Time gone_since_ = absl::InfiniteFuture();
  bool gone_logged_ = false;

  std::thread thread_;
};

}  // namespace octet::server
