"""The latents that scvi-tools gives for a few cells under every saved model of the test data.

Usage: make_latents.py [MODEL ...]

Writes tests/data/latents/MODEL.json, which a test compares with Portolan's latents:
  model, cells  below the data folder; layer and proteins as Portolan is to read them
  rows          of the cells' file, spread over it
  batch         the batch of every cell
  latent        get_latent_representation() of scvi-tools, which stands under "scvi_tools"
  how           how the model was opened

scvi-tools 1.4.2 opens most of the models by itself. Those saved by 0.16 hold pandas classes that no
longer exist: their training history is left out first. Those in three files go through its own
converter. TOTALVI before 1.3.1 has another forward pass, which it no longer computes: its encoder is
given what the older pass gave it, counts without the division by their mean.

The data folder is PORTOLAN_TEST_DATA, or ../shared/data beside the source folder. Needs
scvi-tools; not part of the test suite.
"""

import json
import sys

import numpy as np
import scvi
import torch

import saved_models as models

CELLS = 24


def older_totalvi(directory, cells, proteins):
    """Latents of a TOTALVI model from before 1.3.1."""
    content = models.read_model_file(directory / "model.pt")
    state = dict(content["model_state_dict"])
    data = models.set_up(cells, content, proteins)
    setup = content["attr_dict"]["registry_"]["setup_args"]
    scvi.model.TOTALVI.setup_anndata(
        data,
        protein_expression_obsm_key=setup["protein_expression_obsm_key"],
        protein_names_uns_key=setup.get("protein_names_uns_key"),
        batch_key=setup["batch_key"],
    )
    mapping = content["attr_dict"]["registry_"]["field_registries"]["batch"]["state_registry"]
    batches = list(mapping["categorical_mapping"])
    width = state["encoder.z_mean_encoder.bias"].shape[0]
    model = scvi.model.TOTALVI(data, n_latent=width, empirical_protein_background_prior=False)
    state.pop("log_per_batch_efficiency", None)
    state.pop("pyro_param_store", None)
    own = {key: value for key, value in state.items() if key.startswith("encoder.")}
    missing = model.module.load_state_dict(own, strict=False)
    assert not missing.unexpected_keys
    assert not [key for key in missing.missing_keys if key.startswith("encoder.")]
    model.module.eval()
    x = torch.log(1 + torch.from_numpy(np.asarray(data.X)))
    y = data.obsm[setup["protein_expression_obsm_key"]]
    y = torch.log(1 + torch.from_numpy(np.asarray(y, np.float32)))
    codes = torch.tensor([[batches.index(b)] for b in data.obs[setup["batch_key"]]])
    with torch.no_grad():
        qz = model.module.encoder(torch.cat((x, y), dim=-1), codes)[0]
    return qz.loc.numpy()


def make(case):
    total = models.anndata.read_h5ad(models.data_folder() / case.cells, backed="r").n_obs
    rows = np.linspace(0, total - 1, CELLS).astype(int)
    cells = models.read_cells(case.cells, case.layer, rows, case.batch_key, case.batch)
    source = models.data_folder() / "models" / case.model
    how = f"scvi-tools {scvi.__version__}"
    directory = source
    if not (source / "model.pt").exists():
        directory = models.converted(case.model)
        how += " after its convert_legacy_save"
    elif not models.opens_as_it_is(case.model):
        directory = models.converted(case.model)
        how += " without the training history, whose pandas classes are gone"
    version = models.read_model_file(directory / "model.pt")["attr_dict"]["registry_"]
    older = tuple(int(part) for part in version["scvi_version"].split(".")[:3]) < (1, 3, 1)
    if "totalvi" in case.model and older:
        latent = older_totalvi(directory, cells, case.proteins)
        how += ", its encoder given the older pass's input"
    else:
        latent, _ = models.latents(directory, cells, case.proteins)
    fixture = {
        "model": case.model,
        "cells": case.cells,
        "layer": case.layer,
        "proteins": case.proteins,
        "how": how,
        "scvi_tools": scvi.__version__,
        "rows": rows.tolist(),
        "batch": cells.obs["batch"].tolist(),
        "latent": [[float(f"{value:.8g}") for value in row] for row in latent],
    }
    path = models.SOURCE / "tests" / "data" / "latents" / f"{case.model}.json"
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    print(f"{case.model}: {how}; first latent {latent[0, 0]:.6f}")


if __name__ == "__main__":
    for case in models.CASES:
        if len(sys.argv) < 2 or case.model in sys.argv[1:]:
            make(case)
