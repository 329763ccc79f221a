// The same as data_race.cc with a lock of ours: ThreadSanitizer must see the lock and be silent.

#include <iostream>
#include <thread>

#include "base/mutex.h"

int main() {
  octet::Mutex mutex;
  int count = 0;
  const auto count_up = [&] {
    for (int i = 0; i < 100'000; ++i) {
      const octet::MutexLock lock(mutex);
      ++count;
    }
  };
  std::thread first(count_up);
  std::thread second(count_up);
  first.join();
  second.join();
  std::cout << count << "\n";
}
