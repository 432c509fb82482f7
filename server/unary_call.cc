#include "server/unary_call.h"

#include <exception>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "server/status.h"

namespace portolan::server {

absl::Status Fenced(const std::function<absl::Status()>& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return FieldError(absl::StatusCode::kResourceExhausted, "memory", "the server has none left",
                      "Try again later, or send less at a time.");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("unexpected failure: ", error.what()));
  }
}

grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                    const std::function<absl::Status()>& work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(Fenced(work)));
  return reactor;
}

grpc::ServerUnaryReactor* FinishLater(grpc::CallbackServerContext* context, Executor& executor,
                                      std::function<absl::Status()> work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  executor.Run([reactor, work = std::move(work)] { reactor->Finish(ToGrpcStatus(Fenced(work))); });
  return reactor;
}

}  // namespace portolan::server
