"""Speed of scvi-tools itself on the shapes of portolan-speed, as JSON: {name: rate}.

    python peer.py OUT.json [--cells 4000] [--density 0.1] [--query FILE.h5ad]

Its own train() and get_latent_representation(), the better of 1 and 2 threads; and how fast h5py
and scipy read FILE, the one that portolan-stages reads. Needs scvi-tools 1.4.2; nothing else in the
repository does.
"""

import argparse
import json
import logging
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import anndata  # noqa: E402
import h5py  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402
import scvi  # noqa: E402
import torch  # noqa: E402

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
EPOCHS = 4


def cells(n, genes, density, batches, labels, seed):
    rng = np.random.default_rng(seed)
    x = sp.random(n, genes, density=density, random_state=rng, format="csr", dtype=np.float32)
    x.data = np.floor(1 - 3 * np.log(1 - rng.random(x.nnz))).astype(np.float32)
    return anndata.AnnData(x, obs={
        "batch": [f"{batches}{i % (14 if batches == 'r' else 1)}" for i in range(n)],
        "label": [f"l{i % labels}" for i in range(n)],
    })


def train_rate(model, cls, query, labelled):
    if labelled:
        query.obs["label"] = "Unknown"
    extended = cls.load_query_data(query, model, freeze_dropout=True)
    extended.train(max_epochs=1, plan_kwargs={"weight_decay": 0.0}, accelerator="cpu")
    start = time.perf_counter()
    extended.train(max_epochs=EPOCHS, plan_kwargs={"weight_decay": 0.0}, accelerator="cpu",
                   enable_progress_bar=False)
    rate = query.n_obs * EPOCHS / (time.perf_counter() - start)
    start = time.perf_counter()
    extended.get_latent_representation(query)
    return rate, query.n_obs / (time.perf_counter() - start)


def build(likelihood, labelled, args):
    ref = cells(600, args.genes, args.density, "r", 29, 0)
    query = cells(args.cells, args.genes, args.density, "q", 29, 1)
    kwargs = dict(n_hidden=128, n_latent=30, n_layers=2, gene_likelihood=likelihood,
                  use_layer_norm="both", use_batch_norm="none", encode_covariates=True,
                  deeply_inject_covariates=not labelled)
    if labelled:
        scvi.model.SCANVI.setup_anndata(ref, batch_key="batch", labels_key="label",
                                        unlabeled_category="Unknown")
        model = scvi.model.SCANVI(ref, **kwargs)
    else:
        scvi.model.SCVI.setup_anndata(ref, batch_key="batch")
        model = scvi.model.SCVI(ref, **kwargs)
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    return model, query


def totalvi_rate(args):
    """4,000 genes and 100 proteins, as SyntheticTotalvi."""
    def with_proteins(n, batches, seed):
        adata = cells(n, 4000, args.density, batches, 1, seed)
        rng = np.random.default_rng(seed)
        foreground = rng.random((n, 100)) < 0.2
        adata.obsm["protein"] = rng.exponential(np.where(foreground, 200, 10)).astype(np.float32) // 1
        return adata

    ref, query = with_proteins(600, "r", 0), with_proteins(args.cells, "q", 1)
    scvi.model.TOTALVI.setup_anndata(ref, protein_expression_obsm_key="protein", batch_key="batch")
    model = scvi.model.TOTALVI(ref, n_hidden=256, n_latent=20, n_layers_encoder=1,
                               n_layers_decoder=1, use_layer_norm="both", use_batch_norm="none")
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    rates = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rates.append(train_rate(model, scvi.model.TOTALVI, query.copy(), False)[0])
    return max(rates)


def read_rate(path):
    """Counts, names of cells and genes, and batches, as a mapping needs them; without anndata."""
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        with h5py.File(path) as file:
            x = file["X"]
            counts = sp.csr_matrix((x["data"][:], x["indices"][:], x["indptr"][:]),
                                   shape=tuple(x.attrs["shape"]))
            file["obs/_index"].asstr()[:], file["var/_index"].asstr()[:]
            file["obs/batch/categories"].asstr()[:][file["obs/batch/codes"][:]]
        rates.append(counts.shape[0] / (time.perf_counter() - start))
    return float(np.median(rates))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--query")
    args = parser.parse_args()
    results = {}
    if args.query:
        results["read/h5ad"] = read_rate(args.query)
    shapes = [("scvi_nb", "nb", False), ("scvi_zinb", "zinb", False),
              ("scanvi_hlca", "nb", True)]
    for name, likelihood, labelled in shapes:
        model, query = build(likelihood, labelled, args)
        cls = scvi.model.SCANVI if labelled else scvi.model.SCVI
        rates = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            rates.append(train_rate(model, cls, query.copy(), labelled))
        results[f"train/{name}"] = max(r[0] for r in rates)
        if name == "scvi_nb":
            results["encode"] = max(r[1] for r in rates)
        print(f"scvi-tools {name}: {results[f'train/{name}']:.0f} cell-epochs/s", file=sys.stderr)
    results["train/totalvi"] = totalvi_rate(args)
    print(f"scvi-tools totalvi: {results['train/totalvi']:.0f} cell-epochs/s", file=sys.stderr)
    kang = os.path.join(os.environ.get("PORTOLAN_TEST_DATA", "../shared/data"))
    if os.path.isdir(os.path.join(kang, "models", "kang_scanvi")):
        query = anndata.read_h5ad(os.path.join(kang, "counts", "split_kang_query_4donors.h5ad"))
        for cls, name in ((scvi.model.SCVI, "kang_scvi"), (scvi.model.SCANVI, "kang_scanvi")):
            rates = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                adata = query.copy()
                path = os.path.join(kang, "models", name)
                cls.prepare_query_anndata(adata, path)
                if name == "kang_scanvi":
                    adata.obs["cell_type"] = "Unknown"
                extended = cls.load_query_data(adata, path, freeze_dropout=True)
                extended.train(max_epochs=1, plan_kwargs={"weight_decay": 0.0}, accelerator="cpu",
                               enable_progress_bar=False)
                start = time.perf_counter()
                extended.train(max_epochs=EPOCHS, plan_kwargs={"weight_decay": 0.0},
                               accelerator="cpu", enable_progress_bar=False)
                rates.append(adata.n_obs * EPOCHS / (time.perf_counter() - start))
            results[f"train/{name}"] = max(rates)
            print(f"scvi-tools {name}: {max(rates):.0f} cell-epochs/s", file=sys.stderr)
    with open(args.out, "w") as file:
        json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
