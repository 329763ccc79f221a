#include "server/models/background_thread.h"

#include <sys/resource.h>
#include <unistd.h>

#include <thread>

namespace octet::server {

void RunInBackground(const std::function<void()>& work) {
  // A thread cannot raise its priority again without a privilege: it ends with the work.
  constexpr int kNice = 10;
  std::thread thread([&] {
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
    work();
  });
  thread.join();
}

}  // namespace octet::server
