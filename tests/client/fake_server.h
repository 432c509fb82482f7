#pragma once

#include <grpcpp/server.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/matrix/csr_matrix.h"
#include "portolan/v1/mapping.pb.h"

namespace portolan::client {

/// Cells as they came over the wire, decoded.
struct ReceivedCells {
  std::vector<std::string> names;
  std::vector<int32_t> batch_codes;
  CsrMatrix counts;
};

/// Decodes a block and checks its checksum; false when anything does not fit.
bool DecodeBlock(const v1::CountBlock& block, int64_t genes, ReceivedCells& cells);

/// What the server is to do; set before the call it concerns.
struct FakeBehaviour {
  std::vector<std::string> genes = {"g0", "g1", "g2", "g3"};
  std::vector<std::string> batches = {"ref1", "ref2"};
  std::vector<std::string> labels = {"B", "T"};  ///< empty: SCVI
  int break_upload_before_part = -1;  ///< once: end the stream UNAVAILABLE before storing this part
  int broken_uploads = 0;             ///< further streams that break at their first part
  bool break_watch = false;           ///< once, after the first message
  bool break_read = false;            ///< once, after the first block
  int unavailable_calls = 0;          ///< unary GetAtlas calls that first answer UNAVAILABLE
  std::string model_file = "the bytes of a model";  ///< what ExportVersion sends
  bool break_export = false;                        ///< once, after the first chunk
  bool damage_export = false;                       ///< one bit of the last chunk
  bool refuse_upload = false;  ///< CreateUpload: INVALID_ARGUMENT with a field violation
  v1::Mapping::State outcome = v1::Mapping::SUCCEEDED;
  std::function<void()> on_watch = {};  ///< called in a watch, which then lasts until the cancel
};

/// What the server saw.
struct FakeRecord {
  v1::CreateUploadRequest upload;
  v1::CreateMappingRequest mapping;
  ReceivedCells cells;
  int parts = 0;
  int upload_streams = 0;
  int skipped_parts = 0;
  int watches = 0;
  int reads = 0;
  bool completed = false;
  bool deleted = false;
  bool cancelled = false;
};

/// A server of the whole contract in this process, over a socket on a port that the system chose.
/// It computes nothing: the latent of a cell is (sum of its counts, its first stored column), its
/// label is its sum modulo the number of labels.
class FakeServer {
 public:
  explicit FakeServer(FakeBehaviour behaviour = {});
  ~FakeServer();

  std::string address() const;
  FakeRecord record() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace portolan::client
