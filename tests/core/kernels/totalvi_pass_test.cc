#include "core/kernels/totalvi_pass.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/base/philox.h"
#include "core/kernels/batch_tables.h"

namespace portolan {
namespace {

constexpr int64_t kGenes = 70;
constexpr int64_t kProteins = 9;
constexpr int64_t kHidden = 20;
constexpr int64_t kLatent = 5;
constexpr int64_t kCells = 40;
constexpr int32_t kBatches = 2;
constexpr float kKlWeight = 0.4f;

std::vector<float> Normals(int64_t n, float scale = 1) {
  static uint64_t item = 0;
  std::vector<float> out(n);
  FillNormal(9, RandomUse::kProbe, 0, item++, out);
  for (float& value : out) value *= scale;
  return out;
}

PackedMatrix Random(int64_t inputs, const std::vector<LinearView>& shapes) {
  std::vector<std::vector<float>> owned;
  std::vector<LinearView> views;
  owned.reserve(2 * shapes.size());
  for (const LinearView& shape : shapes) {
    const auto outputs = static_cast<int64_t>(shape.bias.size());
    owned.push_back(Normals(inputs * outputs, 1 / std::sqrt(static_cast<float>(inputs))));
    owned.push_back(Normals(outputs, 0.1f));
    views.push_back({owned[owned.size() - 2], owned.back(), shape.pad_bias});
  }
  return PackedMatrix::PanelAligned(inputs, views);
}

PackedMatrix Random(int64_t inputs, int64_t outputs) {
  const std::vector<float> shape(outputs);
  return Random(inputs, {{{}, shape, 0}});
}

PackedStack RandomStack(const std::string& name, int64_t inputs, int layers, bool columns) {
  PackedStack stack;
  stack.layer_norm = true;
  for (int i = 0; i < layers; ++i) {
    PackedLayer layer;
    layer.width = kHidden;
    layer.weight = Random(i == 0 ? inputs : kHidden, kHidden);
    if (columns) layer.batch_columns_key = name + std::to_string(i);
    stack.layers.push_back(std::move(layer));
  }
  return stack;
}

PackedBranch RandomBranch(const std::string& name, const std::vector<int64_t>& widths) {
  PackedBranch branch;
  branch.body = RandomStack(name, kLatent, 1, true);
  std::vector<std::vector<float>> shapes;
  std::vector<LinearView> views;
  int64_t at = 0;
  for (const int64_t width : widths) {
    shapes.emplace_back(width);
    branch.parts.push_back({at, width, name + " head " + std::to_string(at)});
    at += PaddedWidth(width);
  }
  for (const auto& shape : shapes) views.push_back({{}, shape, name == "genes" ? -1e30f : 0.0f});
  branch.heads = Random(kHidden + kLatent, views);
  return branch;
}

struct Variant {
  std::string name;
  bool zinb;
  bool cell_mean;
  bool encoder_columns;
};

PackedNetworks RandomNetworks(const Variant& variant) {
  PackedNetworks n;
  n.genes = kGenes;
  n.latent = kLatent;
  n.likelihood = variant.zinb ? CountLikelihood::kZinb : CountLikelihood::kNb;
  n.encoder.stack = RandomStack("encoder", kHidden, 2, variant.encoder_columns);
  n.encoder.heads = Random(kHidden, 2 * kLatent);
  n.encoder.var_epsilon = 1e-4f;
  PackedProteins& p = n.proteins.emplace();
  p.proteins = kProteins;
  p.scale = variant.cell_mean ? BackgroundScale::kSoftplusFloor : BackgroundScale::kExp;
  p.cell_mean = variant.cell_mean;
  p.genes = RandomBranch("genes", {kGenes});
  p.back = RandomBranch("back", {kProteins, kProteins});
  p.fore = RandomBranch("fore", {kProteins});
  p.mix =
      variant.zinb ? RandomBranch("mix", {kGenes, kProteins}) : RandomBranch("mix", {kProteins});
  return n;
}

class TotalviPassTest : public testing::TestWithParam<Variant> {
 protected:
  TotalviPassTest() : dispersion_(std::vector<float>(kGenes, 0.7f)) {
    for (int64_t cell = 0; cell < kCells; ++cell) {
      first_.push_back(Normals(kHidden));
      noise_.push_back(Normals(kLatent));
      background_noise_.push_back(Normals(kProteins));
      Counts counts;
      const std::vector<float> draws = Normals(kGenes + kProteins);
      for (int32_t g = 0; g < kGenes; ++g) {
        if (draws[g] < 1 || cell == 3) continue;  // cell 3 is empty
        counts.genes.push_back(g);
        counts.counts.push_back(std::floor(1 + 10 * (draws[g] - 1)));
        counts.total += counts.counts.back();
      }
      for (int64_t i = 0; i < kProteins; ++i) {
        counts.proteins.push_back(cell == 3 ? 0 : std::floor(20 * std::abs(draws[kGenes + i])));
      }
      counts_.push_back(std::move(counts));
    }
    const std::vector<float> efficiency =
        GetParam().cell_mean ? Normals(kProteins, 0.2f) : std::vector<float>();
    for (int32_t batch = 0; batch < kBatches; ++batch) {
      std::vector<float> measured(kProteins, 1.0f);
      measured[batch] = 0;
      frozen_.emplace_back(std::vector<float>(kProteins, 1.3f), efficiency, measured);
    }
    for (const BatchTable& table : TrainedTables(networks_)) {
      columns_.push_back(Normals(kBatches * table.width, 0.3f));
      width_ += table.width;
    }
  }

  TotalviCell Cell(int64_t i) const {
    const auto code = static_cast<int32_t>(i % kBatches);
    return {.first = first_[i].data(),
            .counts = {counts_[i].genes, counts_[i].counts, counts_[i].total},
            .dispersion = &dispersion_,
            .proteins = counts_[i].proteins.data(),
            .frozen = &frozen_[code],
            .code = code,
            .noise = noise_[i].data(),
            .background_noise = background_noise_[i].data()};
  }

  std::vector<const float*> Tables() const {
    std::vector<const float*> tables;
    for (const auto& columns : columns_) tables.push_back(columns.data());
    return tables;
  }

  double Loss(TotalviPass& pass, int64_t cell) {
    const TotalviCell cells[] = {Cell(cell)};
    pass.Run(cells, Tables(), kKlWeight, false);
    return pass.loss(0);
  }

  struct Counts {
    std::vector<int32_t> genes;
    std::vector<float> counts;
    float total = 0;
    std::vector<float> proteins;
  };

  PackedNetworks networks_ = RandomNetworks(GetParam());
  GeneDispersion dispersion_;
  std::vector<std::vector<float>> first_;
  std::vector<std::vector<float>> noise_;
  std::vector<std::vector<float>> background_noise_;
  std::vector<Counts> counts_;
  std::vector<FrozenProteins> frozen_;
  std::vector<std::vector<float>> columns_;
  int64_t width_ = 0;
};

TEST_P(TotalviPassTest, GradientsOfColumnsAgreeWithDifferences) {
  TotalviPass pass(networks_);
  const std::vector<BatchTable> names = TrainedTables(networks_);
  for (const int64_t cell : {0, 3, 11}) {
    const TotalviCell cells[] = {Cell(cell)};
    pass.Run(cells, Tables(), kKlWeight, true);
    std::vector<float> gradient(width_);
    ASSERT_EQ(pass.AddGradient(0, gradient.data()), gradient.data() + width_);
    int64_t at = 0;
    for (size_t t = 0; t < columns_.size(); ++t) {
      double size = 0;
      double error = 0;
      const int64_t width = names[t].width;
      for (int64_t i = 0; i < width; ++i) {
        constexpr float kStep = 5e-4f;  // few ReLU kinks lie within
        float& value = columns_[t][cell % kBatches * width + i];
        const float kept = value;
        value = kept + kStep;
        const double up = Loss(pass, cell);
        value = kept - kStep;
        const double down = Loss(pass, cell);
        value = kept;
        const double numeric = (up - down) / (2.0 * kStep);
        const double difference = numeric - gradient[at + i];
        size += numeric * numeric;
        error += difference * difference;
      }
      EXPECT_LT(std::sqrt(error), 0.02 * std::sqrt(size) + 0.4) << cell << " " << names[t].key;
      at += width;
    }
  }
}

TEST_P(TotalviPassTest, TheLossIsTheSumOfItsTerms) {
  TotalviPass pass(networks_);
  const TotalviCell cells[] = {Cell(4)};
  pass.Run(cells, Tables(), kKlWeight, true);
  const float protein_weight = GetParam().cell_mean ? kKlWeight : 1;
  EXPECT_FLOAT_EQ(pass.loss(0),
                  pass.genes(0) + protein_weight * pass.proteins(0) + kKlWeight * pass.kl(0));
}

TEST_P(TotalviPassTest, ACellsNumbersDoNotDependOnTheBlock) {
  TotalviPass pass(networks_);
  std::vector<float> losses;
  std::vector<std::vector<float>> gradients;
  for (int64_t i = 0; i < kCells; ++i) {
    const TotalviCell cells[] = {Cell(i)};
    pass.Run(cells, Tables(), kKlWeight, true);
    losses.push_back(pass.loss(0));
    gradients.emplace_back(width_);
    pass.AddGradient(0, gradients.back().data());
  }
  for (const int64_t begin : {0, 5, 8}) {
    std::vector<TotalviCell> block;
    for (int64_t i = begin; i < begin + TotalviPass::kRows; ++i) block.push_back(Cell(i));
    pass.Run(block, Tables(), kKlWeight, true);
    for (int64_t i = 0; i < TotalviPass::kRows; ++i) {
      EXPECT_EQ(pass.loss(i), losses[begin + i]) << i;
      std::vector<float> gradient(width_);
      pass.AddGradient(i, gradient.data());
      EXPECT_EQ(gradient, gradients[begin + i]) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, TotalviPassTest,
                         testing::Values(Variant{"Nb", false, true, true},
                                         Variant{"Zinb", true, true, true},
                                         Variant{"Old", false, false, true},
                                         Variant{"OldZinb", true, false, true},
                                         Variant{"PlainEncoder", false, true, false}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace portolan
