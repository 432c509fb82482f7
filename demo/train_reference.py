#!/usr/bin/env python3
"""Trains the demo's reference with scvi-tools 1.4.2 and checks that surgery on it works.

The settings are those recommended for references that others will map onto: layer norm instead of
batch norm, and encoders that see the batch.

    train_reference.py [--data FOLDER] [--out FOLDER] [--threads N] [--epochs N] [--check-only]

Writes OUT/model.pt exactly as scvi-tools saves it, then maps the query by scvi-tools itself and
prints how many of its cells get their true label before and after surgery.
"""

import argparse
import pathlib
import warnings

import anndata
import numpy as np
import scvi
import torch

HERE = pathlib.Path(__file__).parent
SEED = 0


def train_reference(adata):
  scvi.model.SCVI.setup_anndata(adata, batch_key="batch", labels_key="cell_type")
  scvi_model = scvi.model.SCVI(
      adata, n_latent=15, n_hidden=64, n_layers=2, gene_likelihood="zinb",
      encode_covariates=True, use_layer_norm="both", use_batch_norm="none")
  scvi_model.train(max_epochs=200, accelerator="cpu", enable_progress_bar=False,
                   plan_kwargs={"n_epochs_kl_warmup": 100})
  model = scvi.model.SCANVI.from_scvi_model(scvi_model, unlabeled_category="Unknown")
  model.train(max_epochs=20, n_samples_per_label=100, accelerator="cpu",
              enable_progress_bar=False, plan_kwargs={"n_epochs_kl_warmup": 10})
  return model


def accuracy(model, truth):
  return float(np.mean(model.predict() == truth))


def map_query(query, folder, epochs):
  """Accuracy of the query's labels: after load_query_data alone, and after training."""
  query = query[:, ~query.var_names.duplicated()].copy()
  truth = query.obs["cell_type"].to_numpy().astype(str)
  query.obs["cell_type"] = "Unknown"
  scvi.model.SCANVI.prepare_query_anndata(query, str(folder))
  model = scvi.model.SCANVI.load_query_data(
      query, str(folder), freeze_dropout=True, accelerator="cpu")
  model.is_trained_ = True
  before = accuracy(model, truth)
  model.train(max_epochs=epochs, accelerator="cpu", enable_progress_bar=False,
              plan_kwargs={"weight_decay": 0.0})
  return before, accuracy(model, truth)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, default=HERE / "data")
  parser.add_argument("--out", type=pathlib.Path, default=HERE / "atlases" / "pbmc_demo")
  parser.add_argument("--threads", type=int, default=1)
  parser.add_argument("--epochs", type=int, default=100, help="surgery epochs of the check")
  parser.add_argument("--check-only", action="store_true", help="keep the model as it is")
  arguments = parser.parse_args()
  warnings.filterwarnings("ignore")
  torch.set_num_threads(arguments.threads)
  scvi.settings.seed = SEED

  if not arguments.check_only:
    reference = anndata.read_h5ad(arguments.data / "reference.h5ad")
    model = train_reference(reference)
    model.save(str(arguments.out), overwrite=True, save_anndata=False)
    labelled = (reference.obs["cell_type"] != "Unknown").to_numpy()
    right = model.predict()[labelled] == reference.obs["cell_type"].to_numpy()[labelled]
    print(f"reference: labels right {np.mean(right):.3f}")
  size = (arguments.out / "model.pt").stat().st_size
  print(f"{arguments.out / 'model.pt'}: {size / 1e6:.2f} MB")

  query = anndata.read_h5ad(arguments.data / "query.h5ad")
  before, after = map_query(query, arguments.out, arguments.epochs)
  print(f"query: labels right {before:.3f} before surgery, "
        f"{after:.3f} after {arguments.epochs} epochs")


if __name__ == "__main__":
  main()
