#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/archive/saved_model.h"
#include "core/matrix/csr_matrix.h"
#include "core/model/extension.h"
#include "core/model/model.h"
#include "core/model/noise.h"
#include "core/surgery/training_cells.h"

namespace portolan {

/// Tiny models of every kind, tests/data/variants/NAME/model.pt, and the 200 synthetic cells that
/// they were trained on. What is missing from the repository throws and so fails the test.
std::vector<std::string> VariantNames();
std::string VariantDirectory(const std::string& name);
std::string VariantCountsPath();
SavedModel ReadVariant(const std::string& name);
std::shared_ptr<const Model> LoadVariant(const std::string& name);

struct VariantCells {
  CsrMatrix counts;  ///< genes in the variants' order
  std::vector<std::string> names;
  std::vector<int32_t> batch_codes;  ///< 0: batch a, 1: batch b
};
const VariantCells& Cells();

/// What `model` reads of Cells() beside counts and batch: covariates, size factors and the labels
/// of a dispersion, by the names of its obs columns.
CellAnnotations AnnotationsFor(const Model& model);
/// The labels of Cells() as codes of a SCANVI model; -1: unlabelled.
std::vector<int32_t> LabelsFor(const Model& model);

/// Rows of Cells() as a new batch.
struct QueryBatch {
  std::string name;
  std::vector<int64_t> rows;
};
TrainingCells QueryOf(const std::vector<QueryBatch>& batches);
/// With what `model` reads of them.
TrainingCells QueryOf(const std::vector<QueryBatch>& batches, const Model& model);

/// begin, begin + 1, ..., end - 1.
std::vector<int64_t> Range(int64_t begin, int64_t end);

/// An adapter with random columns for new batches of `model`.
Extension RandomAdapter(const Model& model, const std::vector<std::string>& batches,
                        uint64_t seed = 1);

/// The bytes under which an extension is stored: equal if and only if the extensions are.
std::string BytesOf(const Extension& extension);

/// Row-major dense counts as CSR.
CsrMatrix ToCsr(int64_t rows, int64_t cols, const std::vector<float>& dense);

/// The input of the golden numbers of scvi-tools: X[i, j] = (7 i + 3 j + (i j) mod 5) mod 11.
CsrMatrix GoldenCounts();

/// Their proteins, all measured in both batches: Y[i, j] = (5 i + 2 j + (i j) mod 7) mod 13.
ProteinCounts GoldenProteins();

/// Every normal sample is 0.37; dropout keeps everything.
class ConstantNoise : public NoiseSource {
 public:
  void Normal(RandomUse use, std::span<const int64_t> rows, int64_t width, float* out) override;
  void Uniform(const std::string& stream, std::span<const int64_t> rows, int64_t width,
               float* out) override;
};

/// A path below $PORTOLAN_TEST_DATA, or empty where the shared test data are absent.
std::string SharedDataPath(const std::string& name);

/// A path that no other test and no other run uses.
std::string TempPath(const std::string& name);

/// For parameterised tests over names.
std::string TestNameOf(const std::string& text);

}  // namespace portolan
