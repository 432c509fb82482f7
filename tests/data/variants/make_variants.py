#!/usr/bin/env python3
"""Trains a tiny model of every rarer kind by scvi-tools and writes its golden file.

    make_variants.py [NAME ...]     all by default

counts.h5ad: 200 synthetic cells, which the models are trained on (batches a and b, labels) and
which are mapped again as the query (one new batch, unlabelled). NAME/model.pt: as scvi-tools saves
it. NAME/golden.h5: see tests/golden/make_golden.py. scvi_nb_genebatch/golden_wd.h5: the same with
weight decay 1e-3, which also moves what surgery masks. Dropout is 0 where the library size is
latent: freeze_dropout does not reach the library encoder.
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
    "scanvi_batchnorm": ("SCANVI", {}),
    "scanvi_linear_classifier": ("SCANVI", {**MAPPABLE, "linear_classifier": True}),
    "scanvi_ln_encoder_only": ("SCANVI", {"encode_covariates": True, "use_layer_norm": "encoder",
                                          "use_batch_norm": "none", "n_layers": 2}),
}
WEIGHT_DECAY = {"scvi_nb_genebatch": 1e-3}


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
  var = pd.DataFrame(index=[f"GENE{i:02d}" for i in range(GENES)])
  anndata.AnnData(scipy.sparse.csr_matrix(counts), obs=obs, var=var).write_h5ad(
      HERE / "counts.h5ad", compression="gzip", compression_opts=9)


def train(name, adata):
  model_name, arguments = VARIANTS[name]
  scvi.settings.seed = SEED
  if name == "scvi_one_batch":
    adata.obs["batch"] = "a"
  if model_name == "SCVI":
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
    model = scvi.model.SCVI(adata, **TINY, **arguments)
  else:
    scvi.model.SCANVI.setup_anndata(
        adata, labels_key="cell_type", unlabeled_category=UNKNOWN, batch_key="batch")
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
    train(name, counts.copy())
    for file, decay in (("golden.h5", 0.0), ("golden_wd.h5", WEIGHT_DECAY.get(name))):
      if decay is None:
        continue
      golden = make_golden.make_golden(HERE / name, counts, weight_decay=decay)
      make_golden.write_golden(golden, HERE / name / file)
      changed = [key for key in golden if key.startswith(("param:", "buffer:"))]
      print(f"{name}/{file}: losses {golden['surgery_losses'][0]:.3f} .. "
            f"{golden['surgery_losses'][-1]:.3f}, {len(changed)} tensors changed whole")


if __name__ == "__main__":
  main()
