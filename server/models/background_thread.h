// Work that must not be in the way of requests.

#pragma once

#include <functional>

namespace octet::server {

// Runs `work` on a thread of its own that gets about a tenth of a core while requests keep every
// core busy, and all that they leave otherwise. Returns when it is done. Threads that `work` starts
// are of the same low priority.
void RunInBackground(const std::function<void()>& work);

}  // namespace octet::server
