#include "server/http/http_server.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/http_client.h"

namespace octet::server {
namespace {

using octet::testing::HttpExchange;
using octet::testing::HttpGet;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// One server for all: civetweb takes two seconds to stop.
class HttpServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto started =
        HttpServer::Start("127.0.0.1", 0,
                          {{"/metrics", [] { return HttpResponse{.body = "metric 1\n"}; }},
                           {"/sick", [] { return HttpResponse{.status = 503, .body = "no\n"}; }}});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = started->release();
  }
  static void TearDownTestSuite() { delete server_; }

  static HttpServer* server_;
};

HttpServer* HttpServerTest::server_ = nullptr;

TEST_F(HttpServerTest, AnswersPaths) {
  const std::string response = HttpGet(server_->port(), "/metrics?x=1");
  EXPECT_THAT(response, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(response, HasSubstr("Content-Length: 9\r\n"));
  EXPECT_THAT(response, EndsWith("\r\n\r\nmetric 1\n"));
  EXPECT_THAT(HttpGet(server_->port(), "/sick"), StartsWith("HTTP/1.1 503 "));
}

TEST_F(HttpServerTest, EverythingElseIsNotFound) {
  for (const char* path : {"/", "/etc/passwd", "/../etc/passwd", "/metrics/x", "/%2e%2e/etc"}) {
    EXPECT_THAT(HttpGet(server_->port(), path), Not(HasSubstr(" 200 "))) << path;
  }
  EXPECT_THAT(HttpGet(server_->port(), "/none"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(HttpServerTest, OnlyGetAndHead) {
  const auto ask = [&](const std::string& method) {
    return HttpExchange(server_->port(),
                        method + " /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  };
  EXPECT_THAT(ask("POST"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(ask("DELETE"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(ask("HEAD"), EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, GarbageIsSurvived) {
  HttpExchange(server_->port(), "hello\r\n\r\n");
  HttpExchange(server_->port(), "GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\n\r\n");
  EXPECT_THAT(HttpGet(server_->port(), "/metrics"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, TakenPortIsAnError) {
  const auto second = HttpServer::Start("127.0.0.1", server_->port(), {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr(absl::StrCat(server_->port())));
}

}  // namespace
}  // namespace octet::server
