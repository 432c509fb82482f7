"""Surgery on the Kang data with scvi-tools itself: the ELBO after training.

Usage: kang_with_scvi.py [--models M ...] [--strategies S ...] [--seeds N ...]
                         [--epochs N] [--freeze-dropout] [--train-mode] [--json FILE]

For data/models/kang_scvi and kang_scanvi, the four donors of split_kang_query_4donors.h5ad are
mapped with load_query_data (no labels given to scANVI) and trained with weight decay 0:
  independent  donor by donor, each from the reference
  joint        all donors in one run
Then get_elbo() over the query cells, mean of 3 calls because it samples. For `independent` the
ELBO of the query is the mean over donors weighted by cells.

load_query_data leaves the module in eval mode, and Lightning 2.2 and later does not change it when
training starts: dropout is off in these runs, with --freeze-dropout or without. --train-mode puts
the module in train mode first; then --freeze-dropout makes a difference.

The data folder is PORTOLAN_TEST_DATA, or ../shared/data beside the source folder. Needs
scvi-tools; not part of the test suite.
"""

import argparse
import json
import logging
import os
import pathlib
import time
import warnings

import anndata
import numpy as np
import scvi
import torch

MODELS = {"scvi": scvi.model.SCVI, "scanvi": scvi.model.SCANVI}
# What the cells are given in the label column, which both models were set up with. scVI reads it in
# no number; "Unknown" is scANVI's unlabelled category.
LABEL = {"scvi": "CD4 T cells", "scanvi": "Unknown"}
ELBO_CALLS = 3


def data_folder():
    beside = pathlib.Path(__file__).resolve().parents[2] / "../shared/data"
    return pathlib.Path(os.environ.get("PORTOLAN_TEST_DATA", beside))


def train(name, cells, options):
    """The reference `name` after surgery on `cells`, an AnnData it may change."""
    folder = str(data_folder() / "models" / f"kang_{name}")
    model = MODELS[name].load_query_data(
        cells, folder, freeze_dropout=options.freeze_dropout, accelerator="cpu"
    )
    if options.train_mode:
        model.module.train()
    model.train(
        max_epochs=options.epochs,
        accelerator="cpu",
        plan_kwargs={"weight_decay": 0.0},
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
    )
    return model


def elbo(model):
    return float(np.mean([float(model.get_elbo()) for _ in range(ELBO_CALLS)]))


def run(name, strategy, seed, options, query):
    """One row of the table: the ELBO of the query, and of each part that was trained alone."""
    donors = {"all": np.ones(query.n_obs, bool)}
    if strategy == "independent":
        donors = {d: (query.obs["batch"] == d).to_numpy() for d in query.obs["batch"].unique()}
    start = time.monotonic()
    parts = {}
    for donor, rows in donors.items():
        scvi.settings.seed = seed
        cells = anndata.AnnData(query.X[rows], query.obs.loc[rows, ["batch"]], query.var[[]])
        cells.obs["cell_type"] = LABEL[name]
        parts[donor] = {
            "cells": int(rows.sum()),
            "elbo": elbo(train(name, cells, options)),
        }
    cells = sum(p["cells"] for p in parts.values())
    return {
        "model": f"kang_{name}",
        "strategy": strategy,
        "seed": seed,
        "epochs": options.epochs,
        "freeze_dropout": options.freeze_dropout,
        "train_mode": options.train_mode,
        "elbo": sum(p["elbo"] * p["cells"] for p in parts.values()) / cells,
        "parts": parts,
        "seconds": round(time.monotonic() - start, 1),
    }


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    strategies = ["independent", "joint"]
    parser.add_argument("--strategies", nargs="+", choices=strategies, default=strategies)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--freeze-dropout", action="store_true")
    parser.add_argument("--train-mode", action="store_true")
    parser.add_argument("--json", help="also write the rows here")
    return parser.parse_args()


def main():
    options = parse_options()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    query = anndata.read_h5ad(data_folder() / "counts" / "split_kang_query_4donors.h5ad")
    rows = []
    print(
        f"scvi-tools {scvi.__version__}, freeze_dropout={options.freeze_dropout}, "
        f"train_mode={options.train_mode}"
    )
    print(f"{'model':<12} {'strategy':<12} {'seed':>4} {'ELBO':>10} {'seconds':>8}  parts")
    for name in options.models:
        for strategy in options.strategies:
            for seed in options.seeds:
                row = run(name, strategy, seed, options, query)
                rows.append(row)
                parts = ", ".join(f"{d} {p['elbo']:.3f}" for d, p in row["parts"].items())
                print(
                    f"{row['model']:<12} {strategy:<12} {seed:>4} {row['elbo']:>10.3f} "
                    f"{row['seconds']:>8}  {parts}",
                    flush=True,
                )
    result = {"scvi_tools": scvi.__version__, "rows": rows}
    print(json.dumps(result))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
