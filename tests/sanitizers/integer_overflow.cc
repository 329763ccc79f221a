// Adds beyond the largest int: UndefinedBehaviorSanitizer must report it.

#include <iostream>
#include <limits>

int main(int argc, char** /*argv*/) {
  // `argc` keeps the compiler from knowing the sum.
  std::cout << std::numeric_limits<int>::max() + argc << "\n";
}
