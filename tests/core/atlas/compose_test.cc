#include "core/atlas/compose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "core/model/state_dict.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;
using VersionPtr = std::shared_ptr<const AtlasVersion>;

class ComposeTest : public testing::TestWithParam<std::string> {
 protected:
  VersionPtr Adapted(const VersionPtr& parent, const std::vector<std::string>& batches,
                     uint64_t seed) {
    return atlas_->Add(parent, RandomAdapter(*parent->model, batches, seed)).value();
  }

  std::unique_ptr<Atlas> atlas_ = Atlas::Open("tiny", VariantDirectory(GetParam()), "").value();
  VersionPtr reference_ = atlas_->reference();
};

std::vector<float> LatentsOf(const Model& model, const std::string& batch) {
  const std::vector<int32_t> codes(200, model.BatchCode(batch));
  const CellAnnotations annotations = AnnotationsFor(model);
  return Encode(model, {Cells().counts, codes, annotations}, CancelToken()).value().mean;
}

TEST_P(ComposeTest, BatchesKeepTheirLatentsBitForBitInAnyOrder) {
  const VersionPtr q = Adapted(reference_, {"q"}, 1);
  const VersionPtr q2 = Adapted(q, {"q2"}, 2);
  const VersionPtr s = Adapted(reference_, {"s", "t"}, 3);
  const VersionPtr one = ComposeVersions(*atlas_, {q2->id, s->id}).value();
  const VersionPtr other = ComposeVersions(*atlas_, {s->id, q2->id, s->id}).value();
  EXPECT_EQ(one, other);
  EXPECT_EQ(one->parent_id, reference_->id);
  EXPECT_EQ(one->extension_kind, "adapter");
  EXPECT_THAT(one->new_batches, UnorderedElementsAre("q", "q2", "s", "t"));
  EXPECT_EQ(one->max_abs_probe_shift, 0);
  for (const auto& [version, batch] :
       std::vector<std::pair<VersionPtr, std::string>>{{q, "q"}, {q2, "q2"}, {s, "s"}, {s, "t"}}) {
    EXPECT_EQ(LatentsOf(*one->model, batch), LatentsOf(*version->model, batch)) << batch;
  }
}

TEST_P(ComposeTest, TheLastCommonAncestorIsTheParent) {
  const VersionPtr base = Adapted(reference_, {"base"}, 1);
  const VersionPtr a = Adapted(base, {"x"}, 2);
  const VersionPtr b = Adapted(base, {"y"}, 3);
  const VersionPtr both = ComposeVersions(*atlas_, {a->id, b->id}).value();
  EXPECT_EQ(both->parent_id, base->id);
  EXPECT_THAT(both->new_batches, UnorderedElementsAre("x", "y"));
  EXPECT_GE(both->model->BatchCode("base"), 0);
}

INSTANTIATE_TEST_SUITE_P(Variants, ComposeTest,
                         testing::Values("scvi_poisson", "scvi_nb_genebatch", "scvi_covariates",
                                         "scvi_embedding", "scvi_one_batch"),
                         [](const auto& test) { return TestNameOf(test.param); });

class ComposeRefusal : public ComposeTest {
 protected:
  void ExpectRefused(const std::vector<std::string>& ids, absl::StatusCode code,
                     const std::string& text) {
    const absl::Status status = ComposeVersions(*atlas_, ids).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
    const auto violation = GetFieldViolation(status);
    ASSERT_TRUE(violation.has_value());
    EXPECT_FALSE(violation->remedy.empty());
  }
};

TEST_P(ComposeRefusal, SaysWhy) {
  const VersionPtr q = Adapted(reference_, {"q"}, 1);
  const VersionPtr q2 = Adapted(q, {"q2"}, 2);
  const VersionPtr again = Adapted(reference_, {"q"}, 5);
  Extension delta = RandomAdapter(*reference_->model, {"d"});
  const auto state = StateDict(*reference_->model).value();
  delta.replaced["z_encoder.mean_encoder.bias"] = state.at("z_encoder.mean_encoder.bias");
  delta.reasons = {"weights of z_encoder trained"};
  const VersionPtr full = atlas_->Add(reference_, delta).value();
  EXPECT_THAT(full->full_delta_reasons, testing::ElementsAre("weights of z_encoder trained"));
  const auto failed = absl::StatusCode::kFailedPrecondition;
  ExpectRefused({q->id, full->id}, failed, "weights of z_encoder trained");
  ExpectRefused({q->id, q2->id}, failed, "already contains");
  ExpectRefused({reference_->id, q->id}, failed, "already contains");
  ExpectRefused({q->id, again->id}, failed, "both bring batch 'q'");
  ExpectRefused({q2->id, again->id}, failed, "both bring batch 'q'");
  ExpectRefused({q->id, q->id}, absl::StatusCode::kInvalidArgument, "1 different");
  ExpectRefused({}, absl::StatusCode::kInvalidArgument, "0 different");
  ExpectRefused({q->id, "ffffffffffff"}, absl::StatusCode::kNotFound, "ffffffffffff");
}

INSTANTIATE_TEST_SUITE_P(Variants, ComposeRefusal, testing::Values("scvi_poisson"),
                         [](const auto& test) { return TestNameOf(test.param); });

}  // namespace
}  // namespace portolan
