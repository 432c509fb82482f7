#!/usr/bin/env python3
"""Trains tiny TOTALVI models by scvi-tools and writes their golden files.

    make_proteins.py [NAME ...]     all by default; a model that is there is not trained again

counts.h5ad: 200 synthetic cells with 12 proteins in obsm (a data frame), batches a and b; without.h5ad:
the same cells without proteins. Both are mapped as a query of one new batch. NAME/model.pt: as
scvi-tools saves it. NAME/golden.h5 (golden_missing.h5: of the query without proteins): the recipe of
tests/golden/make_golden.py with a learning rate of 4e-3, and new columns of background_pro_alpha 3, of
background_pro_log_beta and log_per_batch_efficiency 0. Beside its contents:
  expression_genes, expression_proteins   get_normalized_expression() of the extended model, cells
                                          decoded as the model's first batch, one sample, eps 0.37
                                          (as the new one where the model has one batch alone, to
                                          which load_query_data gives random columns)
  expression_foreground                   get_protein_foreground_probability() likewise
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

SEED = 11
CELLS = 200
GENES = 64
PROTEINS = 12
KEY = "protein_expression"
LEARNING_RATE = 4e-3
TINY = {"n_hidden": 16, "n_latent": 5}
MAPPABLE = {"use_layer_norm": "both", "use_batch_norm": "none"}

VARIANTS = {
    "totalvi_nb": MAPPABLE,
    "totalvi_zinb_batchnorm": {"gene_likelihood": "zinb", "gene_dispersion": "gene-batch",
                               "protein_dispersion": "protein-batch"},
    "totalvi_missing": {**MAPPABLE, "n_layers_decoder": 2, "n_layers_encoder": 1,
                        "gene_likelihood": "zinb"},
    "totalvi_one_batch": MAPPABLE,
    "totalvi_latent_library": {**MAPPABLE, "use_observed_lib_size": False,
                               "empirical_protein_background_prior": False},
    "totalvi_plain": {"encode_covariates": False, "use_batch_norm": "none",
                      "log_variational": False},
}


def make_counts():
  rng = np.random.Generator(np.random.PCG64(SEED))
  types = rng.integers(0, 3, CELLS)
  batches = rng.integers(0, 2, CELLS)
  log_mean = (rng.normal(0, 0.7, GENES) + rng.normal(0, 0.9, (3, GENES))[types]
              + rng.normal(0, 0.3, (2, GENES))[batches])
  share = np.exp(log_mean) / np.exp(log_mean).sum(axis=1, keepdims=True)
  counts = rng.poisson(rng.gamma(2.0, share * 75 * rng.lognormal(0, 0.4, (CELLS, 1))))
  foreground = rng.random((3, PROTEINS))[types] < 0.4
  background = np.exp(rng.normal(1.5, 0.4, (2, PROTEINS))[batches] + rng.normal(0, 0.3, (CELLS, 1)))
  proteins = rng.poisson(rng.gamma(3.0, background * np.where(foreground, 25, 1) / 3.0))
  obs = pd.DataFrame({"batch": pd.Categorical(np.array(["a", "b"])[batches])},
                     index=[f"cell{i:03d}" for i in range(CELLS)])
  var = pd.DataFrame(index=[f"GENE{i:02d}" for i in range(GENES)])
  adata = anndata.AnnData(scipy.sparse.csr_matrix(counts.astype(np.uint16)), obs=obs, var=var)
  adata.write_h5ad(HERE / "without.h5ad", compression="gzip", compression_opts=9)
  adata.obsm[KEY] = pd.DataFrame(proteins.astype(np.int32), index=obs.index,
                                 columns=[f"CD{i + 1}" for i in range(PROTEINS)])
  adata.write_h5ad(HERE / "counts.h5ad", compression="gzip", compression_opts=9)


def train(name, adata):
  scvi.settings.seed = SEED
  if name == "totalvi_one_batch":
    adata.obs["batch"] = "a"
  if name == "totalvi_missing":
    adata.obsm[KEY].loc[adata.obs["batch"] == "b", ["CD2", "CD5", "CD11"]] = 0
  scvi.model.TOTALVI.setup_anndata(adata, KEY, batch_key="batch")
  model = scvi.model.TOTALVI(adata, **TINY, **VARIANTS[name])
  model.train(max_epochs=3, accelerator="cpu", enable_progress_bar=False, batch_size=32,
              n_epochs_kl_warmup=3, lr=1e-2)
  model.save(str(HERE / name), overwrite=True, save_anndata=False)


class Surgery:
  """A reference extended by one new batch, `query`."""

  def __init__(self, folder, query):
    saved = torch.load(f"{folder}/model.pt", map_location="cpu", weights_only=False)
    self.adata = anndata.AnnData(query.X.astype(np.float32), obs=query.obs.copy(),
                                 var=query.var.copy())
    self.adata.obs["batch"] = "query"
    columns = [f"CD{i + 1}" for i in range(PROTEINS)]
    self.adata.obsm[KEY] = (query.obsm[KEY].copy() if KEY in query.obsm else
                            pd.DataFrame(0, index=query.obs_names, columns=columns))
    self.model = scvi.model.TOTALVI.load_query_data(self.adata, str(folder), accelerator="cpu",
                                                    freeze_dropout=True)
    self.module = self.model.module
    self.model.is_trained_ = True
    self.one_batch = saved["model_state_dict"]["background_pro_alpha"].shape[1] == 1
    self.grown = {}
    for key, tensor in self.module.state_dict().items():
      known = saved["model_state_dict"][key]
      if tensor.shape == known.shape:
        continue
      self.grown[key] = tensor.shape[1] - known.shape[1]
      if key.startswith("library_log"):
        continue
      rows = torch.arange(tensor.shape[0])
      fill = {"background_pro_alpha": torch.full((PROTEINS,), 3.0),
              "background_pro_log_beta": torch.zeros(PROTEINS),
              "log_per_batch_efficiency": torch.zeros(PROTEINS)}.get(
                  key, 0.01 * ((rows % 7) - 3).to(torch.float32))
      tensor[:, -self.grown[key]:] = fill[:, None]
    loader = self.model._make_data_loader(adata=self.adata, batch_size=CELLS)
    self.tensors = next(iter(loader))

  def rows(self, selection):
    return {key: value[selection] for key, value in self.tensors.items()}

  @torch.no_grad()
  def encode(self):
    self.module.eval()
    q = self.module.inference(**self.module._get_inference_input(self.tensors))["qz"]
    return q.loc.numpy(), (q.scale**2).numpy()

  def express(self):
    self.module.eval()
    arguments = {"transform_batch": "query" if self.one_batch else "a", "n_samples": 1}
    genes, proteins = self.model.get_normalized_expression(**arguments)
    foreground = self.model.get_protein_foreground_probability(**arguments)
    return genes.to_numpy(), proteins.to_numpy(), foreground.to_numpy()

  def train(self):
    trainable = [p for p in self.module.parameters() if p.requires_grad]
    adam = torch.optim.Adam(trainable, lr=LEARNING_RATE, eps=0.01, weight_decay=0)
    losses, terms = [], {}
    self.module.train()
    for step in range(make_golden.STEPS):
      start = make_golden.MINIBATCH * step % CELLS
      tensors = self.rows(slice(start, min(start + make_golden.MINIBATCH, CELLS)))
      _, _, output = self.module(tensors, loss_kwargs={"kl_weight": make_golden.KL_WEIGHT})
      if step == 0:
        terms = {**output.reconstruction_loss, **output.kl_local}
      losses.append(float(output.loss.detach()))
      adam.zero_grad()
      output.loss.backward()
      adam.step()
    return losses, {key: value.detach().numpy() for key, value in terms.items()}


def make(folder, query):
  make_golden.fix_noise()
  surgery = Surgery(folder, query)
  golden = {"genes": np.array(query.var_names, dtype="S"),
            "obs_names": np.array(query.obs_names, dtype="S"), "surgery_cells": CELLS,
            "surgery_lr": LEARNING_RATE, "surgery_kl_weight": make_golden.KL_WEIGHT,
            "surgery_minibatch": make_golden.MINIBATCH, "surgery_weight_decay": 0.0}
  golden["latent_mean"], golden["latent_var"] = surgery.encode()
  golden["surgery_latent_before"] = golden["latent_mean"]
  (golden["expression_genes"], golden["expression_proteins"],
   golden["expression_foreground"]) = surgery.express()
  surgery.compat, surgery.covariate_columns = False, 0
  before = {key: value.clone() for key, value in surgery.module.state_dict().items()}
  losses, terms = surgery.train()
  golden["surgery_losses"] = np.array(losses)
  golden.update({f"step0_{key}": value for key, value in terms.items()})
  golden["surgery_latent_after"] = surgery.encode()[0]
  golden.update(make_golden.changed_tensors(surgery, before))
  return golden


def main():
  make_golden.quiet()
  torch.set_num_threads(1)
  if not (HERE / "counts.h5ad").exists():
    make_counts()
  original = torch.distributions.Normal.rsample, torch.distributions.Normal.sample
  for name in sys.argv[1:] or list(VARIANTS):
    torch.distributions.Normal.rsample, torch.distributions.Normal.sample = original
    counts = anndata.read_h5ad(HERE / "counts.h5ad")
    if not (HERE / name / "model.pt").exists():
      train(name, counts.copy())
    files = {"golden": counts}
    if name in ("totalvi_nb", "totalvi_one_batch", "totalvi_missing"):
      files["golden_missing"] = anndata.read_h5ad(HERE / "without.h5ad")
    for file, query in files.items():
      golden = make(HERE / name, query)
      make_golden.write_golden(golden, HERE / name / f"{file}.h5")
      print(f"{name}/{file}.h5: losses {golden['surgery_losses'][0]:.3f} .. "
            f"{golden['surgery_losses'][-1]:.3f}", flush=True)


if __name__ == "__main__":
  main()
