#!/usr/bin/env python3
"""Makes the demo's data: a synthetic CITE-seq reference of blood cells and a query to map onto it.

The counts follow the usual generative picture of droplet data: cell-type programmes of known marker
genes, continuous programmes within types (interferon, stress, memory, cycling), gene-wise
dispersion (gamma-Poisson), log-normal depth, gene-wise effects of each batch, ambient RNA and
technical dropout. Proteins are background plus, where the type carries the marker, foreground.
The query comes from two laboratories that the reference has never seen, with stronger effects.

Deterministic: one seed, one generator, no threads.

    make_data.py [FOLDER]      writes FOLDER/reference.h5ad and FOLDER/query.h5ad (demo/data)
"""

import pathlib
import sys

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

SEED = 20240611
GENES = 1000
QUERY_EXTRA_GENES = 200
QUERY_MISSING_SHARE = 0.03
UNKNOWN = "Unknown"

# Share of the reference's cells, and the depth of the type relative to the others.
CELL_TYPES = {
    "CD4 T cell": (0.30, 0.9),
    "CD14+ monocyte": (0.20, 1.4),
    "CD8 T cell": (0.14, 0.9),
    "B cell": (0.13, 0.9),
    "NK cell": (0.10, 0.85),
    "CD16+ monocyte": (0.06, 1.3),
    "Dendritic cell": (0.045, 1.6),
    "Megakaryocyte": (0.025, 0.5),
}

# Programme -> (types that run it with their strength, marker genes).
PROGRAMMES = {
    "t": ({"CD4 T cell": 1.0, "CD8 T cell": 1.0},
          "CD3D CD3E CD3G CD2 CD5 CD6 CD27 CD28 TRAC TRBC1 TRBC2 IL7R LCK ZAP70 ITK LAT BCL11B "
          "TCF7 SPOCK2 TRAT1 GRAP2 SIT1 UBASH3A THEMIS RORA CAMK4 CD247 SKAP1"),
    "cd4": ({"CD4 T cell": 0.9},
            "CD4 CD40LG MAL LDHB NOSIP LEF1 CCR7 SELL ICOS TSHZ2 FHIT PIK3IP1 TNFRSF25 CTLA4 "
            "FOXP3 IL2RA RTKN2 AQP3 GATA3 TNFRSF4 INPP4B"),
    "cd8": ({"CD8 T cell": 1.0},
            "CD8A CD8B LINC02446 GZMK KLRG1 CRTAM TRGC2 ITM2C KLRC4 DUSP2 LYAR CD96 EOMES"),
    "cytotoxic": ({"NK cell": 1.0, "CD8 T cell": 0.5},
                  "NKG7 CCL5 GZMA GZMB GZMH GZMM PRF1 CST7 CTSW KLRD1 KLRB1 KLRK1 HOPX FGFBP2 "
                  "CCL4 MATK SAMD3 TBX21 ADGRG1 PLEK S1PR5 FCRL6 APMAP"),
    "nk": ({"NK cell": 1.0},
           "GNLY KLRF1 KLRC1 NCAM1 NCR1 NCR3 SPON2 TYROBP FCER1G XCL1 XCL2 IL2RB SH2D1B KIR2DL1 "
           "KIR3DL1 CLIC3 TRDC IGFBP7 CD160 PTGDR B3GNT7 CMC1 MYOM2"),
    "b": ({"B cell": 1.0},
          "MS4A1 CD79A CD79B CD19 CD22 CD37 CD72 BANK1 BLK PAX5 TCL1A IGHM IGHD IGKC IGLC2 IGLC3 "
          "IGHA1 IGHG1 LINC00926 VPREB3 FCER2 RALGPS2 TNFRSF13C TNFRSF13B FCRL1 FCRLA SPIB AFF3 "
          "EBF1 HVCN1 CD24 BLNK ADAM28 JCHAIN POU2AF1"),
    "antigen": ({"B cell": 0.8, "Dendritic cell": 1.2, "CD14+ monocyte": 0.5,
                 "CD16+ monocyte": 0.6},
                "CD74 HLA-DRA HLA-DRB1 HLA-DRB5 HLA-DPA1 HLA-DPB1 HLA-DQA1 HLA-DQB1 HLA-DMA "
                "HLA-DMB CIITA"),
    "myeloid": ({"CD14+ monocyte": 1.0, "CD16+ monocyte": 0.8, "Dendritic cell": 0.6},
                "LYZ CST3 FCN1 TYMP AIF1 LST1 PSAP CTSS SPI1 SERPINA1 CSTA MNDA CEBPB CEBPA TIMP1 "
                "FGL2 CFD NPC2 GRN LGALS1 LGALS3 CD68 CD33 CYBB NCF2 IGSF6 CD300E TNFAIP2 KLF4 "
                "TLR2 CSF3R CPVL ITGAX GPX1 SAT1 NEAT1 APLP2 BRI3"),
    "cd14": ({"CD14+ monocyte": 0.9},
             "CD14 S100A8 S100A9 S100A12 VCAN CD36 CCR2 RBP7 CLEC4E CLEC4D FPR1 PLBD1 CD163 "
             "MGST1 QPCT ALDH2 CRISPLD2 VNN2 ASGR1 CES1 F13A1 MS4A6A CD93 THBS1"),
    "cd16": ({"CD16+ monocyte": 0.9},
             "FCGR3A MS4A7 CDKN1C RHOC LILRB2 LILRA5 HES4 CKB SIGLEC10 VMO1 TCF7L2 CSF1R CX3CR1 "
             "LYPD2 ICAM4 BATF3 IFITM3 WARS1 SMIM25 ADA2 LRRC25 PAPSS2 RRAS MTSS1"),
    "cd16nk": ({"NK cell": 0.7}, "FCGR3A CX3CR1 LGALS9"),
    "dc": ({"Dendritic cell": 0.9},
           "FCER1A CLEC10A CD1C ENHO CLEC9A CLEC4A PLD4 GPR183 NDRG2 CD1E CD1D BASP1 ARL4C IRF8 "
           "IRF4 FLT3 ZBTB46 XCR1 CADM1 IDO1 LILRA4 IL3RA SERPINF1 TCF4 PTCRA CCDC50 UGCG "
           "JAML PKIB RNASE6"),
    "mk": ({"Megakaryocyte": 1.0},
           "PPBP PF4 PF4V1 GNG11 SDPR TUBB1 CAVIN2 GP9 GP1BA GP1BB ITGA2B ITGB3 CLU SPARC TREML1 "
           "NRGN RGS18 MYL9 CLDN5 ACRBP HIST1H2AC TUBA4A MMD ESAM SNCA TPM1 TMEM40 CMTM5 F2RL3 "
           "PGRMC1"),
}

# Continuous programmes: strength differs from cell to cell.
CONTINUOUS = {
    "interferon": "ISG15 ISG20 IFI6 IFI27 IFI44 IFI44L IFIT1 IFIT2 IFIT3 IFITM1 IFITM2 MX1 MX2 "
                  "OAS1 OAS2 OAS3 OASL STAT1 IRF7 XAF1 RSAD2 HERC5 EPSTI1 LY6E TRIM22 SAMD9L "
                  "PARP14 CXCL10 LAP3 PLSCR1 UBE2L6 TNFSF10",
    "stress": "FOS FOSB JUN JUNB JUND DUSP1 EGR1 IER2 IER3 ZFP36 KLF2 KLF6 NR4A1 NR4A2 BTG2 "
              "PPP1R15A HSPA1A HSPA1B HSP90AA1 HSPH1 DNAJB1 ATF3 NFKBIA CD69 TNFAIP3 RHOB GADD45B",
    "memory": "S100A4 S100A6 S100A10 S100A11 ANXA1 ANXA2 CRIP1 VIM ITGB1 CD99 LMNA AHNAK TAGLN2 "
              "CD58 IL32 EMP3 CAPN2",
    "cycle": "MKI67 TOP2A STMN1 TYMS PCNA MCM3 MCM5 RRM2 HMGB2 TUBB TUBA1B H2AZ1 CDK1 BIRC5 CENPF "
             "NUSAP1 UBE2C TK1 ZWINT CKS1B",
}
HOUSEKEEPING = (
    "ACTB ACTG1 B2M MALAT1 GAPDH FTL FTH1 TMSB4X TMSB10 EEF1A1 EEF1B2 EEF1D EEF2 TPT1 PTMA FAU "
    "UBA52 NACA HNRNPA1 PFN1 CFL1 ARPC1B ARPC2 ARPC3 CORO1A MYL6 MYL12A SH3BGRL3 OAZ1 SRGN RACK1 "
    "PABPC1 NPM1 YBX1 UBC PTPRC HLA-A HLA-B HLA-C HLA-E HLA-F MATR3 TXNIP CALM1 COX4I1 COX7C "
    "ATP5F1E MT-CO1 MT-CO2 MT-CO3 MT-ND1 MT-ND2 MT-ND3 MT-ND4 MT-ND5 MT-CYB MT-ATP6")
DUPLICATED_GENE = "MATR3"  # two loci share this symbol in real annotations too

# Antibody -> (types that carry the marker with their strength).
T_CELLS = {"CD4 T cell": 1.0, "CD8 T cell": 1.0}
PROTEINS = {
    "CD3": T_CELLS,
    "CD4": {"CD4 T cell": 1.0, "CD14+ monocyte": 0.45, "CD16+ monocyte": 0.4,
            "Dendritic cell": 0.5},
    "CD8a": {"CD8 T cell": 1.0, "NK cell": 0.35},
    "CD14": {"CD14+ monocyte": 1.0, "CD16+ monocyte": 0.25},
    "CD16": {"NK cell": 1.0, "CD16+ monocyte": 1.0},
    "CD19": {"B cell": 1.0},
    "CD20": {"B cell": 1.0},
    "CD56": {"NK cell": 1.0},
    "CD11c": {"CD14+ monocyte": 0.9, "CD16+ monocyte": 1.0, "Dendritic cell": 1.0},
    "HLA-DR": {"B cell": 0.9, "Dendritic cell": 1.2, "CD14+ monocyte": 0.7, "CD16+ monocyte": 0.7},
    "CD45RA": {"CD8 T cell": 0.8, "NK cell": 0.9, "B cell": 0.9, "CD4 T cell": 0.5},
    "CD45RO": {"CD4 T cell": 0.7, "CD14+ monocyte": 0.5, "CD8 T cell": 0.4},
    "CD25": {"CD4 T cell": 0.4},
    "CD127": {"CD4 T cell": 0.8, "CD8 T cell": 0.5},
    "CD62L": {"CD4 T cell": 0.7, "B cell": 0.5, "CD14+ monocyte": 0.6},
    "CD27": {"CD4 T cell": 0.7, "CD8 T cell": 0.6, "B cell": 0.3},
    "CD41": {"Megakaryocyte": 1.2},
    "CD123": {"Dendritic cell": 0.9},
    "IgG1_control": {},
    "IgG2a_control": {},
}

# Batch -> cells, mean depth, spread of depth, scale of the gene effects, lean (scale of the part of
# the effects that looks like a difference between types), ambient share, donors.
REFERENCE_BATCHES = {
    "lab_a": (1000, 1300, 0.30, 0.15, 0.1, 0.04, ["D01", "D02"]),
    "lab_b": (850, 1000, 0.35, 0.20, 0.1, 0.06, ["D03", "D04"]),
    "lab_c": (650, 1700, 0.30, 0.20, 0.1, 0.03, ["D05"]),
}
QUERY_BATCHES = {
    "lab_d": (500, 900, 0.40, 0.55, 0.35, 0.10, ["D06", "D07"]),
    "lab_e": (400, 1900, 0.35, 0.60, 0.35, 0.08, ["D08"]),
}


def gene_names():
  """Names of the reference's genes: every marker, then filler of the usual families."""
  named = []
  for _, genes in PROGRAMMES.values():
    named += genes.split()
  for genes in CONTINUOUS.values():
    named += genes.split()
  named += HOUSEKEEPING.split()
  named += [f"RPL{i}" for i in range(3, 42)] + [f"RPS{i}" for i in range(2, 30)]
  named = list(dict.fromkeys(named))
  return named + filler_names(GENES - len(named), 0)


def filler_names(count, offset):
  families = ["ZNF{}", "SLC25A{}", "TMEM{}", "CCDC{}", "FAM{}A", "KIF{}B", "LINC00{}", "ANKRD{}",
              "PPP1R{}", "RAB{}", "USP{}", "WDR{}", "PHF{}", "DDX{}", "GPR{}", "C1orf{}"]
  return [families[i % len(families)].format(100 + i // len(families) * 7 + i % 5)
          for i in range(offset, offset + count)]


def programmes(rng, genes):
  """Log expression: baseline (G), per type (T, G), per continuous programme (C, G)."""
  index = {name: i for i, name in enumerate(genes)}
  baseline = rng.normal(-1.2, 1.1, len(genes))
  for name in HOUSEKEEPING.split() + [g for g in genes if g[:3] in ("RPL", "RPS")]:
    baseline[index[name]] = rng.normal(2.3, 0.6)
  by_type = rng.normal(0.0, 0.12, (len(CELL_TYPES), len(genes)))
  markers = {}
  for strengths, names in PROGRAMMES.values():
    for name in names.split():
      markers[name] = True
      fold = rng.uniform(0.8, 3.2)
      for row, cell_type in enumerate(CELL_TYPES):
        by_type[row, index[name]] += fold * strengths.get(cell_type, 0.0)
  for name in markers:
    baseline[index[name]] = rng.normal(-1.5, 0.8)
  continuous = np.zeros((len(CONTINUOUS), len(genes)))
  for row, names in enumerate(CONTINUOUS.values()):
    for name in names.split():
      continuous[row, index[name]] = rng.uniform(0.4, 1.1)
    continuous[row] += rng.normal(0.0, 0.05, len(genes))
  return baseline, by_type, continuous


def cell_states(rng, types, interferon):
  """Strength of every continuous programme in every cell, (N, C)."""
  lymphoid = np.isin(types, ["CD4 T cell", "CD8 T cell", "B cell", "NK cell"])
  return np.stack([
      rng.gamma(1.5, 0.4, len(types)) + interferon,
      rng.normal(0.0, 0.8, len(types)),
      np.where(lymphoid, rng.beta(0.7, 0.7, len(types)) * 2.2, 0.4),
      np.where(rng.random(len(types)) < 0.03, 2.5, 0.0),
  ], axis=1)


def gamma_poisson(rng, mean, dispersion):
  return rng.poisson(rng.gamma(dispersion, mean / dispersion))


def counts_of_batch(rng, types, log_expression, depth, spread, ambient, dispersion):
  """Counts (N, G) of cells whose log expression is given."""
  share = np.exp(log_expression)
  share /= share.sum(axis=1, keepdims=True)
  share = (1 - ambient) * share + ambient * share.mean(axis=0)
  relative = np.array([CELL_TYPES[t][1] for t in types])
  library = depth * relative * rng.lognormal(-spread**2 / 2, spread, len(types))
  mean = share * library[:, None]
  counts = gamma_poisson(rng, mean, dispersion)
  dropped = rng.random(mean.shape) < 0.25 * np.exp(-mean / 1.5)
  return np.where(dropped, 0, counts)


def proteins_of_batch(rng, types, shift):
  """Antibody counts (N, P): log-normal background of the cell and antibody, and foreground."""
  stickiness = rng.normal(0.0, 0.3, (len(types), 1))
  background = np.exp(rng.normal(1.3, 0.5, len(PROTEINS))[None] + stickiness + shift)
  strength = np.array([[carriers.get(t, 0.0) for carriers in PROTEINS.values()] for t in types])
  carried = (strength > 0) & (rng.random(strength.shape) < 0.95)
  fold = np.where(carried, 1 + 40 * strength * rng.lognormal(0, 0.35, strength.shape), 1.0)
  return gamma_poisson(rng, background * fold, 6.0)


def make_cells(rng, batches, composition_noise, genes, expression, dispersion, interferon):
  """One AnnData of all batches; obs has the truth in cell_type."""
  baseline, by_type, continuous = expression
  names = np.array(list(CELL_TYPES))
  frequency = np.array([share for share, _ in CELL_TYPES.values()])
  parts = []
  for batch, (cells, depth, spread, scale, lean, ambient, donors) in batches.items():
    weight = frequency * rng.lognormal(0, composition_noise, len(names))
    codes = rng.choice(len(names), cells, p=weight / weight.sum())
    types = names[codes]
    effect = rng.normal(0.0, scale, len(genes)) * np.where(rng.random(len(genes)) < 0.1, 2.0, 1.0)
    effect += lean * rng.normal(size=len(names)) @ by_type
    state = cell_states(rng, types, interferon)
    log_expression = baseline + by_type[codes] + state @ continuous + effect
    counts = counts_of_batch(rng, types, log_expression, depth, spread, ambient, dispersion)
    proteins = proteins_of_batch(rng, types, rng.normal(0.0, scale, len(PROTEINS)))
    barcodes = ["".join(b) for b in rng.choice(list("ACGT"), (cells, 12))]
    obs = pd.DataFrame({
        "batch": batch,
        "donor": rng.choice(donors, cells),
        "n_counts": counts.sum(axis=1).astype(np.int32),
        "cell_type": types,
    }, index=[f"{b}-{batch}" for b in barcodes])
    parts.append((counts, proteins, obs))
  obs = pd.concat([p[2] for p in parts])
  if not obs.index.is_unique:
    raise RuntimeError("two cells drew the same barcode; choose another seed")
  return np.vstack([p[0] for p in parts]), np.vstack([p[1] for p in parts]), obs


def to_anndata(counts, proteins, obs, genes):
  obs = obs.copy()
  for column in obs.columns:
    if obs[column].dtype == object:
      obs[column] = obs[column].astype("category")
  matrix = scipy.sparse.csr_matrix(counts.astype(np.uint16))
  if counts.max() > np.iinfo(np.uint16).max:
    raise OverflowError("a count does not fit uint16")
  data = anndata.AnnData(matrix, obs=obs, var=pd.DataFrame(index=genes))
  data.obsm["protein_expression"] = pd.DataFrame(
      proteins.astype(np.int32), index=obs.index, columns=list(PROTEINS))
  return data


def make_reference(rng, genes, expression, dispersion):
  counts, proteins, obs = make_cells(
      rng, REFERENCE_BATCHES, 0.1, genes, expression, dispersion, interferon=0.0)
  obs.loc[rng.random(len(obs)) < 0.08, "cell_type"] = UNKNOWN
  return to_anndata(counts, proteins, obs, genes)


def make_query(rng, genes, expression, dispersion):
  counts, proteins, obs = make_cells(
      rng, QUERY_BATCHES, 0.3, genes, expression, dispersion, interferon=0.8)
  obs["chemistry"] = np.where(obs["batch"] == "lab_d", "3p_v2", "3p_v3")
  genes = np.array(genes)

  droppable = np.flatnonzero(genes != DUPLICATED_GENE)
  missing = rng.choice(droppable, round(QUERY_MISSING_SHARE * len(genes)), replace=False)
  kept = np.setdiff1d(np.arange(len(genes)), missing)
  depth = counts.sum(axis=1, keepdims=True) / counts.sum()
  extra_mean = rng.lognormal(-2.2, 1.2, QUERY_EXTRA_GENES)[None] * depth * len(counts)
  extra = gamma_poisson(rng, extra_mean, 2.0)
  second = rng.poisson(np.full((len(counts), 1), 0.1))
  counts = np.hstack([counts[:, kept], extra, second])
  names = np.concatenate(
      [genes[kept], filler_names(QUERY_EXTRA_GENES, 5000), [DUPLICATED_GENE]])
  order = rng.permutation(len(names))
  obs["n_counts"] = counts.sum(axis=1).astype(np.int32)
  return to_anndata(counts[:, order], proteins, obs, names[order].tolist())


def main():
  folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                        else pathlib.Path(__file__).parent / "data")
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.Generator(np.random.PCG64(SEED))
  genes = gene_names()
  expression = programmes(rng, genes)
  dispersion = rng.lognormal(1.2, 0.6, len(genes))
  for name, make in (("reference", make_reference), ("query", make_query)):
    data = make(rng, genes, expression, dispersion)
    path = folder / f"{name}.h5ad"
    data.write_h5ad(path, compression="gzip", compression_opts=9)
    print(f"{path}: {data.n_obs} cells x {data.n_vars} genes, "
          f"{data.X.sum() / data.n_obs:.0f} counts per cell, "
          f"{data.X.nnz / np.prod(data.shape):.1%} non-zero, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
  main()
