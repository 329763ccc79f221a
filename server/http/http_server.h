// The HTTP port: /metrics for Prometheus, /healthz/live and /healthz/ready for Kubernetes.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace octet::server {

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// A page; called on the server's threads, so thread-safe.
struct HttpPage {
  std::string path;
  std::function<HttpResponse()> respond;
};

// Answers GET and HEAD of its pages; 404 for other paths, 405 for other methods. Thread-safe.
class HttpServer {
 public:
  // InvalidArgument for an address that is none, Unavailable if the port cannot be opened.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address, int port,
                                                           std::vector<HttpPage> pages);
  // Closes the port and finishes what is being answered.
  ~HttpServer();

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;  // the real one, where 0 was asked for

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace octet::server
