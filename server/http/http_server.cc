#include "server/http/http_server.h"

#include <civetweb.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"

namespace octet::server {

struct HttpServer::Impl {
  static int KeepError(const mg_connection* connection, const char* message);

  std::vector<HttpPage> pages;
  mg_context* context = nullptr;
  int port = 0;
  Mutex mutex;
  std::string error ABSL_GUARDED_BY(mutex);  // what civetweb logged first
};

namespace {

// A scrape and two probes at a time are the rule; more wait in the queue.
constexpr char kThreads[] = "4";

void Send(mg_connection* connection, bool with_body, const HttpResponse& response) {
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            response.status, mg_get_response_code_text(connection, response.status),
            response.content_type.c_str(), response.body.size());
  if (with_body) mg_write(connection, response.body.data(), response.body.size());
}

int Answer(mg_connection* connection, void* data) {
  const auto& pages = *static_cast<const std::vector<HttpPage>*>(data);
  const mg_request_info* request = mg_get_request_info(connection);
  const bool head = std::strcmp(request->request_method, "HEAD") == 0;
  if (!head && std::strcmp(request->request_method, "GET") != 0) {
    Send(connection, true, {.status = 405, .body = "only GET and HEAD\n"});
    return 405;
  }
  const auto page = std::find_if(pages.begin(), pages.end(), [&](const HttpPage& candidate) {
    return candidate.path == request->local_uri;
  });
  const HttpResponse response =
      page == pages.end() ? HttpResponse{.status = 404, .body = "no such page\n"} : page->respond();
  Send(connection, !head, response);
  return response.status;
}

}  // namespace

// Called by civetweb's threads as well, for as long as the server runs.
int HttpServer::Impl::KeepError(const mg_connection* connection, const char* message) {
  const mg_context* const context = mg_get_context(connection);
  auto* const impl = static_cast<Impl*>(context == nullptr ? nullptr : mg_get_user_data(context));
  if (impl != nullptr) {
    const MutexLock lock(impl->mutex);
    if (impl->error.empty()) impl->error = message;
  }
  return 1;  // not to civetweb's own log
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  mg_stop(impl_->context);
  mg_exit_library();
}

int HttpServer::port() const { return impl_->port; }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address, int port,
                                                              std::vector<HttpPage> pages) {
  mg_init_library(0);
  auto impl = std::make_unique<Impl>();
  impl->pages = std::move(pages);
  const std::string host =
      absl::StrContains(address, ':') ? absl::StrCat("[", address, "]") : address;
  const std::string listen = absl::StrCat(host, ":", port);
  const std::array<const char*, 13> options = {"listening_ports",
                                               listen.c_str(),
                                               "num_threads",
                                               kThreads,
                                               "request_timeout_ms",
                                               "5000",
                                               "max_request_size",
                                               "16384",
                                               "connection_queue",
                                               "32",
                                               "enable_directory_listing",
                                               "no",
                                               nullptr};
  mg_callbacks callbacks = {};
  callbacks.log_message = &Impl::KeepError;
  impl->context = mg_start(&callbacks, impl.get(), const_cast<const char**>(options.data()));
  if (impl->context == nullptr) {
    mg_exit_library();
    const MutexLock lock(impl->mutex);
    return absl::UnavailableError(
        absl::StrCat("cannot open HTTP port ", listen, ": ", impl->error));
  }
  mg_server_port opened = {};
  if (mg_get_server_ports(impl->context, 1, &opened) == 1) impl->port = opened.port;
  mg_set_request_handler(impl->context, "/", Answer, &impl->pages);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

}  // namespace octet::server
