#include "core/model/torch_runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/kernels/layers.h"

namespace portolan {
namespace {

// OpenBLAS comes with whichever library torch was linked to; asked by name, so that a LibTorch
// with another BLAS still links.
template <typename Function>
Function* OpenBlas(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

// One thread for torch and one for the BLAS below it: workers are the parallelism. The BLAS setting
// is the process's, torch's is the calling thread's and must follow a first look at it, which
// re-reads the global one.
void UseOneThread() {
  static const bool blas = [] {
    if (auto* set = OpenBlas<void(int)>("openblas_set_num_threads")) set(1);
    return true;
  }();
  thread_local const bool intra_op = [] {
    at::get_num_threads();
    at::set_num_threads(1);
    return true;
  }();
  static_cast<void>(blas);
  static_cast<void>(intra_op);
}

}  // namespace

absl::Status TorchFence(const std::function<absl::Status()>& body) {
  try {
    UseOneThread();
    return body();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory in a model computation");
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("torch: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("torch: ", error.what()));
  }
}

absl::Status CheckBlas() {
  if (OpenBlas<char*()>("openblas_get_corename") != nullptr || at::hasMKL()) {
    return absl::OkStatus();
  }
  return FieldError(absl::StatusCode::kFailedPrecondition, "BLAS",
                    "matrix products would run on a reference BLAS",
                    "Install libopenblas0-pthread (or a LibTorch with MKL)");
}

std::string InstructionSet() {
  // "... - CPU capability usage: AVX512\n ..."
  constexpr char kLabel[] = "CPU capability usage: ";
  const std::string config = at::show_config();
  const size_t at = config.find(kLabel);
  std::string text = "unknown";
  if (at != std::string::npos) {
    const size_t begin = at + sizeof(kLabel) - 1;
    text = config.substr(begin, config.find('\n', begin) - begin);
  }
  if (auto* core = OpenBlas<char*()>("openblas_get_corename")) {
    absl::StrAppend(&text, ", OpenBLAS ", core());
  }
  absl::StrAppend(&text, ", kernels ", KernelInstructionSet());
  return text;
}

}  // namespace portolan
