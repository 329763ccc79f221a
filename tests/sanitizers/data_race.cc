// Two threads count without a lock: ThreadSanitizer must report it.

#include <atomic>
#include <iostream>
#include <thread>

int main() {
  int count = 0;
  // Relaxed: the threads start together, and the start orders nothing.
  std::atomic<int> ready{0};
  const auto count_up = [&] {
    ready.fetch_add(1, std::memory_order_relaxed);
    while (ready.load(std::memory_order_relaxed) < 2) {
    }
    for (int i = 0; i < 100'000; ++i) ++count;
  };
  std::thread first(count_up);
  std::thread second(count_up);
  first.join();
  second.join();
  std::cout << count << "\n";
}
