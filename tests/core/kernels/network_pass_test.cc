#include "core/kernels/network_pass.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/base/philox.h"
#include "core/kernels/encoder.h"
#include "core/kernels/layers.h"

namespace portolan {
namespace {

constexpr int64_t kGenes = 70;
constexpr int64_t kHidden = 20;
constexpr int64_t kLatent = 5;
constexpr int64_t kLabels = 3;
constexpr int64_t kCells = 40;
constexpr int32_t kBatches = 2;
constexpr float kKlWeight = 0.4f;

std::vector<float> Normals(int64_t n, float scale = 1) {
  static uint64_t item = 0;
  std::vector<float> out(n);
  FillNormal(7, RandomUse::kProbe, 0, item++, out);
  for (float& value : out) value *= scale;
  return out;
}

PackedMatrix Random(int64_t inputs, int64_t outputs) {
  const std::vector<float> weight =
      Normals(inputs * outputs, 1 / std::sqrt(static_cast<float>(inputs)));
  const std::vector<float> bias = Normals(outputs, 0.1f);
  const LinearView view{weight, bias};
  return {inputs, {&view, 1}};
}

PackedStack RandomStack(int64_t inputs, bool label_columns) {
  PackedStack stack;
  stack.layer_norm = true;
  for (int i = 0; i < 2; ++i) {
    PackedLayer layer;
    layer.width = kHidden;
    layer.weight = Random(i == 0 ? inputs : kHidden, kHidden);
    if (label_columns) layer.label_columns = Normals(kLabels * kHidden);
    stack.layers.push_back(std::move(layer));
  }
  return stack;
}

PackedGaussian RandomGaussian(int64_t inputs, bool label_columns, float epsilon) {
  return {RandomStack(inputs, label_columns), Random(kHidden, 2 * kLatent), epsilon};
}

PackedNetworks RandomNetworks(CountLikelihood likelihood, bool labels) {
  PackedNetworks n;
  n.genes = kGenes;
  n.latent = kLatent;
  n.likelihood = likelihood;
  n.first_weight_t = Normals(kGenes * kHidden, 0.1f);
  n.first_bias = Normals(kHidden, 0.1f);
  n.encoder = RandomGaussian(kGenes, false, 1e-4f);
  n.decoder = RandomStack(kLatent, false);
  const std::vector<float> weight = Normals(kGenes * kHidden, 0.3f);
  const std::vector<float> bias = Normals(kGenes, 0.3f);
  std::vector<LinearView> heads = {{weight, bias, -1e30f}};
  if (likelihood == CountLikelihood::kZinb) heads.push_back({weight, bias, 0});
  n.gene_heads = PackedMatrix::PanelAligned(kHidden, heads);
  if (labels) {
    PackedLabels& l = n.labels.emplace();
    l.labels = kLabels;
    l.classifier = RandomStack(kLatent, false);
    l.classes = Random(kHidden, kLabels);
    l.encoder_z2 = RandomGaussian(kLatent, true, 1e-4f);
    l.decoder_z1 = RandomGaussian(kLatent, true, 0);
    l.log_prior.assign(kLabels, std::log(1.0f / kLabels));
  }
  return n;
}

class NetworkPassTest : public testing::TestWithParam<std::tuple<CountLikelihood, bool>> {
 protected:
  NetworkPassTest() : dispersion_(std::vector<float>(kGenes, 0.7f)) {
    counts_.cols = kGenes;
    const std::vector<float> draws = Normals(kCells * kGenes);
    for (int64_t cell = 0; cell < kCells; ++cell) {
      for (int32_t g = 0; g < kGenes; ++g) {
        const float draw = draws[cell * kGenes + g];
        if (draw < 1 || cell == 3) continue;  // cell 3 is empty
        counts_.columns.push_back(g);
        counts_.values.push_back(std::floor(1 + 10 * (draw - 1)));
      }
      counts_.row_offsets.push_back(counts_.nonzeros());
    }
    AlignedBuffer<float> row(PaddedWidth(kHidden));
    AlignedBuffer<float> scratch(kGenes + kPanel);
    for (int64_t cell = 0; cell < kCells; ++cell) {
      SparseRow(counts_.row_columns(cell), counts_.row_values(cell),
                networks_.first_weight_t.data(), networks_.first_bias.data(), kHidden, true,
                scratch.data(), row.data());
      first_.emplace_back(row.data(), row.data() + kHidden);
      noise_.push_back(Normals(kLatent));
      label_noise_.push_back(Normals(kLabels * kLatent));
    }
    for (int i = 0; i < 4; ++i) columns_.push_back(Normals(kBatches * kHidden, 0.3f));
  }

  PassCell Cell(int64_t i) const {
    float total = 0;
    for (const float count : counts_.row_values(i)) total += count;
    return {.first = first_[i].data(),
            .counts = {counts_.row_columns(i), counts_.row_values(i), total},
            .dispersion = &dispersion_,
            .code = static_cast<int32_t>(i % kBatches),
            .noise = noise_[i].data(),
            .label_noise = label_noise_[i].data()};
  }

  ColumnTables Tables(int begin) const {
    return {columns_[begin].data(), columns_[begin + 1].data()};
  }

  // Reconstruction and KL of one cell.
  std::pair<double, double> Terms(NetworkPass& pass, int64_t cell) {
    const PassCell cells[] = {Cell(cell)};
    pass.Run(cells, Tables(0), Tables(2), kKlWeight, false);
    return {pass.reconstruction(0), pass.kl(0)};
  }

  double Loss(NetworkPass& pass, int64_t cell) {
    const auto [reconstruction, kl] = Terms(pass, cell);
    return reconstruction + kKlWeight * kl;
  }

  PackedNetworks networks_ = RandomNetworks(std::get<0>(GetParam()), std::get<1>(GetParam()));
  CsrMatrix counts_;
  GeneDispersion dispersion_;
  std::vector<std::vector<float>> first_;
  std::vector<std::vector<float>> noise_;
  std::vector<std::vector<float>> label_noise_;
  std::vector<std::vector<float>> columns_;  // two layers of the encoder, two of the decoder
};

TEST_P(NetworkPassTest, GradientsOfColumnsAgreeWithDifferences) {
  NetworkPass pass(networks_);
  for (const int64_t cell : {0, 3, 11}) {
    const PassCell cells[] = {Cell(cell)};
    pass.Run(cells, Tables(0), Tables(2), kKlWeight, true);
    std::vector<std::vector<float>> gradients;
    for (size_t layer = 0; layer < 2; ++layer) {
      const float* g = pass.encoder_gradient(layer, 0);
      gradients.emplace_back(g, g + kHidden);
    }
    for (size_t layer = 0; layer < 2; ++layer) {
      const float* g = pass.decoder_gradient(layer, 0);
      gradients.emplace_back(g, g + kHidden);
    }
    for (size_t t = 0; t < columns_.size(); ++t) {
      double size = 0;
      double error = 0;
      for (int64_t i = 0; i < kHidden; ++i) {
        constexpr float kStep = 5e-4f;  // few ReLU kinks lie within
        float& value = columns_[t][cell % kBatches * kHidden + i];
        const float kept = value;
        value = kept + kStep;
        const double up = Loss(pass, cell);
        value = kept - kStep;
        const double down = Loss(pass, cell);
        value = kept;
        const double numeric = (up - down) / (2.0 * kStep);
        size += numeric * numeric;
        error += (numeric - gradients[t][i]) * (numeric - gradients[t][i]);
      }
      EXPECT_LT(std::sqrt(error), 0.02 * std::sqrt(size) + 0.2) << cell << " table " << t;
    }
  }
}

TEST_P(NetworkPassTest, ACellsNumbersDoNotDependOnTheBlock) {
  NetworkPass pass(networks_);
  std::vector<std::pair<double, double>> alone;
  for (int64_t i = 0; i < kCells; ++i) alone.push_back(Terms(pass, i));
  std::vector<PassCell> block;
  for (int64_t i = 5; i < 5 + NetworkPass::kRows; ++i) block.push_back(Cell(i));
  pass.Run(block, Tables(0), Tables(2), kKlWeight, true);
  for (int64_t i = 0; i < NetworkPass::kRows; ++i) {
    EXPECT_EQ(pass.reconstruction(i), alone[5 + i].first) << i;
    EXPECT_EQ(pass.kl(i), alone[5 + i].second) << i;
  }
}

TEST_P(NetworkPassTest, EncodedCellsDoNotDependOnTheirCompany) {
  std::vector<int32_t> codes(kCells);
  for (int64_t i = 0; i < kCells; ++i) codes[i] = static_cast<int32_t>(i % kBatches);
  const auto encode = [&](const CsrMatrix& counts, const std::vector<int32_t>& own) {
    const int64_t n = counts.rows();
    const int64_t labels = networks_.labels.has_value() ? kLabels : 0;
    std::vector<float> mean(n * kLatent);
    std::vector<float> variance(n * kLatent);
    std::vector<float> probabilities(n * labels);
    EXPECT_TRUE(EncodeCells(networks_, Tables(0), {counts, own}, CancelToken(),
                            {mean, variance, probabilities})
                    .ok());
    mean.insert(mean.end(), variance.begin(), variance.end());
    return mean;
  };
  const std::vector<float> all = encode(counts_, codes);
  for (const int64_t i : {0, 3, 39}) {
    const int64_t rows[] = {i};
    const std::vector<float> one = encode(counts_.SelectRows(rows), {codes[i]});
    for (int64_t d = 0; d < kLatent; ++d) {
      EXPECT_EQ(one[d], all[i * kLatent + d]);
      EXPECT_EQ(one[kLatent + d], all[(kCells + i) * kLatent + d]);
      EXPECT_GT(one[kLatent + d], 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, NetworkPassTest,
                         testing::Combine(testing::Values(CountLikelihood::kNb,
                                                          CountLikelihood::kZinb,
                                                          CountLikelihood::kPoisson),
                                          testing::Bool()));

// What a label that is left out would have added stays below half a unit in the last place.
TEST(SmallestLabelWeightTest, ChangesNoFloat32Loss) {
  const double loss = 300;
  const double own_terms = 255 * loss;
  EXPECT_EQ(static_cast<float>(loss + kSmallestLabelWeight * own_terms), static_cast<float>(loss));
}

}  // namespace
}  // namespace portolan
