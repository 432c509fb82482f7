#!/usr/bin/env python3
"""Trains the demo's CITE-seq reference with scvi-tools 1.4.2.

    train_totalvi.py [--data FOLDER] [--out FOLDER] [--threads N] [--epochs N]

Writes OUT/model.pt exactly as scvi-tools saves it: TOTALVI on the counts and the 20 surface proteins
of data/reference.h5ad, of which one batch measured only twelve, so that missing proteins are part of
what the demo shows.
"""

import argparse
import pathlib
import warnings

import anndata
import scvi
import torch

HERE = pathlib.Path(__file__).parent
SEED = 0
FEWER = ("batch", 8)  # the last batch lacks the last eight proteins


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, default=HERE / "data")
  parser.add_argument("--out", type=pathlib.Path, default=HERE / "atlases" / "cite_demo")
  parser.add_argument("--threads", type=int, default=1)
  parser.add_argument("--epochs", type=int, default=150)
  arguments = parser.parse_args()
  warnings.filterwarnings("ignore")
  torch.set_num_threads(arguments.threads)
  scvi.settings.seed = SEED

  reference = anndata.read_h5ad(arguments.data / "reference.h5ad")
  key, lacking = FEWER
  last = sorted(reference.obs[key].unique())[-1]
  proteins = reference.obsm["protein_expression"]
  proteins.loc[(reference.obs[key] == last).to_numpy(), proteins.columns[-lacking:]] = 0
  scvi.model.TOTALVI.setup_anndata(
      reference, batch_key=key, protein_expression_obsm_key="protein_expression")
  model = scvi.model.TOTALVI(
      reference, n_latent=10, n_hidden=48, n_layers_encoder=1, n_layers_decoder=1,
      use_layer_norm="both", use_batch_norm="none")
  model.train(max_epochs=arguments.epochs, accelerator="cpu", enable_progress_bar=False)
  model.save(str(arguments.out), overwrite=True, save_anndata=False)
  size = (arguments.out / "model.pt").stat().st_size
  print(f"{arguments.out / 'model.pt'}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
  main()
