#include "server/server.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace octet::server {
namespace {

constexpr absl::Duration kRefusalTime = absl::Milliseconds(500);
// For the last replies to reach their callers.
constexpr absl::Duration kFlush = absl::Seconds(3);

HttpResponse Readiness(const ModelManager& models) {
  if (models.closed()) return {.status = 503, .body = "draining\n"};
  const std::vector<ModelStatus> unready = models.Unready();
  if (unready.empty()) return {.body = "ready\n"};
  HttpResponse response{.status = 503, .body = "not ready\n"};
  for (const ModelStatus& model : unready) {
    absl::StrAppend(&response.body, model.name, model.version.empty() ? "" : "/", model.version,
                    ": ", model.state == ModelState::kFailed ? "failed: " : "", model.reason, "\n");
  }
  return response;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  std::unique_ptr<Server> server(new Server());
  server->drain_ = options.drain;
  options.models.max_request_bytes = options.grpc.max_request_bytes;
  server->metrics_ = std::make_unique<MetricsRegistry>();
  server->metrics_->SetBuildInfo(options.grpc.version, options.isa, options.onednn_version);
  server->metrics_->SetCores(options.cores);
  OCTET_ASSIGN_OR_RETURN(server->models_,
                         ModelManager::Create(std::move(options.models), *server->metrics_));
  OCTET_ASSIGN_OR_RETURN(server->grpc_,
                         GrpcServer::Start(options.grpc, *server->models_, *server->metrics_));
  Server* const self = server.get();
  std::vector<HttpPage> pages;
  pages.push_back({"/healthz/live", [] { return HttpResponse{.body = "live\n"}; }});
  pages.push_back({"/healthz/ready", [self] { return Readiness(*self->models_); }});
  pages.push_back({"/metrics", [self] {
                     self->metrics_->SetReady(Readiness(*self->models_).status == 200);
                     return HttpResponse{.content_type = std::string(kMetricsContentType),
                                         .body = self->metrics_->Scrape()};
                   }});
  OCTET_ASSIGN_OR_RETURN(
      server->http_, HttpServer::Start(options.grpc.address, options.http_port, std::move(pages)));
  server->models_->StartLoading([self] { self->UpdateHealth(); });
  self->UpdateHealth();
  return server;
}

Server::~Server() {
  Drain();
  // A load that is under way still tells us when it ends.
  if (models_ != nullptr) models_->AwaitLoads(absl::InfiniteFuture());
}

void Server::UpdateHealth() { grpc_->SetServing(models_->IsReady()); }

void Server::Drain() {
  if (grpc_ == nullptr) return;
  const absl::Time deadline = absl::Now() + drain_;
  grpc_->SetServing(false);
  models_->Close();
  models_->AwaitDrained(deadline);
  // Calls that reach a port which is closing are cancelled by gRPC without a reason. Those on their
  // way now get ours, UNAVAILABLE, which tells clients to try elsewhere.
  absl::SleepFor(std::min(kRefusalTime, drain_));
  // What is left are replies on their way, and streams that clients hold open without asking for
  // anything, such as health watches: those would last until the end of the drain time.
  grpc_->Shutdown(std::min(deadline, absl::Now() + kFlush));
  models_->Drain();
}

}  // namespace octet::server
