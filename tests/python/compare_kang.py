"""Portolan's mapping of the Kang data beside scvi-tools' own.

Usage: compare_kang.py --scvi-independent F --scvi-joint F --scanvi-independent F --scanvi-joint F

Each F is the result of `portolan map split_kang_query_4donors.h5ad --batch-key batch --epochs 50
--preset scvi --seed 0` with that model and strategy. Prints a Markdown table:
  ELBO        of the query cells after training, per cell; scvi-tools' joint one from report.json,
              its independent one from tests/end_to_end/kang_expected.h
  15-NN       accuracy and macro F1 of the labels of the 15 nearest reference cells' majority
  classifier  accuracy and macro F1 of scANVI's classifier
  mean |dz|   mean absolute difference of the latents to scvi-tools' run of the same strategy; in
              the rows of scvi-tools, of that run to its other strategy

The data folder is PORTOLAN_TEST_DATA, or ../shared/data beside the source folder. Needs anndata and
scikit-learn; not part of the test suite.
"""

import argparse
import json
import os
import pathlib
import re
import warnings

import anndata
import numpy as np
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier

SOURCE = pathlib.Path(__file__).resolve().parents[2]
RUNS = [(m, s) for m in ("scvi", "scanvi") for s in ("independent", "joint")]
HEADER = ["model", "strategy", "program", "ELBO", "15-NN accuracy", "15-NN macro F1"]
HEADER += ["classifier accuracy", "classifier macro F1", "mean abs dz"]


def data_folder():
    return pathlib.Path(os.environ.get("PORTOLAN_TEST_DATA", SOURCE / "../shared/data"))


def expected_elbos():
    """The constants of kang_expected.h by (model, strategy)."""
    text = (SOURCE / "tests" / "end_to_end" / "kang_expected.h").read_text()
    found = re.findall(r"k(Scvi|Scanvi)(Joint|Independent)Elbo\s*=\s*([-0-9.e]+)", text)
    return {(m.lower(), s.lower()): float(value) for m, s, value in found}


def scores(truth, labels):
    return accuracy_score(truth, labels), f1_score(truth, labels, average="macro")


class Expected:
    """What scvi-tools got, and the reference to search in."""

    def __init__(self):
        folder = data_folder() / "expected"
        self.reference = anndata.read_h5ad(folder / "kang_reference.h5ad")
        self.query = anndata.read_h5ad(folder / "kang_query.h5ad")
        self.report = json.loads((folder / "report.json").read_text())["kang"]
        self.truth = self.query.obs["cell_type"].astype(str).to_numpy()
        self.elbos = expected_elbos()

    def neighbours(self, model, latents):
        search = KNeighborsClassifier(n_neighbors=15)
        search.fit(self.reference.obsm[f"X_{model}"], self.reference.obs["cell_type"].astype(str))
        return scores(self.truth, search.predict(latents))

    def latents(self, model, strategy):
        return self.query.obsm[f"{model}_{strategy}"]

    def row(self, model, strategy):
        knn = self.report[f"{model}_{strategy}_knn15"]
        classifier = self.report.get(f"{model}_{strategy}_classifier")
        other = "joint" if strategy == "independent" else "independent"
        moved = self.latents(model, strategy) - self.latents(model, other)
        elbo = self.report.get(f"{model}_{strategy}_elbo", self.elbos[model, strategy])
        return line(
            model,
            strategy,
            "scvi-tools",
            elbo,
            (knn["accuracy"], knn["macro_f1"]),
            (classifier["accuracy"], classifier["macro_f1"]) if classifier else None,
            np.abs(moved).mean(),
        )


def mapped_row(expected, model, strategy, path):
    out = anndata.read_h5ad(path)
    report = out.uns["portolan"]
    if report["model"].lower() != model or report["strategy"] != strategy:
        raise SystemExit(f"{path}: {report['model']}, {report['strategy']}: not {model} {strategy}")
    if list(out.obs_names) != list(expected.query.obs_names):
        raise SystemExit(f"{path}: not the cells of split_kang_query_4donors.h5ad")
    latents = np.asarray(out.obsm["X_portolan"])
    classifier = None
    if "portolan_label" in out.obs:
        classifier = scores(expected.truth, out.obs["portolan_label"].astype(str).to_numpy())
    return line(
        model,
        strategy,
        "Portolan",
        float(report["elbo"]),
        expected.neighbours(model, latents),
        classifier,
        np.abs(latents - expected.latents(model, strategy)).mean(),
    )


def line(model, strategy, program, elbo, knn, classifier, moved):
    numbers = [f"{elbo:.3f}"] + [f"{value:.4f}" for value in knn]
    numbers += [f"{value:.4f}" for value in classifier] if classifier else ["", ""]
    return [model, strategy, program, *numbers, f"{moved:.4f}"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for model, strategy in RUNS:
        parser.add_argument(f"--{model}-{strategy}", required=True, metavar="F")
    options = vars(parser.parse_args())
    warnings.simplefilter("ignore")
    expected = Expected()
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * 3 + "---:|" * (len(HEADER) - 3))
    for model, strategy in RUNS:
        mapped = mapped_row(expected, model, strategy, options[f"{model}_{strategy}"])
        for cells in (expected.row(model, strategy), mapped):
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
