"""Writes the small h5ad files that the tests of core/io read. Needs anndata (made with 0.12).

Usage: make_h5ad_fixtures.py FOLDER

One matrix (12 cells x 9 genes, whole numbers) in three layouts and compressions, and one file
with every kind of obs column, layers and raw. The tests hold the expected values.
"""

import pathlib
import sys

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

CELLS, GENES = 12, 9


def counts():
    rows, columns = np.indices((CELLS, GENES))
    value = (7 * rows + 3 * columns) % 11
    return np.where(value > 5, value - 5, 0).astype(np.float32)


def annotated(matrix):
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(CELLS)])
    obs["batch"] = pd.Categorical(["a", "b", "c"] * 4)
    var = pd.DataFrame(index=[f"gene{i}" for i in range(GENES)])
    return anndata.AnnData(matrix, obs=obs, var=var)


def every_column():
    adata = annotated(np.log1p(counts()))
    obs = adata.obs
    first_missing = [None] + list(range(1, CELLS))
    obs["category"] = pd.Categorical([None, "β cell", "T"] * 4, categories=["T", "β cell"])
    obs["int_category"] = pd.Categorical([1, 2, 10] * 4)
    obs["text"] = [f"s{i}" for i in range(CELLS)]
    obs["int"] = np.arange(CELLS)
    obs["float"] = [np.nan, 1.0, 0.1, 1e-5, 1e16, -2.5] * 2
    obs["float32"] = np.array([0.1, 2.0, np.nan] * 4, dtype=np.float32)
    obs["bool"] = [True, False] * 6
    obs["nullable_int"] = pd.array(first_missing, dtype="Int64")
    obs["nullable_bool"] = pd.array([None, True, False] * 4, dtype="boolean")
    obs["nullable_text"] = pd.array([None, "x", "y"] * 4, dtype="string")
    adata.layers["counts"] = sparse.csr_matrix(counts().astype(np.int64))
    adata.obsm["X_pca"] = np.ones((CELLS, 2))
    adata.uns["note"] = "kept"
    wide = sparse.csr_matrix(np.hstack([counts(), np.ones((CELLS, 2), np.float32)]))
    raw_var = pd.DataFrame(index=[f"gene{i}" for i in range(GENES + 2)])
    adata.raw = anndata.AnnData(wide, obs=adata.obs, var=raw_var)
    return adata


def main(folder):
    anndata.settings.allow_write_nullable_strings = True
    folder.mkdir(parents=True, exist_ok=True)
    layouts = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}
    twins = [("csr", "gzip"), ("csr", "lzf"), ("csc", "gzip"), ("dense", "lzf"), ("dense", None)]
    for layout, compression in twins:
        name = f"{layout}_{compression or 'plain'}.h5ad"
        annotated(layouts[layout](counts())).write_h5ad(folder / name, compression=compression)
    every_column().write_h5ad(folder / "every_column.h5ad", compression="gzip")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
