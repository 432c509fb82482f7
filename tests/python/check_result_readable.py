"""Checks that anndata and scanpy read a result file back, and that the query's content survived.

Usage: check_result_readable.py QUERY OUT
       check_result_readable.py OUT...

QUERY is the h5ad file that was mapped, OUT the result written from it; results of queries in other
formats, which are files of their own, stand alone. Needs anndata and scanpy; not part of the test
suite. Exits with 1 and says what differs.
"""

import sys
import tempfile
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import scanpy
from scipy import sparse


def same_array(a, b):
    if sparse.issparse(a) or sparse.issparse(b):
        return a.shape == b.shape and abs(a - b).nnz == 0
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
        return True
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f")


def check_frames(name, query, out):
    assert list(query.index) == list(out.index), f"{name}: the index differs"
    for column in query.columns:
        assert column in out.columns, f"{name}: {column} is missing"
        pd.testing.assert_series_equal(query[column], out[column])
    return [c for c in out.columns if c not in query.columns]


def check_mapping(name, query, out):
    for key in query:
        assert key in out, f"{name}: {key} is missing"
        assert same_array(query[key], out[key]), f"{name}: {key} differs"
    return [k for k in out if k not in query]


def check_encodings(path):
    with h5py.File(path) as f:
        assert f.attrs["encoding-type"] == "anndata"
        for part in ("obs", "var"):
            assert f[part].attrs["encoding-type"] == "dataframe"
            assert f[part].attrs["encoding-version"] == "0.2.0"
            assert "__categories" not in f[part]


def main(query_path, out_path):
    warnings.simplefilter("ignore")
    query = anndata.read_h5ad(query_path)
    out = anndata.read_h5ad(out_path)
    check_encodings(out_path)
    added = {
        "obs": check_frames("obs", query.obs, out.obs),
        "obsm": check_mapping("obsm", query.obsm, out.obsm),
        "uns": [k for k in out.uns if k not in query.uns],
    }
    assert check_frames("var", query.var, out.var) == []
    check_mapping("varm", query.varm, out.varm)
    check_mapping("obsp", query.obsp, out.obsp)
    with_counts = out.X is not None or query.X is None
    if with_counts and query.X is not None:
        assert same_array(query.X, out.X), "X differs"
        check_mapping("layers", query.layers, out.layers)
        if query.raw is not None:
            assert same_array(query.raw.X, out.raw.X), "raw/X differs"
            check_frames("raw/var", query.raw.var, out.raw.var)
    for key in added["obsm"]:
        assert out.obsm[key].dtype == np.float32, f"obsm: {key} is {out.obsm[key].dtype}"
        assert out.obsm[key].shape[0] == out.n_obs
    for key in added["obs"]:
        assert isinstance(out.obs[key].dtype, pd.CategoricalDtype), f"obs: {key}"
    assert scanpy.read_h5ad(out_path).shape == out.shape
    print(f"OK {out.shape}, X {'kept' if with_counts else 'left out'}, added {added}")
    for key in added["uns"]:
        print(f"  uns[{key!r}] = {out.uns[key]}")


def check_own_file(path):
    warnings.simplefilter("ignore")
    out = anndata.read_h5ad(path)
    check_encodings(path)
    assert out.n_obs > 0 and out.n_vars == 0 and out.X is None
    assert out.obs_names.is_unique
    for column in out.obs.columns:
        assert isinstance(out.obs[column].dtype, pd.CategoricalDtype), f"obs: {column}"
        assert not out.obs[column].isna().any(), f"obs: {column}"
    for key, values in out.obsm.items():
        assert values.dtype == np.float32 and values.shape[0] == out.n_obs, f"obsm: {key}"
        assert np.isfinite(values).all(), f"obsm: {key}"
    scanpy.pp.neighbors(out, use_rep="X_portolan", n_neighbors=5)
    # anndata writes back what it read.
    with tempfile.TemporaryDirectory() as folder:
        out.write_h5ad(f"{folder}/again.h5ad")
        again = anndata.read_h5ad(f"{folder}/again.h5ad")
    assert np.array_equal(again.obsm["X_portolan"], out.obsm["X_portolan"])
    print(f"OK {out.shape}, obs {list(out.obs.columns)}, obsm {list(out.obsm)}, uns {list(out.uns)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if len(sys.argv) == 3 and anndata.read_h5ad(sys.argv[2]).n_vars > 0:
        main(sys.argv[1], sys.argv[2])
    else:
        for path in sys.argv[1:]:
            check_own_file(path)
