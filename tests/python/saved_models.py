"""The models of the test data, the cells to try them on, and how scvi-tools opens them.

Used by make_latents.py and check_export.py. Needs scvi-tools; not part of the test suite.
"""

import dataclasses
import logging
import os
import pathlib
import pickle
import tempfile
import types
import warnings

import anndata
import numpy as np
import pandas as pd
import scvi
import torch
from scipy import sparse

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def data_folder():
    return pathlib.Path(os.environ.get("PORTOLAN_TEST_DATA", SOURCE / "../shared/data")).resolve()


@dataclasses.dataclass(frozen=True)
class Case:
    """A saved model, and cells of batches that it knows."""

    model: str
    cells: str  # below data_folder()
    batch_key: str = "batch"  # obs column of the cells
    batch: str = ""  # instead: all cells are of this batch
    layer: str = ""  # where the cells have their counts
    proteins: str = ""  # obsm
    query: str = ""  # cells of batches that it does not know; empty: nothing can be mapped
    query_layer: str = ""
    query_proteins: str = ""


KANG = "counts/split_kang_ref_4donors.h5ad"
KANG_QUERY = "counts/split_kang_query_4donors.h5ad"
SCGEN = "counts/kang_scgen_valid_counts_1975.h5ad"
SYNTHETIC = "models/scanvi_v103/adata.h5ad"
SYNTHETIC_CITE = "models/totalvi_v115/adata.h5ad"
PROTEINS = "protein_expression"

CASES = [
    Case("kang_scvi", KANG, query=KANG_QUERY),
    Case("kang_scanvi", KANG, query=KANG_QUERY),
    Case("kang_scgen_control_scvi", SCGEN, batch="control", query=SCGEN),
    Case("pancreas_scvi_3batch", SCGEN, batch="Pancreas inDrop", query=SCGEN),
    Case("pancreas_scanvi_3batch", SCGEN, batch="Pancreas inDrop", query=SCGEN),
    Case("heart_scvi_nocov", SCGEN, batch="any"),
    Case(
        "pbmc68k_scvi_v133",
        "counts/pbmc68k_scatlastb_700.h5ad",
        layer="counts",
        query="counts/pbmc68k_scatlastb_700.h5ad",
        query_layer="counts",
    ),
    Case("scanvi_v103", SYNTHETIC, batch="any"),
    Case("scvi_v0150", SYNTHETIC, query=SYNTHETIC),
    Case("scvi_v080_legacy", SYNTHETIC, query=SYNTHETIC),
    Case(
        "cite_totalvi",
        "counts/pbmc10k_cite_6855.h5ad",
        proteins=PROTEINS,
        query="counts/pbmc5k_rna_3994.h5ad",
    ),
    Case(
        "totalvi_v132",
        SYNTHETIC_CITE,
        proteins=PROTEINS,
        query=SYNTHETIC_CITE,
        query_proteins=PROTEINS,
    ),
    Case(
        "totalvi_v115",
        SYNTHETIC_CITE,
        proteins=PROTEINS,
        query=SYNTHETIC_CITE,
        query_proteins=PROTEINS,
    ),
    Case(
        "totalvi_v080_legacy",
        SYNTHETIC,
        proteins=PROTEINS,
        query=SYNTHETIC,
        query_proteins=PROTEINS,
    ),
]


def case_of(model):
    return next(case for case in CASES if case.model == model)


class _StandIn:
    def __new__(cls, *arguments, **named):
        return object.__new__(cls)

    def __setstate__(self, state):
        pass


class _LenientUnpickler(pickle.Unpickler):
    """Puts an empty object in place of pandas' own, which only the training history holds."""

    def find_class(self, module, name):
        return _StandIn if module.startswith("pandas.") else super().find_class(module, name)


def read_model_file(path):
    """The content of a model.pt, without what the installed pandas no longer has."""
    lenient = types.ModuleType("pickle")
    lenient.Unpickler = _LenientUnpickler
    lenient.load = lambda file, **options: _LenientUnpickler(file, **options).load()
    return torch.load(path, map_location="cpu", pickle_module=lenient, weights_only=False)


def opens_as_it_is(name):
    """Whether the installed packages read the file (not whether the tensors fit the module)."""
    path = data_folder() / "models" / name / "model.pt"
    try:
        torch.load(path, map_location="cpu", weights_only=False)
        return True
    except Exception:
        return False


def converted(name):
    """A directory that holds the model as a model.pt of today, made by scvi-tools' own converter or
    by leaving out the training history, whose pandas classes are gone."""
    source = data_folder() / "models" / name
    target = pathlib.Path(tempfile.mkdtemp(prefix="portolan_models_"))
    if not (source / "model.pt").exists():
        kind = scvi.model.TOTALVI if "totalvi" in name else scvi.model.SCVI
        kind.convert_legacy_save(str(source), str(target), overwrite=True)
        return target
    content = read_model_file(source / "model.pt")
    content["attr_dict"].pop("history_", None)
    torch.save(content, target / "model.pt")
    return target


def model_class(content):
    return getattr(scvi.model, content["attr_dict"]["registry_"]["model_name"])


def read_cells(path, layer="", rows=None, batch_key="batch", batch=""):
    """An AnnData with raw counts in X as float32, obs `batch_key` as text, and obsm kept."""
    cells = anndata.read_h5ad(data_folder() / path)
    if rows is not None:
        cells = cells[rows].copy()
    counts = cells.layers[layer] if layer else cells.X
    dense = counts.toarray() if sparse.issparse(counts) else np.asarray(counts)
    out = anndata.AnnData(dense.astype(np.float32))
    out.obs_names = cells.obs_names
    out.var_names = cells.var_names
    out.obs["batch"] = batch if batch else cells.obs[batch_key].astype(str).to_numpy()
    for key in cells.obsm:
        out.obsm[key] = cells.obsm[key]
    out.uns["protein_names"] = cells.uns.get("protein_names")
    return out


def set_up(cells, content, proteins=""):
    """The cells as the model's setup wants them: its genes in its order, missing ones zero, the
    columns, layers and proteins under the names that it registered."""
    registry = content["attr_dict"]["registry_"]
    setup, fields = registry["setup_args"], registry["field_registries"]
    genes = np.asarray(content["var_names"]).astype(str)
    have = {}
    for i, gene in enumerate(cells.var_names):
        have.setdefault(gene, []).append(i)
    x = np.zeros((cells.n_obs, len(genes)), np.float32)
    for j, gene in enumerate(genes):
        for i in have.get(gene, []):
            x[:, j] += cells.X[:, i]
    out = anndata.AnnData(x)
    out.obs_names, out.var_names = cells.obs_names, genes
    if setup.get("layer"):
        out.layers[setup["layer"]] = x.copy()
    if setup.get("batch_key"):
        known = np.asarray(fields["batch"]["state_registry"]["categorical_mapping"])
        spelled = {str(value): value for value in known}
        values = [spelled.get(value, value) for value in cells.obs["batch"]]
        out.obs[setup["batch_key"]] = pd.Series(values, index=out.obs_names).astype("category")
    if setup.get("labels_key"):
        state = fields["labels"]["state_registry"]
        label = state.get("unlabeled_category", state["categorical_mapping"][0])
        out.obs[setup["labels_key"]] = pd.Categorical([label] * cells.n_obs)
    if "proteins" in fields and setup.get("protein_expression_obsm_key"):
        names = fields["proteins"]["state_registry"]["column_names"]
        values = np.zeros((cells.n_obs, len(names)), np.float32)
        if proteins:
            measured = cells.obsm[proteins]
            if isinstance(measured, pd.DataFrame):
                for j, protein in enumerate(names):
                    if protein in measured:
                        values[:, j] = measured[protein]
            else:
                values[:] = np.asarray(measured)
        frame = isinstance(names, list)
        out.obsm[setup["protein_expression_obsm_key"]] = (
            pd.DataFrame(values, index=out.obs_names, columns=names) if frame else values
        )
        if setup.get("protein_names_uns_key"):
            out.uns[setup["protein_names_uns_key"]] = np.asarray(names)
    return out


def latents(directory, cells, proteins=""):
    """get_latent_representation() of the model in `directory`, and the model."""
    path = pathlib.Path(directory) / "model.pt"
    content = torch.load(path, map_location="cpu", weights_only=False)
    data = set_up(cells, content, proteins)
    model = model_class(content).load(str(directory), data, accelerator="cpu")
    return model.get_latent_representation(), model
