"""Exports of Portolan opened by scvi-tools: the same latents, before and after an extension.

Usage: check_export.py [--programs DIR] [--epochs N] [--cells N] [MODEL ...]

For every saved model of the test data (saved_models.py), through portolan-server and portolan:
  before  the reference is exported, and scvi-tools loads the export with cells of batches that the
          model knows. Its latents beside those of scvi-tools with the original file, and beside
          Portolan's own of the same cells
  after   cells of new batches are mapped, the version that this makes is exported, and scvi-tools
          loads it with those cells. Its latents beside Portolan's result; and the known cells again,
          beside what they were before
Prints a Markdown table of the largest absolute differences; "-" where there is nothing to compare.
Exits with 1 if one is above 1e-5.

A model that the installed scvi-tools does not open by itself is opened for the comparison as
make_latents.py says. TOTALVI before 1.3.1 is exported for the scvi-tools of its time, which the
installed one does not replace: nothing is compared.

DIR is build/bin by default, the data folder PORTOLAN_TEST_DATA or ../shared/data beside the source
folder. Needs scvi-tools; not part of the test suite.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile

import anndata
import numpy as np
import scvi
from scipy import sparse

import saved_models as models

TOLERANCE = 1e-5
HEADER = ["model", "saved by", "opens as saved", "export = original", "export = Portolan"]
HEADER += ["new batches", "mapped = Portolan", "reference after = before"]


class Server:
    def __init__(self, programs, atlases):
        self.programs = programs
        self.process = subprocess.Popen(
            [programs / "portolan-server", "serve", "--atlases", atlases, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        line = self.process.stdout.readline()
        self.address = line.split("listening on", 1)[1].split()[0]

    def run(self, *words):
        command = [self.programs / "portolan", "--server", self.address, "--json", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def write_query(cells, genes, path, proteins):
    """The cells as a file for Portolan, with zeros for genes of the model that they lack: a query
    with too few of them would be refused."""
    missing = [gene for gene in genes if gene not in set(cells.var_names)]
    x = np.hstack([cells.X, np.zeros((cells.n_obs, len(missing)), np.float32)])
    out = anndata.AnnData(sparse.csr_matrix(x), obs=cells.obs[["batch"]].copy())
    out.obs_names, out.var_names = cells.obs_names, [*cells.var_names, *missing]
    if proteins:
        out.obsm[proteins] = cells.obsm[proteins]
        if cells.uns.get("protein_names") is not None:
            out.uns["protein_names"] = np.asarray(cells.uns["protein_names"])
    out.write_h5ad(path)


def protein_words(cells, proteins):
    if not proteins:
        return []
    words = ["--proteins", proteins]
    if cells.uns.get("protein_names") is not None:
        words += ["--protein-names", "protein_names"]
    return words


def difference(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def spread(path, count):
    total = anndata.read_h5ad(models.data_folder() / path, backed="r").n_obs
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))


class Check:
    def __init__(self, case, server, folder, options):
        self.case, self.server, self.folder, self.options = case, server, folder, options
        self.row = dict.fromkeys(HEADER, "-")
        self.row["model"] = case.model

    def known_cells(self):
        case = self.case
        rows = spread(case.cells, self.options.cells)
        return models.read_cells(case.cells, case.layer, rows, case.batch_key, case.batch)

    def new_cells(self):
        """Cells of two batches that the model does not know."""
        case = self.case
        rows = spread(case.query, self.options.cells)
        cells = models.read_cells(case.query, case.query_layer, rows, "batch")
        half = np.arange(cells.n_obs) < cells.n_obs // 2
        cells.obs["batch"] = np.where(half, "9001", "9002")
        return cells

    def embed(self, cells, version, proteins):
        source, result = self.folder / "cells.h5ad", self.folder / "embedded.h5ad"
        write_query(cells, self.genes, source, proteins)
        self.server.run(
            "embed", source, "--atlas", self.case.model, "--version", version,
            "--batch-key", "batch", "-o", result, *protein_words(cells, proteins),
        )  # fmt: skip
        return anndata.read_h5ad(result).obsm["X_portolan"]

    def export(self, version, name):
        self.server.run(
            "atlas", "export", self.case.model, "--version", version, "-o", self.folder / name
        )
        return self.folder / name

    def before(self):
        case, row = self.case, self.row
        atlas = self.server.run("atlas", "show", case.model, "--genes")
        self.genes = atlas["gene_names"]
        row["saved by"] = atlas["scvi_version"]
        opens = (models.data_folder() / "models" / case.model / "model.pt").exists()
        older_pass = atlas["totalvi_variant"] not in ("", "cell-mean")
        opens = opens and models.opens_as_it_is(case.model) and not older_pass
        row["opens as saved"] = "yes" if opens else "no"
        if older_pass:
            self.export("reference", "before")
            return False
        self.known = self.known_cells()
        self.z, _ = models.latents(self.export("reference", "before"), self.known, case.proteins)
        original = models.converted(case.model)
        row["export = original"] = difference(
            self.z, models.latents(original, self.known, case.proteins)[0]
        )
        row["export = Portolan"] = difference(
            self.z, self.embed(self.known, "reference", case.proteins)
        )
        return True

    def after(self):
        case, row = self.case, self.row
        cells = self.new_cells()
        source, result = self.folder / "query.h5ad", self.folder / "mapped.h5ad"
        write_query(cells, self.genes, source, case.query_proteins)
        report = self.server.run(
            "map", source, "--atlas", case.model, "--batch-key", "batch", "-o", result,
            "--epochs", self.options.epochs, *protein_words(cells, case.query_proteins),
        )  # fmt: skip
        exported = self.export(report["version"], "after")
        z, _ = models.latents(exported, cells, case.query_proteins)
        row["new batches"] = str(cells.obs["batch"].nunique())
        row["mapped = Portolan"] = difference(z, anndata.read_h5ad(result).obsm["X_portolan"])
        again, _ = models.latents(exported, self.known, case.proteins)
        row["reference after = before"] = difference(again, self.z)

    def run(self):
        if self.before() and self.case.query:
            self.after()
        return self.row


def spelled(value):
    return f"{value:.1e}" if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--programs", type=pathlib.Path, default=models.SOURCE / "build/bin")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    server = Server(options.programs, models.data_folder() / "models")
    worst, failed = 0.0, []
    print("| " + " | ".join(HEADER) + " |")
    print("|---" * 3 + "|---:" * (len(HEADER) - 3) + "|")
    try:
        for case in models.CASES:
            if options.models and case.model not in options.models:
                continue
            with tempfile.TemporaryDirectory() as folder:
                check = Check(case, server, pathlib.Path(folder), options)
                try:
                    row = check.run()
                except RuntimeError as error:
                    failed.append(f"{case.model}: {error}")
                    row = check.row
            print("| " + " | ".join(spelled(row[name]) for name in HEADER) + " |", flush=True)
            numbers = [value for value in row.values() if isinstance(value, float)]
            worst = max([worst, *(np.inf if np.isnan(n) else n for n in numbers)])
    finally:
        server.stop()
    print(f"\nscvi-tools {scvi.__version__}; largest difference {worst:.1e}")
    for text in failed:
        print(f"not compared: {text}")
    return 1 if worst > TOLERANCE or failed else 0


if __name__ == "__main__":
    sys.exit(main())
