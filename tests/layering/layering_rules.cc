#include "tests/layering/layering_rules.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

namespace portolan::layering {
namespace {

using Paths = std::set<std::string, std::less<>>;

/// What each folder of core may include, beside itself. A new folder starts with its entry here.
const std::map<std::string, Paths, std::less<>>& CoreArrows() {
  static const auto* arrows = new std::map<std::string, Paths, std::less<>>{
      {"base", {}},
      {"matrix", {"base"}},
      {"kernels", {"base", "matrix"}},
      {"io", {"base", "matrix"}},
      {"archive", {"base"}},
      {"jobs", {"base"}},
      {"model", {"base", "matrix", "kernels", "archive"}},
      {"surgery", {"base", "matrix", "kernels", "archive", "model"}},
      {"neighbors", {"base", "matrix"}},
      {"atlas", {"base", "archive", "model"}},
      {"mapping",
       {"base", "matrix", "io", "archive", "jobs", "model", "surgery", "neighbors", "atlas"}},
  };
  return *arrows;
}

const Paths& ClientArrows() {
  static const auto* arrows = new Paths{"base", "matrix", "io"};
  return *arrows;
}

/// Longer files that are worth their length, with the lines they may have.
const std::map<std::string, int, std::less<>>& AllowedLengths() {
  static const auto* lengths = new std::map<std::string, int, std::less<>>{};
  return *lengths;
}

constexpr std::array<std::string_view, 4> kRpcHeaders = {"grpc/", "grpc++/", "grpcpp/",
                                                         "google/protobuf/"};
constexpr std::array<std::string_view, 8> kHttpHeaders = {
    "httplib", "boost/beast", "boost/asio", "curl/", "nghttp2/", "microhttpd", "evhttp", "event2/"};
constexpr std::array<std::string_view, 4> kTorchHeaders = {"torch/", "ATen/", "c10/", "caffe2/"};
constexpr std::array<std::string_view, 5> kTorchFolders = {
    "core/model/", "core/surgery/", "tests/core/model/", "tests/core/surgery/", "bench/"};

template <size_t N>
bool StartsWithAny(std::string_view text, const std::array<std::string_view, N>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [text](std::string_view prefix) { return text.starts_with(prefix); });
}

std::string_view TrimLeft(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t");
  return start == std::string_view::npos ? std::string_view() : text.substr(start);
}

/// "core/model/model.h" after "core/" gives "model"; nullopt where `path` lies elsewhere, or in no
/// folder of `root`.
std::optional<std::string_view> FolderBelow(std::string_view root, std::string_view path) {
  if (!path.starts_with(root)) return std::nullopt;
  path.remove_prefix(root.size());
  const size_t end = path.find('/');
  if (end == std::string_view::npos) return std::nullopt;
  return path.substr(0, end);
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

/// The file that a line includes, without its quotes; nullopt for any other line.
std::optional<std::string_view> IncludedFile(std::string_view line) {
  line = TrimLeft(line);
  if (!line.starts_with('#')) return std::nullopt;
  line = TrimLeft(line.substr(1));
  if (!line.starts_with("include")) return std::nullopt;
  line = TrimLeft(line.substr(7));
  if (line.empty() || (line[0] != '"' && line[0] != '<')) return std::nullopt;
  const size_t end = line.find(line[0] == '"' ? '"' : '>', 1);
  if (end == std::string_view::npos) return std::nullopt;
  return line.substr(1, end - 1);
}

std::optional<std::string> CheckIncludeFromCore(std::string_view path, std::string_view included) {
  if (StartsWithAny(included, kRpcHeaders) || included.ends_with(".pb.h")) {
    return "core knows no gRPC and no proto: convert at the edge, in server/ or client/";
  }
  if (StartsWithAny(included, kHttpHeaders)) return "core knows no HTTP: that belongs in server/";
  if (included.starts_with("server/") || included.starts_with("client/")) {
    return "core is below server/ and client/";
  }
  const auto from = FolderBelow("core/", path);
  const auto to = FolderBelow("core/", included);
  if (!from || !to || *from == *to) return std::nullopt;
  const auto arrows = CoreArrows().find(*from);
  if (arrows != CoreArrows().end() && !arrows->second.contains(*to)) {
    return "core/" + std::string(*from) + " may not use core/" + std::string(*to);
  }
  return std::nullopt;
}

std::optional<std::string> CheckIncludeFromClient(std::string_view included) {
  if (included.starts_with("server/")) return "client and server share the wire contract only";
  const auto to = FolderBelow("core/", included);
  if (to && !ClientArrows().contains(*to)) {
    return "client may use core/io, core/matrix and core/base, not core/" + std::string(*to);
  }
  return std::nullopt;
}

std::optional<std::string> CheckInclude(std::string_view path, std::string_view included) {
  if (StartsWithAny(included, kTorchHeaders) && !StartsWithAny(path, kTorchFolders)) {
    return "LibTorch's headers stay in core/model and core/surgery";
  }
  if (path.starts_with("core/")) return CheckIncludeFromCore(path, included);
  if (path.starts_with("client/")) return CheckIncludeFromClient(included);
  if (path.starts_with("server/") && included.starts_with("client/")) {
    return "client and server share the wire contract only";
  }
  return std::nullopt;
}

/// The files that a text includes, with their 1-based lines.
std::vector<std::pair<int, std::string_view>> Includes(std::string_view text) {
  std::vector<std::pair<int, std::string_view>> includes;
  const std::vector<std::string_view> lines = SplitLines(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (auto included = IncludedFile(lines[i])) {
      includes.emplace_back(static_cast<int>(i) + 1, *included);
    }
  }
  return includes;
}

/// The files of a tree that include LibTorch's headers, themselves or through others.
Paths FilesWithTorch(const std::map<std::string, std::string>& sources) {
  Paths found;
  for (size_t before = sources.size() + 1; before != found.size();) {
    before = found.size();
    for (const auto& [path, text] : sources) {
      for (const auto& [line, included] : Includes(text)) {
        if (StartsWithAny(included, kTorchHeaders) || found.contains(included)) found.insert(path);
      }
    }
  }
  return found;
}

std::optional<std::string> CheckLength(std::string_view path, int lines) {
  // The tests' headers hold code: builders, and suites that several programs run.
  const bool header = path.ends_with(".h") && !path.starts_with("tests/");
  int limit = header ? kMaxHeaderLines : kMaxSourceLines;
  if (const auto it = AllowedLengths().find(path); it != AllowedLengths().end()) {
    limit = it->second;
  }
  if (lines <= limit) return std::nullopt;
  return std::to_string(lines) + " lines, where " + std::to_string(limit) +
         " are allowed: split it along what it does";
}

}  // namespace

std::string ToString(const Violation& violation) {
  return violation.path + ":" + std::to_string(violation.line) + ": " + violation.message;
}

std::vector<Violation> CheckSource(std::string_view path, std::string_view text) {
  std::vector<Violation> violations;
  const auto add = [&](int line, std::string message) {
    violations.push_back({std::string(path), line, std::move(message)});
  };

  for (const auto& [line, included] : Includes(text)) {
    if (auto message = CheckInclude(path, included)) {
      add(line, "includes " + std::string(included) + ": " + *message);
    }
  }
  const std::vector<std::string_view> lines = SplitLines(text);
  const bool guarded = std::any_of(lines.begin(), lines.end(), [](std::string_view line) {
    return line.starts_with("#pragma once");
  });
  // Files that Highway includes once per instruction set have a guard of their own.
  const bool header = path.ends_with(".h") && !path.ends_with("-inl.h");
  if (header && !guarded) add(0, "a header needs #pragma once");
  if (auto message = CheckLength(path, static_cast<int>(lines.size()))) add(0, *message);
  if (const auto folder = FolderBelow("core/", path); folder && !CoreArrows().contains(*folder)) {
    add(0, "core/" + std::string(*folder) + " has no entry among the arrows of layering_rules.cc");
  }
  return violations;
}

std::vector<Violation> CheckTree(const std::map<std::string, std::string>& sources) {
  std::vector<Violation> violations;
  const Paths with_torch = FilesWithTorch(sources);
  for (const auto& [path, text] : sources) {
    for (Violation& violation : CheckSource(path, text)) violations.push_back(std::move(violation));
    if (StartsWithAny(path, kTorchFolders)) continue;
    for (const auto& [line, included] : Includes(text)) {
      if (!with_torch.contains(included)) continue;
      violations.push_back({path, line,
                            "includes " + std::string(included) +
                                ", which brings LibTorch's headers out of core/model"});
    }
  }
  return violations;
}

}  // namespace portolan::layering
