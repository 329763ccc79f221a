// How this process gives memory back to the system.

#pragma once

namespace octet::server {

// Keeps freed memory in the process instead of returning it at every opportunity. Requests of a few
// hundred kilobytes would otherwise map and unmap their buffers, and fault every page, each time:
// more work than everything else the server does for them. What a load leaves behind is returned
// explicitly (malloc_trim). Call it before there are threads.
void KeepFreedMemory();

}  // namespace octet::server
