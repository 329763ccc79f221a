#include "server/report/report_page.h"

#include "absl/strings/str_replace.h"
#include "server/report/page_parts.h"

namespace octet::server {

std::string ReportPage(absl::string_view json) {
  // In JSON these characters stand in strings only, where an escape means the same. The browser
  // looks for "</script" and "<!--" before JSON is read.
  const std::string data = absl::StrReplaceAll(json, {{"<", "\\u003c"},
                                                      {">", "\\u003e"},
                                                      {"&", "\\u0026"},
                                                      {"\xe2\x80\xa8", "\\u2028"},
                                                      {"\xe2\x80\xa9", "\\u2029"}});
  return absl::StrReplaceAll(
      kPageHtml, {{"{{style}}", kPageCss}, {"{{script}}", kPageJs}, {"{{report}}", data}});
}

}  // namespace octet::server
