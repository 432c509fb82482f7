"""Speed of scvi-tools itself on the shapes of portolan-speed, as JSON: {name: rate}.

    python peer.py OUT.json [--only train/scvi_nb] [--query FILE.h5ad]

Adds to OUT.json what it measures.

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


def better(rate_with, *args):
    """The better of one and two threads."""
    rates = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rates.append(rate_with(*args))
    return max(rates)


def kang_rate(cls, name, data):
    adata = anndata.read_h5ad(os.path.join(data, "counts", "split_kang_query_4donors.h5ad"))
    path = os.path.join(data, "models", name)
    cls.prepare_query_anndata(adata, path)
    if name == "kang_scanvi":
        adata.obs["cell_type"] = "Unknown"
    extended = cls.load_query_data(adata, path, freeze_dropout=True)
    options = {"plan_kwargs": {"weight_decay": 0.0}, "accelerator": "cpu",
               "enable_progress_bar": False}
    extended.train(max_epochs=1, **options)
    start = time.perf_counter()
    extended.train(max_epochs=EPOCHS, **options)
    return adata.n_obs * EPOCHS / (time.perf_counter() - start)


def measure(args):
    """Name and rate, one after the other."""
    if args.query:
        yield "read/h5ad", read_rate(args.query)
    for name, likelihood, labelled in [("scvi_nb", "nb", False), ("scvi_zinb", "zinb", False),
                                       ("scanvi_hlca", "nb", True)]:
        if not f"train/{name}".startswith(args.only):
            continue
        model, query = build(likelihood, labelled, args)
        cls = scvi.model.SCANVI if labelled else scvi.model.SCVI
        rates = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            rates.append(train_rate(model, cls, query.copy(), labelled))
        yield f"train/{name}", max(rate[0] for rate in rates)
        if name == "scvi_nb":
            yield "encode", max(rate[1] for rate in rates)
    if "train/totalvi".startswith(args.only):
        yield "train/totalvi", totalvi_rate(args)
    data = os.environ.get("PORTOLAN_TEST_DATA", "../shared/data")
    for cls, name in ((scvi.model.SCVI, "kang_scvi"), (scvi.model.SCANVI, "kang_scanvi")):
        if (f"train/{name}".startswith(args.only)
                and os.path.isdir(os.path.join(data, "models", name))):
            yield f"train/{name}", better(kang_rate, cls, name, data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--query")
    parser.add_argument("--only", default="", help="rates whose name begins with it")
    args = parser.parse_args()
    results = {}
    if os.path.exists(args.out):
        with open(args.out) as file:
            results = json.load(file)
    for name, rate in measure(args):
        print(f"scvi-tools {name}: {rate:.0f} a second", file=sys.stderr)
        results[name] = rate
    with open(args.out, "w") as file:
        json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
