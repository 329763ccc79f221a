// Reads behind a tensor's end: AddressSanitizer must report it.

#include <iostream>
#include <vector>

#include "base/tensor.h"

int main(int argc, char** /*argv*/) {
  const octet::Tensor tensor = octet::Tensor::Of<float>({16}, std::vector<float>(16, 1.0f));
  // `argc` keeps the compiler from knowing the index.
  std::cout << tensor.As<float>().data()[15 + argc] << "\n";
}
