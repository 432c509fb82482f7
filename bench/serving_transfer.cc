#include <memory>
#include <string>
#include <vector>

#include "bench/serving.h"
#include "bench/synthetic.h"
#include "client/cpp/client.h"
#include "client/cpp/mapping.h"
#include "client/cpp/upload.h"

namespace portolan::bench {
namespace {

constexpr int64_t kCells = 16'384;
constexpr int64_t kBlockCells = 1024;
constexpr int kRepeats = 5;
constexpr double kDensity = 0.1;

/// Cells of a batch that the reference knows, so that nothing is trained.
struct Cells {
  std::vector<CsrMatrix> blocks;
  std::vector<std::string> names;
  std::vector<int32_t> codes;
};

Cells MakeCells() {
  Cells cells;
  for (int64_t at = 0; at < kCells; at += kBlockCells) {
    cells.blocks.push_back(SyntheticCounts(at, kBlockCells, kHlcaShape.genes, kDensity));
  }
  for (int64_t i = 0; i < kCells; ++i) cells.names.push_back("cell" + std::to_string(i));
  cells.codes.assign(kCells, 0);
  return cells;
}

std::string Upload(client::Client& client, const Cells& cells) {
  v1::CreateUploadRequest request;
  request.set_version(client::VersionName(kAtlas, "reference"));
  request.set_cells(kCells);
  request.add_batches(std::to_string(0));  // the first one
  request.mutable_genes()->set_reference_genes(kHlcaShape.genes);
  request.mutable_genes()->set_matched(kHlcaShape.genes);
  const auto uploader = Must(client::Uploader::Start(client, request));
  int64_t at = 0;
  for (const CsrMatrix& block : cells.blocks) {
    Must(uploader->Add({.cell_names = std::span(cells.names).subspan(at, kBlockCells),
                        .batch_codes = std::span(cells.codes).subspan(at, kBlockCells),
                        .counts = block}));
    at += kBlockCells;
  }
  return Must(uploader->Complete()).name();
}

int64_t WireBytes(const Cells& cells) {
  int64_t bytes = 0;
  for (size_t i = 0; i < cells.blocks.size(); ++i) {
    const auto at = static_cast<int64_t>(i) * kBlockCells;
    const client::CellBlock block{.cell_names = std::span(cells.names).subspan(at, kBlockCells),
                                  .batch_codes = std::span(cells.codes).subspan(at, kBlockCells),
                                  .counts = cells.blocks[i]};
    Must(client::EncodeParts(block, client::kPartBytes, [&](const v1::CountBlock& part) {
      bytes += static_cast<int64_t>(part.ByteSizeLong());
      return absl::OkStatus();
    }));
  }
  return bytes;
}

void AddRates(Report& report, const std::string& name, int64_t bytes, double seconds) {
  report.Add({name + "_cells", 1, static_cast<double>(kCells) / seconds, "cells/s"});
  report.Add({name + "_bytes", 1, static_cast<double>(bytes) / 1e6 / seconds, "MB/s"});
}

}  // namespace

void MeasureTransfer(const Setting& setting) {
  const Cells cells = MakeCells();
  RunningServer server(setting, setting.atlases, {});
  const auto client = Must(client::Client::Connect({.address = server.address()}));
  std::vector<double> up;
  std::string upload;
  for (int i = 0; i < kRepeats; ++i) {
    if (!upload.empty()) Must(client->DeleteUpload(upload));
    up.push_back(Seconds([&] { upload = Upload(*client, cells); }));
  }
  AddRates(setting.report, "upload", WireBytes(cells), Median(up));

  v1::CreateMappingRequest request;
  request.set_version(client::VersionName(kAtlas, "reference"));
  request.set_upload(upload);
  const v1::Mapping mapping = Must(client::RunMapping(*client, request, [](const v1::Mapping&) {}));
  std::vector<double> down;
  client::EmbeddingRows rows;
  for (int i = 0; i < kRepeats; ++i) {
    down.push_back(
        Seconds([&] { rows = Must(client::ReadEmbedding(*client, mapping.name(), kCells)); }));
  }
  const size_t values = rows.latent.size() + rows.probabilities.size() + rows.label_codes.size();
  AddRates(setting.report, "download", static_cast<int64_t>(values * sizeof(float)), Median(down));
}

}  // namespace portolan::bench
