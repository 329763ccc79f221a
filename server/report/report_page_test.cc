#include "server/report/report_page.h"

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ReportPage, NeedsNothingElse) {
  // The name of SVG is no address.
  const std::string page =
      absl::StrReplaceAll(ReportPage("{}"), {{"http://www.w3.org/2000/svg", ""}});
  for (const char* outside : {"http://", "https://", "src=", "@import", "url(", "<link"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_THAT(page, Not(HasSubstr("{{")));
}

TEST(ReportPage, NamesCannotEndTheData) {
  const std::string harmless = ReportPage(R"({"name": "x"})");
  const std::string page = ReportPage(R"({"name": "</script><script>alert(1)</script><!-- &"})");
  EXPECT_EQ(Count(page, "<script"), Count(harmless, "<script"));
  EXPECT_EQ(Count(page, "</script"), Count(harmless, "</script"));
  EXPECT_EQ(Count(page, "<!--"), Count(harmless, "<!--"));
  EXPECT_THAT(page, HasSubstr(R"("\u003c/script\u003e\u003cscript\u003ealert(1))"));
}

TEST(ReportPage, NamesThatLookLikeThePagesOwnMarksStay) {
  EXPECT_THAT(ReportPage(R"({"name": "{{style}} {{report}}"})"),
              HasSubstr(R"("{{style}} {{report}}")"));
}

}  // namespace
}  // namespace octet::server
