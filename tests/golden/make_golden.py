#!/usr/bin/env python3
"""Writes the numbers that scvi-tools gets for a surgery run without randomness: a golden file.

    make_golden.py MODEL_DIR COUNTS.h5ad OUT.h5 [--batch-name NAME] [--cells N]
                   [--surgery-cells N] [--weight-decay W] [--flags FLAG=BOOL ...]

Recipe. The model is extended by load_query_data with one new batch that holds all cells,
unlabelled. Query genes are matched by name; missing ones are zero, columns of the same name summed.
Every new column of every grown tensor is set to 0.01*((row mod 7)-3), both columns where a
reference of one batch becomes two; library_log_means and library_log_vars keep what
scvi-tools computes from the query. Freeze flags are the defaults with freeze_dropout=True, others
by --flags. Train mode; every normal sample uses eps = 0.37. 20 steps; the minibatch of step s is rows i:i+128 of the first
surgery_cells cells, i = (128*s) mod surgery_cells, shorter at the end. Adam over everything
trainable, lr 1e-3, eps 0.01, weight decay 0, KL weight 0.3.

Contents of OUT.h5 (larger arrays gzip):
  genes, obs_names                      fixed-length bytes
  latent_mean, latent_var               (cells, latent) of all cells, eval mode, before training
  probs                                 (cells, labels), scANVI: softmax of the mean's logits
  surgery_{cells,lr,kl_weight,minibatch,weight_decay}
  surgery_losses                        (20)
  surgery_latent_before/after           eval mode, the surgery cells
  step0_*                               per-cell terms of the first step
  col:KEY                               the new columns of tensor KEY after training
  param:KEY                             a parameter that changed outside its new columns, whole
  buffer:KEY                            a buffer that changed (batch norm statistics)
num_batches_tracked is left out: with a fixed momentum it enters no number.
"""

import argparse
import logging
import warnings

import anndata
import h5py
import numpy as np
import scipy.sparse
import scvi
import torch

EPSILON = 0.37
STEPS = 20
MINIBATCH = 128
LEARNING_RATE = 1e-3
KL_WEIGHT = 0.3
NEW_COLUMN_EXCEPTIONS = ("library_log_means", "library_log_vars")


def fix_noise():
  """Every normal sample becomes loc + 0.37 * scale, for the rest of the process."""

  def rsample(self, sample_shape=torch.Size()):
    shape = self._extended_shape(sample_shape)
    return self.loc.expand(shape) + EPSILON * self.scale.expand(shape)

  def sample(self, sample_shape=torch.Size()):
    with torch.no_grad():
      return rsample(self, sample_shape)

  torch.distributions.Normal.rsample = rsample
  torch.distributions.Normal.sample = sample


def align(query, genes):
  """The query's counts in the order of `genes`, as a new AnnData with the query's cells."""
  position = {name: i for i, name in enumerate(genes)}
  pairs = [(i, position[name]) for i, name in enumerate(query.var_names) if name in position]
  if not pairs:
    raise ValueError("the query has none of the model's genes")
  rows, columns = zip(*pairs)
  select = scipy.sparse.csr_matrix(
      (np.ones(len(pairs), np.float32), (rows, columns)), shape=(query.n_vars, len(genes)))
  counts = scipy.sparse.csr_matrix(query.X).astype(np.float32) @ select
  aligned = anndata.AnnData(scipy.sparse.csr_matrix(counts))
  aligned.obs_names, aligned.var_names = query.obs_names, genes
  return aligned


def read_saved(folder):
  saved = torch.load(f"{folder}/model.pt", map_location="cpu", weights_only=False)
  registry = saved["attr_dict"]["registry_"]
  model_class = {"SCVI": scvi.model.SCVI, "SCANVI": scvi.model.SCANVI}[registry["model_name"]]
  return model_class, registry["setup_args"], saved


class Surgery:
  """A reference extended by one new batch, with its query as tensors."""

  def __init__(self, folder, query, batch_name, flags):
    model_class, setup, saved = read_saved(folder)
    self.genes = [str(name) for name in saved["var_names"]]
    adata = align(query, self.genes)
    adata.obs[setup["batch_key"]] = batch_name
    self.is_scanvi = model_class is scvi.model.SCANVI
    if self.is_scanvi:
      adata.obs[setup["labels_key"]] = setup["unlabeled_category"]
    elif setup.get("labels_key"):
      mapping = saved["attr_dict"]["registry_"]["field_registries"]["labels"]["state_registry"]
      adata.obs[setup["labels_key"]] = mapping["categorical_mapping"][0]
    self.model = model_class.load_query_data(
        adata, folder, accelerator="cpu", **{"freeze_dropout": True, **flags})
    self.module = self.model.module
    manager = self.model.adata_manager
    self.counts = adata.X
    self.batch = torch.as_tensor(np.asarray(manager.get_from_registry("batch"))).long()
    self.labels = torch.as_tensor(np.asarray(manager.get_from_registry("labels"))).long()
    self.names = list(adata.obs_names)
    self.grown = self._fill_new_columns(saved["model_state_dict"])
    self._refuse_dropout()

  def _fill_new_columns(self, reference):
    """Number of new columns of every grown tensor."""
    grown = {}
    for key, tensor in self.module.state_dict().items():
      if tensor.shape == reference[key].shape:
        continue
      if tensor.dim() != 2 or tensor.shape[0] != reference[key].shape[0]:
        raise ValueError(f"{key} grew from {reference[key].shape} to {tensor.shape}")
      grown[key] = tensor.shape[1] - reference[key].shape[1]
      if key not in NEW_COLUMN_EXCEPTIONS:
        rows = torch.arange(tensor.shape[0])
        tensor[:, -grown[key]:] = (0.01 * ((rows % 7) - 3).to(torch.float32))[:, None]
    return grown

  def _refuse_dropout(self):
    for name, module in self.module.named_modules():
      used = not name.startswith("l_encoder") or not self.module.use_observed_lib_size
      if isinstance(module, torch.nn.Dropout) and module.p > 0 and used:
        raise ValueError(f"{name} drops out at random (p={module.p}); train with dropout_rate=0")

  def tensors(self, rows):
    return {
        "X": torch.from_numpy(self.counts[rows].toarray()),
        "batch": self.batch[rows],
        "labels": self.labels[rows],
    }

  @torch.no_grad()
  def encode(self, cells):
    """Mean, variance and, for scANVI, label probabilities of the first `cells` cells."""
    self.module.eval()
    parts = []
    for start in range(0, cells, MINIBATCH):
      tensors = self.tensors(slice(start, min(start + MINIBATCH, cells)))
      posterior = self.module.inference(**self.module._get_inference_input(tensors))["qz"]
      part = [posterior.loc, posterior.scale**2]
      if self.is_scanvi:
        part.append(torch.softmax(self.module.classifier(posterior.loc), dim=-1))
      parts.append(part)
    return [torch.cat(p).numpy() for p in zip(*parts)]

  def train(self, cells, weight_decay):
    """Losses of the steps, and the per-cell terms of the first."""
    trainable = [p for p in self.module.parameters() if p.requires_grad]
    adam = torch.optim.Adam(trainable, lr=LEARNING_RATE, eps=0.01, weight_decay=weight_decay)
    losses, terms = [], {}
    self.module.train()
    for step in range(STEPS):
      start = MINIBATCH * step % cells
      tensors = self.tensors(slice(start, min(start + MINIBATCH, cells)))
      _, _, output = self.module(tensors, loss_kwargs={"kl_weight": KL_WEIGHT})
      if step == 0:
        terms = step_terms(output)
      losses.append(float(output.loss.detach()))
      adam.zero_grad()
      output.loss.backward()
      adam.step()
    return losses, terms


def step_terms(output):
  terms = {"reconstruction": sum(output.reconstruction_loss.values())}
  terms.update(output.reconstruction_loss)
  terms.update(output.kl_local)
  return {key: value.detach().numpy() for key, value in terms.items()}


def changed_tensors(surgery, before):
  """What the file says about tensors after training, by name."""
  parameters = dict(surgery.module.named_parameters())
  changed = {}
  for key, tensor in surgery.module.state_dict().items():
    if key.endswith("num_batches_tracked"):
      continue
    columns = surgery.grown.get(key, 0)
    if columns:
      changed[f"col:{key}"] = tensor[:, -columns:]
    kept = (slice(None), slice(0, tensor.shape[1] - columns)) if columns else ...
    if not torch.equal(tensor[kept], before[key][kept]):
      changed[f"{'param' if key in parameters else 'buffer'}:{key}"] = tensor
  return {key: tensor.detach().numpy() for key, tensor in changed.items()}


def make_golden(folder, query, batch_name="query", surgery_cells=None, weight_decay=0.0,
                flags=None):
  """The file's contents by name. `query`: an AnnData with counts in X."""
  fix_noise()
  surgery = Surgery(str(folder), query, batch_name, flags or {})
  cells = min(surgery_cells or query.n_obs, query.n_obs)
  golden = {
      "genes": np.array(surgery.genes, dtype="S"),
      "obs_names": np.array(surgery.names, dtype="S"),
      "surgery_cells": cells,
      "surgery_lr": LEARNING_RATE,
      "surgery_kl_weight": KL_WEIGHT,
      "surgery_minibatch": MINIBATCH,
      "surgery_weight_decay": weight_decay,
  }
  golden.update(zip(("latent_mean", "latent_var", "probs"), surgery.encode(query.n_obs)))
  golden["surgery_latent_before"] = surgery.encode(cells)[0]
  before = {key: value.clone() for key, value in surgery.module.state_dict().items()}
  losses, terms = surgery.train(cells, weight_decay)
  golden["surgery_losses"] = np.array(losses)
  golden.update({f"step0_{key}": value for key, value in terms.items()})
  golden["surgery_latent_after"] = surgery.encode(cells)[0]
  golden.update(changed_tensors(surgery, before))
  return golden


def write_golden(golden, path):
  with h5py.File(path, "w") as file:
    for key, value in golden.items():
      if np.asarray(value).nbytes < 2048:  # a chunk's own bookkeeping would outweigh it
        file.create_dataset(key, data=value)
      else:
        file.create_dataset(key, data=value, compression="gzip", compression_opts=9, shuffle=True)


def quiet():
  warnings.filterwarnings("ignore")
  logging.getLogger("scvi").setLevel(logging.ERROR)


def parse_flag(text):
  name, _, value = text.partition("=")
  if value.lower() not in ("true", "false"):
    raise argparse.ArgumentTypeError(f"{text!r}: give FLAG=true or FLAG=false")
  return name, value.lower() == "true"


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("model", help="folder of model.pt")
  parser.add_argument("counts", help="h5ad with counts in X")
  parser.add_argument("out")
  parser.add_argument("--batch-name", default="query")
  parser.add_argument("--cells", type=int, help="only the first cells of the file")
  parser.add_argument("--surgery-cells", type=int, help="train on the first of these (all)")
  parser.add_argument("--weight-decay", type=float, default=0.0)
  parser.add_argument("--flags", nargs="*", type=parse_flag, default=[])
  arguments = parser.parse_args()
  quiet()
  torch.set_num_threads(1)
  query = anndata.read_h5ad(arguments.counts)
  if arguments.cells:
    query = query[:arguments.cells].copy()
  write_golden(
      make_golden(arguments.model, query, arguments.batch_name, arguments.surgery_cells,
                  arguments.weight_decay, dict(arguments.flags)), arguments.out)


if __name__ == "__main__":
  main()
