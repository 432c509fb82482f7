#!/usr/bin/env python3
"""Writes the numbers that scvi-tools gets for a surgery run without randomness: a golden file.

    make_golden.py MODEL_DIR COUNTS.h5ad OUT.h5 [--batch-name NAME] [--cells N]
                   [--surgery-cells N] [--weight-decay W] [--flags FLAG=BOOL ...]
                   [--labelled] [--compat]

Recipe. The model is extended by load_query_data with one new batch that holds all cells,
unlabelled. Query genes are matched by name; missing ones are zero, columns of the same name summed.
Every new column of every grown tensor is set to 0.01*((row mod 7)-3), both columns where a
reference of one batch becomes two, the new row of an embedding to the same of its columns;
library_log_means and library_log_vars keep what scvi-tools computes from the query. The counts'
file also gives what the model was set up with: covariates, size factors, labels of a dispersion.
Extra categorical covariates: the new batch's column stands where the batches' columns end and the
covariates' columns are frozen; with --compat it stands where load_query_data leaves it, at the far
right, which shifts the meaning of all covariate columns, and these are trained. An embedding's rows
are trained, as since 1.5.0. --labelled: SCANVI's labels are the counts' own, and every step adds 50
times the classification loss of the minibatch of labelled cells l:l+128 of the labelled ones,
l = (128*s) mod their number. Freeze flags are the defaults with freeze_dropout=True, others
by --flags. Train mode; every normal sample uses eps = 0.37. 20 steps; the minibatch of step s is rows i:i+128 of the first
surgery_cells cells, i = (128*s) mod surgery_cells, shorter at the end. Adam over everything
trainable, lr 1e-3, eps 0.01, weight decay 0, KL weight 0.3.

Contents of OUT.h5 (larger arrays gzip):
  genes, obs_names                      fixed-length bytes
  latent_mean, latent_var               (cells, latent) of all cells, eval mode, before training
  probs                                 (cells, labels), scANVI: softmax of the mean's logits
  latent_representation                 (cells, latent), logistic-normal latents: 200000 draws
  categorical, continuous, size_factor, labels
                                        what the model reads of the cells, as registry codes
  flag_NAME, surgery_compat, surgery_labelled
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
CLASSIFICATION_RATIO = 50
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

  def __init__(self, folder, query, batch_name, flags, labelled=False, compat=False):
    model_class, setup, saved = read_saved(folder)
    self.genes = [str(name) for name in saved["var_names"]]
    self.compat = compat
    adata = align(query, self.genes)
    for key in [*(setup.get("categorical_covariate_keys") or []),
                *(setup.get("continuous_covariate_keys") or []),
                *([setup["size_factor_key"]] if setup.get("size_factor_key") else [])]:
      adata.obs[key] = query.obs[key]
    adata.obs[setup["batch_key"]] = batch_name
    self.is_scanvi = model_class is scvi.model.SCANVI
    if labelled or setup.get("labels_key") in query.obs and not self.is_scanvi:
      adata.obs[setup["labels_key"]] = query.obs[setup["labels_key"]]
    elif self.is_scanvi:
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
    # What only some models are set up with, by the names of the tensors.
    self.extras = {}
    for field in ("extra_categorical_covs", "extra_continuous_covs", "size_factor"):
      if field in manager.data_registry:
        dtype = torch.long if field == "extra_categorical_covs" else torch.float32
        values = torch.as_tensor(np.asarray(manager.get_from_registry(field)))
        self.extras[field] = values.reshape(len(values), -1).to(dtype)
    self.covariate_columns = sum(
        n for n in manager.get_state_registry("extra_categorical_covs").get("n_cats_per_key", [])
        if n > 1)
    known = self.model.module.n_labels if labelled else 0
    self.labelled_rows = np.flatnonzero(self.labels.numpy()[:, 0] < known)
    self.names = list(adata.obs_names)
    self.grown = self._fill_new_columns(saved["model_state_dict"])
    if self.covariate_columns and not compat and not flags.get("unfrozen"):
      self._freeze_covariates(flags)
    self._refuse_dropout()

  @torch.no_grad()
  def _fill_new_columns(self, reference):
    """Number of new columns of every grown tensor."""
    grown = {}
    parameters = dict(self.module.named_parameters())
    for key, tensor in self.module.state_dict().items():
      if tensor.shape == reference[key].shape:
        continue
      new, known = tensor.shape[-1], reference[key].shape[-1]
      if key.startswith("_embeddings_dict"):
        rows = torch.arange(new)
        tensor[-1] = 0.01 * ((rows % 7) - 3).to(torch.float32)
        parameters[key].requires_grad = True
        continue
      if tensor.dim() != 2 or tensor.shape[0] != reference[key].shape[0]:
        raise ValueError(f"{key} grew from {reference[key].shape} to {tensor.shape}")
      grown[key] = new - known
      if key in NEW_COLUMN_EXCEPTIONS:
        continue
      rows = torch.arange(tensor.shape[0])
      fill = (0.01 * ((rows % 7) - 3).to(torch.float32))[:, None]
      kept = self.covariate_columns if "fc_layers" in key and not self.compat else 0
      if kept:  # the covariates' columns stay at the far right
        tensor[:, -kept:] = reference[key][:, -kept:]
        tensor[:, :known - kept] = reference[key][:, :-kept]
      tensor[:, known - kept:new - kept] = fill
    return grown

  def _freeze_covariates(self, flags):
    """The covariates' columns get no gradient, unless all of their weight does."""
    n = self.covariate_columns
    unmasked = []
    if not flags.get("freeze_expression", True):
      unmasked.append("z_encoder.encoder.fc_layers.Layer 0.")
    if not flags.get("freeze_decoder_first_layer", True):
      unmasked.append("px_decoder.fc_layers.Layer 0.")
    for key, parameter in self.module.named_parameters():
      if ("fc_layers" not in key or not key.endswith(".0.weight")
          or not key.startswith(("z_encoder", "decoder.px_decoder"))
          or any(name in key for name in unmasked)):
        continue
      parameter.register_hook(lambda grad: torch.cat(
          [grad[:, :-n], torch.zeros_like(grad[:, -n:])], dim=1))

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
        **{key: values[rows] for key, values in self.extras.items()},
    }

  def loss_arguments(self, step):
    if not len(self.labelled_rows):
      return {"kl_weight": KL_WEIGHT}
    start = MINIBATCH * step % len(self.labelled_rows)
    rows = self.labelled_rows[start:start + MINIBATCH]
    return {"kl_weight": KL_WEIGHT, "labelled_tensors": self.tensors(rows),
            "classification_ratio": CLASSIFICATION_RATIO}

  def latent_representation(self):
    """What get_latent_representation() would give with very many draws."""
    self.model.is_trained_ = True
    return self.model.get_latent_representation(mc_samples=200000)

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
      _, _, output = self.module(tensors, loss_kwargs=self.loss_arguments(step))
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
    end = tensor.shape[-1]
    if columns and "fc_layers" in key:
      end -= surgery.covariate_columns if not surgery.compat else 0
    misplaced = surgery.compat and columns and "fc_layers" in key
    if columns and not misplaced:
      changed[f"col:{key}"] = tensor[:, end - columns:end]
    if key.startswith("_embeddings_dict"):
      changed[f"col:{key}"] = tensor[-1:]
      continue
    kept = (slice(None), slice(0, end - columns)) if columns else ...
    if misplaced or not torch.equal(tensor[kept], before[key][kept]):
      changed[f"{'param' if key in parameters else 'buffer'}:{key}"] = tensor
  return {key: tensor.detach().numpy() for key, tensor in changed.items()}


def make_golden(folder, query, batch_name="query", surgery_cells=None, weight_decay=0.0,
                flags=None, labelled=False, compat=False):
  """The file's contents by name. `query`: an AnnData with counts in X."""
  surgery = Surgery(str(folder), query, batch_name, flags or {}, labelled, compat)
  scvi.settings.seed = 0
  representation = (surgery.latent_representation()
                    if surgery.module.latent_distribution == "ln" else None)
  fix_noise()
  cells = min(surgery_cells or query.n_obs, query.n_obs)
  golden = {
      "genes": np.array(surgery.genes, dtype="S"),
      "obs_names": np.array(surgery.names, dtype="S"),
      "surgery_cells": cells,
      "surgery_lr": LEARNING_RATE,
      "surgery_kl_weight": KL_WEIGHT,
      "surgery_minibatch": MINIBATCH,
      "surgery_weight_decay": weight_decay,
      "surgery_labelled": int(labelled),
      "surgery_compat": int(compat),
      **{f"flag_{name}": int(value) for name, value in (flags or {}).items()},
  }
  names = {"extra_categorical_covs": "categorical", "extra_continuous_covs": "continuous",
           "size_factor": "size_factor"}
  golden.update({names[key]: values.numpy() for key, values in surgery.extras.items()})
  if labelled or surgery.module.dispersion == "gene-label":
    golden["labels"] = surgery.labels[:, 0].numpy()
  if representation is not None:
    golden["latent_representation"] = representation
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
  parser.add_argument("--labelled", action="store_true")
  parser.add_argument("--compat", action="store_true")
  arguments = parser.parse_args()
  quiet()
  torch.set_num_threads(1)
  query = anndata.read_h5ad(arguments.counts)
  if arguments.cells:
    query = query[:arguments.cells].copy()
  write_golden(
      make_golden(arguments.model, query, arguments.batch_name, arguments.surgery_cells,
                  arguments.weight_decay, dict(arguments.flags), arguments.labelled,
                  arguments.compat), arguments.out)


if __name__ == "__main__":
  main()
