// Prints docs/metrics.md.

#include <cstdio>

#include "server/metrics/document.h"

int main() {
  std::fputs(octet::server::MetricsDocument().c_str(), stdout);
  return 0;
}
