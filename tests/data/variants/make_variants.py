#!/usr/bin/env python3
"""Trains a tiny model of every rarer kind by scvi-tools and writes its golden file.

    make_variants.py [NAME ...]     all by default; a model that is there is not trained again

counts.h5ad: 200 synthetic cells, which the models are trained on (batches a and b, labels) and
which are mapped again as the query (one new batch). NAME/model.pt: as scvi-tools saves it.
NAME/golden.h5 and what else RECIPES names: see tests/golden/make_golden.py. Dropout is 0 where a
golden trains what freeze_dropout does not reach: the library encoder, or everything.
"""

import pathlib
import sys

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
import scvi
import torch

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "golden"))
import make_golden  # noqa: E402  (lives in a sibling folder)

SEED = 7
CELLS = 200
GENES = 64
LABELS = ["B cell", "Monocyte", "T cell"]
UNKNOWN = "Unknown"

TINY = {"n_hidden": 16, "n_latent": 5}
# What a reference that others map onto is advised to use.
MAPPABLE = {"encode_covariates": True, "use_layer_norm": "both", "use_batch_norm": "none"}

# Name -> (class, arguments of the model beside TINY).
VARIANTS = {
    "scvi_nb_genebatch": ("SCVI", {**MAPPABLE, "gene_likelihood": "nb",
                                   "dispersion": "gene-batch"}),
    "scvi_poisson": ("SCVI", {**MAPPABLE, "gene_likelihood": "poisson"}),
    "scvi_zinb_batchnorm": ("SCVI", {}),
    "scvi_bn_ln_encoded": ("SCVI", {"encode_covariates": True, "use_layer_norm": "both",
                                    "use_batch_norm": "both", "n_layers": 2}),
    "scvi_latent_library": ("SCVI", {**MAPPABLE, "use_observed_lib_size": False,
                                     "dropout_rate": 0.0}),
    "scvi_latent_library_batchnorm": ("SCVI", {"use_observed_lib_size": False,
                                               "dropout_rate": 0.0}),
    "scvi_shallow_inject": ("SCVI", {**MAPPABLE, "deeply_inject_covariates": False,
                                     "n_layers": 2}),
    "scvi_one_batch": ("SCVI", MAPPABLE),
    "scvi_nolog": ("SCVI", {**MAPPABLE, "log_variational": False}),
    "scvi_gene_label": ("SCVI", {**MAPPABLE, "dispersion": "gene-label"}),
    "scvi_gene_cell": ("SCVI", {**MAPPABLE, "dispersion": "gene-cell", "gene_likelihood": "nb"}),
    "scvi_normal": ("SCVI", {**MAPPABLE, "gene_likelihood": "normal"}),
    "scvi_ln": ("SCVI", {**MAPPABLE, "latent_distribution": "ln"}),
    "scvi_covariates": ("SCVI", {**MAPPABLE, "n_layers": 2}),
    "scvi_covariates_one_batch": ("SCVI", {**MAPPABLE, "gene_likelihood": "nb"}),
    "scvi_size_factor": ("SCVI", {**MAPPABLE, "gene_likelihood": "nb"}),
    "scvi_embedding": ("SCVI", {**MAPPABLE, "n_layers": 2, "batch_representation": "embedding",
                                "gene_likelihood": "nb"}),
    "scanvi_ln": ("SCANVI", {**MAPPABLE, "latent_distribution": "ln"}),
    "scanvi_covariates": ("SCANVI", {**MAPPABLE, "dropout_rate": 0.0, "gene_likelihood": "nb"}),
    "scanvi_batchnorm": ("SCANVI", {}),
    "scanvi_linear_classifier": ("SCANVI", {**MAPPABLE, "linear_classifier": True}),
    "scanvi_ln_encoder_only": ("SCANVI", {"encode_covariates": True, "use_layer_norm": "encoder",
                                          "use_batch_norm": "none", "n_layers": 2}),
}
CATEGORICAL, CONTINUOUS = ["donor", "site"], ["age", "mito"]
COVARIATES = {"categorical_covariate_keys": CATEGORICAL, "continuous_covariate_keys": CONTINUOUS}
# Name -> arguments of setup_anndata beside the batch and SCANVI's labels.
SETUP = {
    "scvi_gene_label": {"labels_key": "cell_type"},
    "scvi_covariates": COVARIATES,
    "scvi_covariates_one_batch": {"categorical_covariate_keys": CATEGORICAL},
    "scvi_size_factor": {"size_factor_key": "size_factor"},
    "scvi_embedding": COVARIATES,
    "scanvi_covariates": COVARIATES,
}
# Name -> golden files beside golden.h5, each with its arguments of make_golden.
RECIPES = {
    "scvi_nb_genebatch": {"golden_wd": {"weight_decay": 1e-3}},
    "scvi_latent_library": {"golden_unfrozen": {"flags": {"unfrozen": True}}},
    "scvi_bn_ln_encoded": {"golden_flags": {"flags": {"freeze_batchnorm_encoder": False,
                                                      "freeze_batchnorm_decoder": True,
                                                      "freeze_expression": False}}},
    "scvi_covariates": {"golden_compat": {"compat": True}},
    "scvi_covariates_one_batch": {"golden_compat": {"compat": True}},
    "scanvi_batchnorm": {"golden_labelled": {"labelled": True}},
    "scanvi_covariates": {"golden_labelled": {"labelled": True,
                                              "flags": {"freeze_classifier": False,
                                                        "freeze_decoder_first_layer": False}},
                          "golden_unfrozen": {"labelled": True, "flags": {"unfrozen": True}}},
}


def annotate(obs, counts):
  """Columns for models that read more than the batch."""
  rng = np.random.Generator(np.random.PCG64(SEED + 1))
  obs["donor"] = pd.Categorical(np.array(["d1", "d2", "d3"])[rng.integers(0, 3, len(obs))])
  obs["site"] = pd.Categorical(np.array(["north", "south"])[rng.integers(0, 2, len(obs))])
  obs["age"] = rng.normal(0, 1, len(obs)).astype(np.float32)
  obs["mito"] = rng.random(len(obs)).astype(np.float32)
  totals = counts.sum(axis=1)
  obs["size_factor"] = (totals / totals.mean() * rng.lognormal(0, 0.1, len(obs))).astype(np.float32)


def make_counts():
  rng = np.random.Generator(np.random.PCG64(SEED))
  types = rng.integers(0, len(LABELS), CELLS)
  batches = rng.integers(0, 2, CELLS)
  log_mean = (rng.normal(0, 0.7, GENES) + rng.normal(0, 0.9, (len(LABELS), GENES))[types]
              + rng.normal(0, 0.3, (2, GENES))[batches])
  share = np.exp(log_mean) / np.exp(log_mean).sum(axis=1, keepdims=True)
  mean = share * 150 * rng.lognormal(0, 0.4, (CELLS, 1))
  counts = rng.poisson(rng.gamma(2.0, mean / 2.0)).astype(np.uint16)
  labels = np.array(LABELS)[types]
  labels[rng.random(CELLS) < 0.1] = UNKNOWN
  obs = pd.DataFrame({"batch": pd.Categorical(np.array(["a", "b"])[batches]),
                      "cell_type": pd.Categorical(labels)},
                     index=[f"cell{i:03d}" for i in range(CELLS)])
  annotate(obs, counts)
  var = pd.DataFrame(index=[f"GENE{i:02d}" for i in range(GENES)])
  anndata.AnnData(scipy.sparse.csr_matrix(counts), obs=obs, var=var).write_h5ad(
      HERE / "counts.h5ad", compression="gzip", compression_opts=9)


def train(name, adata):
  model_name, arguments = VARIANTS[name]
  scvi.settings.seed = SEED
  setup = SETUP.get(name, {})
  if name.endswith("one_batch"):
    adata.obs["batch"] = "a"
  if model_name == "SCVI":
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch", **setup)
    model = scvi.model.SCVI(adata, **TINY, **arguments)
  else:
    scvi.model.SCANVI.setup_anndata(
        adata, labels_key="cell_type", unlabeled_category=UNKNOWN, batch_key="batch", **setup)
    model = scvi.model.SCANVI(adata, **TINY, **arguments)
  model.train(max_epochs=3, accelerator="cpu", enable_progress_bar=False, batch_size=32,
              plan_kwargs={"lr": 1e-2, "n_epochs_kl_warmup": 3})
  model.save(str(HERE / name), overwrite=True, save_anndata=False)


def main():
  make_golden.quiet()
  torch.set_num_threads(1)
  if not (HERE / "counts.h5ad").exists():
    make_counts()
  names = sys.argv[1:] or list(VARIANTS)
  original_sampling = torch.distributions.Normal.rsample, torch.distributions.Normal.sample
  for name in names:
    torch.distributions.Normal.rsample, torch.distributions.Normal.sample = original_sampling
    counts = anndata.read_h5ad(HERE / "counts.h5ad")
    if not (HERE / name / "model.pt").exists():
      train(name, counts.copy())
    for file, recipe in {"golden": {}, **RECIPES.get(name, {})}.items():
      torch.distributions.Normal.rsample, torch.distributions.Normal.sample = original_sampling
      golden = make_golden.make_golden(HERE / name, counts, **recipe)
      make_golden.write_golden(golden, HERE / name / f"{file}.h5")
      changed = [key for key in golden if key.startswith(("param:", "buffer:"))]
      print(f"{name}/{file}.h5: losses {golden['surgery_losses'][0]:.3f} .. "
            f"{golden['surgery_losses'][-1]:.3f}, {len(changed)} tensors changed whole")


if __name__ == "__main__":
  main()
