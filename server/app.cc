#include "server/app.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/jobs/memory_job_store.h"
#include "core/jobs/worker_loop.h"
#include "core/model/torch_runtime.h"
#include "server/atlas_service.h"
#include "server/embedding_service.h"
#include "server/executor.h"
#include "server/listen_address.h"
#include "server/log.h"
#include "server/mapping_runner.h"
#include "server/mapping_service.h"
#include "server/metrics.h"
#include "server/ops_listener.h"
#include "server/rpc_metrics.h"
#include "server/thread_plan.h"
#include "server/upload_service.h"
#include "server/watch_hub.h"

namespace portolan::server {
namespace {

constexpr int kMaxMessageBytes = 8 << 20;
constexpr int kServiceThreads = 4;

constexpr const char* kServices[] = {"portolan.v1.AtlasService", "portolan.v1.UploadService",
                                     "portolan.v1.MappingService", "portolan.v1.EmbeddingService"};

absl::Status PrepareDataDirectory(const std::string& directory) {
  if (directory.empty()) return absl::OkStatus();
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!error && access(directory.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return InvalidField("data", absl::StrCat("\"", directory, "\" cannot be made or written to"),
                      "Name a directory that the server may write to.");
}

int64_t PhysicalMemory() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
}

void Configure(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port in use is an error
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 100);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, 30 * 60'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 10 * 60'000);
  grpc::ResourceQuota quota("portolan");
  quota.Resize(std::max<int64_t>(256 << 20, PhysicalMemory() / 4));
  builder.SetResourceQuota(quota);
}

void LogAtlases(const AtlasCatalog& catalog) {
  for (const auto& [name, atlas] : catalog.atlases) {
    Log(LogLevel::kInfo, "atlas opened",
        {{"atlas", name}, {"versions", absl::StrCat(atlas->Versions().size())}});
  }
  for (const auto& [name, reason] : catalog.refused) {
    Log(LogLevel::kWarning, "atlas refused", {{"atlas", name}, {"reason", LogText(reason)}});
  }
}

}  // namespace

// Members are in the order of use: each may use those above it, and is destroyed before them.
class Server::Impl {
 public:
  Impl(const ServerOptions& options, AtlasCatalog catalog)
      : options_(options),
        catalog_(std::move(catalog)),
        jobs_(JobOptions()),
        uploads_(UploadOptions()),
        results_(options.results),
        hub_(jobs_, metrics_, options.now),
        compute_("compute", options.workers > 0 ? options.workers : DefaultWorkers()),
        service_("service", kServiceThreads),
        runner_(catalog_, uploads_, results_, compute_, metrics_),
        loop_(
            jobs_, [this](const JobContext& context) { return runner_.Run(context); },
            LoopOptions()),
        atlas_service_(catalog_, service_),
        upload_service_(catalog_, uploads_, service_, metrics_, draining_),
        mapping_service_({catalog_, uploads_, jobs_, results_, hub_, service_, draining_}),
        embedding_service_(catalog_, service_, draining_) {}

  ~Impl() { Stop(); }

  absl::Status Listen() {
    PORTOLAN_ASSIGN_OR_RETURN(ListenAddress address, ParseListenAddress("listen", options_.listen));
    if (!options_.ops.empty()) {
      PORTOLAN_ASSIGN_OR_RETURN(const ListenAddress ops, ParseListenAddress("ops", options_.ops));
      PORTOLAN_ASSIGN_OR_RETURN(ops_, OpsListener::Start(ops, metrics_));
      Log(LogLevel::kInfo, "metrics served", {{"port", absl::StrCat(ops_->port())}});
    }
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    Configure(builder);
    builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port_);
    if (ops_ != nullptr) {
      builder.experimental().SetInterceptorCreators(RpcMetricsInterceptors(metrics_));
    }
    builder.RegisterService(&atlas_service_);
    builder.RegisterService(&upload_service_);
    builder.RegisterService(&mapping_service_);
    builder.RegisterService(&embedding_service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return FieldError(absl::StatusCode::kUnavailable, "listen",
                        absl::StrCat("cannot listen on ", options_.listen),
                        "The port may be in use, or the address not of this machine; choose "
                        "another.");
    }
    address.port = port_;
    address_ = address.ToString();
    SetServing(true);
    StartThreads();
    return absl::OkStatus();
  }

  void Stop() {
    if (stopped_) return;
    stopped_ = true;
    draining_ = true;
    if (server_ != nullptr) SetServing(false);
    loop_.Shutdown();
    for (std::thread& thread : threads_) thread.join();
    hub_.Close();
    if (hub_thread_.joinable()) hub_thread_.join();
    if (server_ != nullptr) {
      server_->Shutdown(std::chrono::system_clock::now() +
                        absl::ToChronoMilliseconds(options_.shutdown_grace));
      server_->Wait();
    }
    ops_.reset();
  }

  const std::string& address() const { return address_; }
  int port() const { return port_; }
  int ops_port() const { return ops_ == nullptr ? 0 : ops_->port(); }

 private:
  MemoryJobStoreOptions JobOptions() const {
    MemoryJobStoreOptions options;
    options.max_queued = options_.max_queued_mappings;
    options.now = options_.now;
    return options;
  }

  UploadStore::Options UploadOptions() {
    UploadStore::Options options;
    options.limits = options_.uploads;
    options.limits.max_all_bytes = std::min(options.limits.max_all_bytes, PhysicalMemory() / 2);
    options.now = options_.now;
    options.in_use = [this](const std::string& id) { return IsNeededByJob(jobs_, id); };
    return options;
  }

  WorkerLoopOptions LoopOptions() const {
    WorkerLoopOptions options;
    options.now = options_.now;
    return options;
  }

  void SetServing(bool serving) {
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    for (const char* service : kServices) health->SetServingStatus(service, serving);
    health->SetServingStatus(serving);
  }

  void StartThreads() {
    // Coordinators wait for the compute pool, so they are none of its threads.
    for (int i = 0; i < std::max(1, options_.concurrent_mappings); ++i) {
      threads_.emplace_back([this] { loop_.Work(); });
    }
    threads_.emplace_back([this] { loop_.Monitor(); });
    hub_thread_ = std::thread([this] { hub_.Run([this] { uploads_.RemoveIdle(); }); });
  }

  const ServerOptions options_;
  const AtlasCatalog catalog_;
  std::atomic<bool> draining_ = false;
  bool stopped_ = false;
  Metrics metrics_;
  MemoryJobStore jobs_;
  UploadStore uploads_;
  ResultStore results_;
  WatchHub hub_;
  ThreadPool compute_;
  ThreadPool service_;
  MappingRunner runner_;
  WorkerLoop loop_;
  AtlasService atlas_service_;
  UploadService upload_service_;
  MappingService mapping_service_;
  EmbeddingService embedding_service_;
  std::unique_ptr<OpsListener> ops_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  int port_ = 0;
  std::vector<std::thread> threads_;
  std::thread hub_thread_;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  PORTOLAN_RETURN_IF_ERROR(CheckBlas());
  PORTOLAN_RETURN_IF_ERROR(ParseListenAddress("listen", options.listen).status());
  PORTOLAN_RETURN_IF_ERROR(PrepareDataDirectory(options.data));
  PORTOLAN_ASSIGN_OR_RETURN(AtlasCatalog catalog, LoadAtlases(options.atlases, options.data));
  LogAtlases(catalog);
  auto impl = std::make_unique<Impl>(options, std::move(catalog));
  PORTOLAN_RETURN_IF_ERROR(impl->Listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

const std::string& Server::address() const { return impl_->address(); }
int Server::port() const { return impl_->port(); }
int Server::ops_port() const { return impl_->ops_port(); }
void Server::Stop() { impl_->Stop(); }

}  // namespace portolan::server
