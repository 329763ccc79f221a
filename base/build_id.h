// Which build of the program this is.

#pragma once

#include <string>

namespace octet {

// The identity that the linker gave to the program (GNU build ID), hexadecimal: another for every
// change of the code, the same for every copy of the binary. Empty if it gave none.
std::string BuildId();

}  // namespace octet
