#include "tests/end_to_end/query_formats.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/io/hdf5_write.h"

namespace portolan::end_to_end {
namespace {

std::vector<std::vector<float>> Dense(const QueryCells& query) {
  std::vector<std::vector<float>> out(query.cells.size(),
                                      std::vector<float>(query.genes.size(), 0.0f));
  for (size_t cell = 0; cell < query.cells.size(); ++cell) {
    for (int64_t i = query.row_offsets[cell]; i < query.row_offsets[cell + 1]; ++i) {
      out[cell][query.columns[i]] += query.values[i];
    }
  }
  return out;
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

void WriteGzip(const std::string& path, const std::string& text) {
  gzFile const file = gzopen(path.c_str(), "wb");
  EXPECT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  EXPECT_EQ(gzclose(file), Z_OK);
}

std::string MadeUpId(size_t gene) { return "ID" + std::to_string(gene); }

std::string MatrixMarket(const QueryCells& query) {
  std::ostringstream out;
  out << "%%MatrixMarket matrix coordinate integer general\n%\n"
      << query.genes.size() << " " << query.cells.size() << " " << query.values.size() << "\n";
  for (size_t cell = 0; cell < query.cells.size(); ++cell) {
    for (int64_t i = query.row_offsets[cell]; i < query.row_offsets[cell + 1]; ++i) {
      out << query.columns[i] + 1 << " " << cell + 1 << " " << static_cast<int64_t>(query.values[i])
          << "\n";
    }
  }
  return out.str();
}

std::string Lines(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += name + "\n";
  return out;
}

std::string Features(const QueryCells& query, const std::string& more) {
  std::string out;
  for (size_t gene = 0; gene < query.genes.size(); ++gene) {
    out += MadeUpId(gene) + "\t" + query.genes[gene] + more + "\n";
  }
  return out;
}

template <typename T>
void WriteNumbers(const hdf5::Handle& group, const std::string& name, const std::vector<T>& data) {
  const int64_t shape[] = {static_cast<int64_t>(data.size())};
  EXPECT_TRUE(hdf5::WriteNumbers<T>(group, name, shape, data.data()).ok());
}

void WriteStrings(const hdf5::Handle& group, const std::string& name,
                  const std::vector<std::string>& values) {
  EXPECT_TRUE(hdf5::WriteStrings(group, name, values).ok());
}

void WriteTenxMatrix(const QueryCells& query, const hdf5::Handle& group) {
  WriteStrings(group, "barcodes", query.cells);
  WriteNumbers(group, "data", std::vector<int32_t>(query.values.begin(), query.values.end()));
  WriteNumbers(group, "indices", std::vector<int64_t>(query.columns.begin(), query.columns.end()));
  WriteNumbers(group, "indptr", query.row_offsets);
  WriteNumbers(group, "shape",
               std::vector<int32_t>{static_cast<int32_t>(query.genes.size()),
                                    static_cast<int32_t>(query.cells.size())});
}

std::vector<std::string> Ids(const QueryCells& query) {
  std::vector<std::string> out;
  for (size_t gene = 0; gene < query.genes.size(); ++gene) out.push_back(MadeUpId(gene));
  return out;
}

}  // namespace

void WriteCellsByGenes(const QueryCells& query, const std::string& path, char separator,
                       bool with_batches) {
  const auto counts = Dense(query);
  std::ofstream out(path);
  if (with_batches) out << separator << "batch";
  for (const std::string& gene : query.genes) out << separator << gene;
  for (size_t cell = 0; cell < query.cells.size(); ++cell) {
    out << "\n" << query.cells[cell];
    if (with_batches) out << separator << query.batches[cell].value_or("");
    for (const float count : counts[cell]) out << separator << count;
  }
}

void WriteGenesByCells(const QueryCells& query, const std::string& path, char separator) {
  const auto counts = Dense(query);
  std::ofstream out(path);
  out << "gene";
  for (const std::string& cell : query.cells) out << separator << cell;
  for (size_t gene = 0; gene < query.genes.size(); ++gene) {
    out << "\n" << query.genes[gene];
    for (size_t cell = 0; cell < query.cells.size(); ++cell) out << separator << counts[cell][gene];
  }
}

void WriteMex3(const QueryCells& query, const std::string& folder) {
  std::filesystem::create_directory(folder);
  WriteGzip(folder + "/matrix.mtx.gz", MatrixMarket(query));
  WriteGzip(folder + "/barcodes.tsv.gz", Lines(query.cells));
  WriteGzip(folder + "/features.tsv.gz", Features(query, "\tGene Expression"));
}

void WriteMex2(const QueryCells& query, const std::string& folder) {
  std::filesystem::create_directory(folder);
  WriteText(folder + "/matrix.mtx", MatrixMarket(query));
  WriteText(folder + "/barcodes.tsv", Lines(query.cells));
  WriteText(folder + "/genes.tsv", Features(query, ""));
}

void WriteTenx3(const QueryCells& query, const std::string& path) {
  auto file = hdf5::CreateFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  {
    const auto matrix = hdf5::CreateGroup(*file, "matrix");
    const auto features = hdf5::CreateGroup(*matrix, "features");
    WriteTenxMatrix(query, *matrix);
    WriteStrings(*features, "id", Ids(query));
    WriteStrings(*features, "name", query.genes);
    WriteStrings(*features, "genome", std::vector<std::string>(query.genes.size(), "GRCh38"));
    WriteStrings(*features, "feature_type",
                 std::vector<std::string>(query.genes.size(), "Gene Expression"));
  }
  EXPECT_TRUE(hdf5::CloseFile(*std::move(file)).ok());
}

void WriteTenx2(const QueryCells& query, const std::string& path) {
  auto file = hdf5::CreateFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  {
    const auto genome = hdf5::CreateGroup(*file, "GRCh38");
    WriteTenxMatrix(query, *genome);
    WriteStrings(*genome, "genes", Ids(query));
    WriteStrings(*genome, "gene_names", query.genes);
  }
  EXPECT_TRUE(hdf5::CloseFile(*std::move(file)).ok());
}

}  // namespace portolan::end_to_end
