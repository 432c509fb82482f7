#include "core/archive/model_description.h"

#include <charconv>

namespace portolan {

std::string_view ModelClassName(ModelClass model_class) {
  switch (model_class) {
    case ModelClass::kScvi:
      return "SCVI";
    case ModelClass::kScanvi:
      return "SCANVI";
    case ModelClass::kTotalvi:
      return "TOTALVI";
  }
  return "";
}

std::string_view GeneLikelihoodName(GeneLikelihood likelihood) {
  switch (likelihood) {
    case GeneLikelihood::kZinb:
      return "zinb";
    case GeneLikelihood::kNb:
      return "nb";
    case GeneLikelihood::kPoisson:
      return "poisson";
    case GeneLikelihood::kNormal:
      return "normal";
  }
  return "";
}

std::string_view DispersionName(Dispersion dispersion) {
  switch (dispersion) {
    case Dispersion::kGene:
      return "gene";
    case Dispersion::kGeneBatch:
      return "gene-batch";
    case Dispersion::kGeneLabel:
      return "gene-label";
    case Dispersion::kGeneCell:
      return "gene-cell";
  }
  return "";
}

std::string_view LatentDistributionName(LatentDistribution distribution) {
  switch (distribution) {
    case LatentDistribution::kNormal:
      return "normal";
    case LatentDistribution::kLogisticNormal:
      return "ln";
  }
  return "";
}

std::string_view ProteinDispersionName(ProteinDispersion dispersion) {
  switch (dispersion) {
    case ProteinDispersion::kProtein:
      return "protein";
    case ProteinDispersion::kProteinBatch:
      return "protein-batch";
    case ProteinDispersion::kProteinLabel:
      return "protein-label";
  }
  return "";
}

std::string_view TotalviVariantName(TotalviVariant variant) {
  switch (variant) {
    case TotalviVariant::kExp:
      return "exp";
    case TotalviVariant::kSoftplus:
      return "softplus";
    case TotalviVariant::kSoftplusFloor:
      return "softplus-floor";
    case TotalviVariant::kCellMean:
      return "cell-mean";
  }
  return "";
}

ScviVersion ParseScviVersion(std::string_view text) {
  int parts[3] = {0, 0, 0};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (int i = 0; i < 3; ++i) {
    const auto [next, error] = std::from_chars(at, end, parts[i]);
    if (error != std::errc() || parts[i] < 0) {
      // "1.2.dev0" is 1.2.0; no number at all is no version.
      parts[i] = 0;
      break;
    }
    at = next;
    if (at == end || *at != '.') break;
    ++at;
  }
  return {parts[0], parts[1], parts[2]};
}

}  // namespace portolan
