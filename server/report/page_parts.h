// The files that the page is put together from. Internal to server/report.

#pragma once

namespace octet::server {

extern const char kPageHtml[];
extern const char kPageCss[];
extern const char kPageJs[];

}  // namespace octet::server
