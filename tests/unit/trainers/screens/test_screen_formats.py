"""Files as they come: separators and decimal commas, matrices of .h5ad, .gct and .npz, and damaged files."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from trainers.errors import InputError
from trainers.screens.files import read_table
from trainers.screens.readers import Reading, read_screen
from trainers.screens.screen_spec import ScreenSpec

FEATURES = ["AreaShape", "Texture", "Count"]


def read(path: Path, **spec: object) -> Reading:
    return read_screen(ScreenSpec.model_validate({"path": path, **spec}), Path())


@pytest.fixture
def plain(profiles: pd.DataFrame, tmp_path: Path) -> Reading:
    profiles.to_csv(tmp_path / "plain.csv", index=False)
    return read(tmp_path / "plain.csv")


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("above", ["", "\ufeff", "sep=;\n"])
def test_separators_and_decimal_commas_beyond_doubt(
    profiles: pd.DataFrame, plain: Reading, tmp_path: Path, mark: str, decimal: str, ending: str, above: str
) -> None:
    text = profiles.to_csv(index=False, sep=mark, decimal=decimal, lineterminator=ending)
    path = tmp_path / "s.csv"
    path.write_bytes((above.replace(";", mark) + text).encode())
    found = read(path)
    assert found.screen.fingerprint == plain.screen.fingerprint
    said = [f"fields are separated by {mark!r}"]
    assert list(found.account.notes) == said + ["numbers are written with ',' before the fraction"] * (decimal == ",")


def test_what_is_declared_needs_no_search(profiles: pd.DataFrame, plain: Reading, tmp_path: Path) -> None:
    quoted = profiles.copy()
    for name in FEATURES:
        quoted[name] = [repr(float(value)).replace(".", ",") for value in profiles[name]]
    quoted.to_csv(tmp_path / "quoted.csv", index=False)
    with pytest.raises(InputError, match=r"3 features .* each holds decimal commas"):
        read(tmp_path / "quoted.csv")
    assert read(tmp_path / "quoted.csv", decimal=",").screen.fingerprint == plain.screen.fingerprint
    profiles.to_csv(tmp_path / "hash.csv", index=False, sep="#")
    assert read(tmp_path / "hash.csv", separator="#").screen.fingerprint == plain.screen.fingerprint


@pytest.mark.parametrize("above", ["\n", "\n\r\n  \n", "\nsep=,\n"])
def test_blank_lines_above_the_header(profiles: pd.DataFrame, plain: Reading, tmp_path: Path, above: str) -> None:
    (tmp_path / "s.csv").write_text(above + profiles.to_csv(index=False))
    assert read(tmp_path / "s.csv").screen.fingerprint == plain.screen.fingerprint
    (tmp_path / "blank.csv").write_text(above)
    with pytest.raises(InputError, match="the file is empty"):
        read(tmp_path / "blank.csv")


@pytest.mark.parametrize(("encoding", "told"), [("latin-1", "0xe9, as Latin-1"), ("utf-16", "as UTF-16 text does")])
def test_text_that_is_not_utf_8(profiles: pd.DataFrame, tmp_path: Path, encoding: str, told: str) -> None:
    profiles.assign(Metadata_note="é").to_csv(tmp_path / "s.csv", index=False, encoding=encoding)
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        read(tmp_path / "s.csv")
    assert "save it as UTF-8" in str(caught.value)


def test_rows_that_are_longer_than_the_header(profiles: pd.DataFrame, tmp_path: Path) -> None:
    text = profiles.to_csv(index=False)
    (tmp_path / "one.csv").write_text(text.replace("E1,Plate1,A02,", "E1,Plate1,A02,,", 1))
    with pytest.raises(InputError, match="Expected 10 fields in line 3, saw 11"):
        read(tmp_path / "one.csv")
    (tmp_path / "all.csv").write_text(text.replace(",Count\n", "\n", 1))
    said = r"more fields than the header's 9 \(first: 'E1,Plate1,A01,.*separated by ','\? say so with separator"
    with pytest.raises(InputError, match=said):
        read(tmp_path / "all.csv")


def test_an_embedding_written_as_one_long_field(profiles: pd.DataFrame, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((36, 9000)).astype(np.float32)
    lists = [str(row.tolist()) for row in values]
    assert max(map(len, lists)) > 131_072  # csv's own limit
    profiles.drop(columns=FEATURES).assign(embedding=lists).to_csv(tmp_path / "s.csv", index=False)
    np.testing.assert_array_equal(read(tmp_path / "s.csv").screen.features, values)


def test_commas_between_thousands_are_not_taken_for_fractions(profiles: pd.DataFrame, tmp_path: Path) -> None:
    profiles.assign(Texture=["1,250", "2,125"] * 18).to_csv(tmp_path / "s.csv", index=False, sep=";")
    with pytest.raises(InputError, match="'Texture' holds decimal commas, or commas between thousands"):
        read(tmp_path / "s.csv")


@pytest.mark.parametrize("index", ["RangeIndex", "shuffled", "named"])
def test_row_numbers_of_pandas_are_no_feature(
    profiles: pd.DataFrame, plain: Reading, tmp_path: Path, index: str
) -> None:
    frame = profiles.copy()
    if index == "shuffled":
        frame.index = pd.Index(np.random.default_rng(0).permutation(len(frame)))
    frame.index.name = "index" if index == "named" else None
    frame.to_csv(tmp_path / "s.csv")
    columns = [*frame.columns, "__index_level_0__"]
    table = pa.Table.from_pandas(frame.reset_index(names="__index_level_0__")[columns], preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "s.parquet")
    for name, column in (("s.csv", frame.index.name or "Unnamed: 0"), ("s.parquet", "__index_level_0__")):
        found = read(tmp_path / name)
        assert found.screen.fingerprint == plain.screen.fingerprint
        assert found.account.left_out == {"row numbers": (column,)}


@pytest.mark.parametrize(
    "kind", [pa.decimal128(38, 9), pa.decimal256(50, 9), pa.float16(), pa.float64(), pa.large_string()]
)
def test_arrow_types_of_numbers(profiles: pd.DataFrame, tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.Table.from_pandas(profiles, preserve_index=False)
    for name in FEATURES:
        values = np.round(profiles[name].to_numpy(np.float64), 3)
        given = [str(value) for value in values] if kind == pa.large_string() else values
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(given).cast(kind))
    pq.write_table(table, tmp_path / "s.parquet")
    found = read(tmp_path / "s.parquet")
    assert found.screen.feature_names == tuple(FEATURES)
    np.testing.assert_allclose(found.screen.features, profiles[FEATURES].round(3).to_numpy(), atol=2e-3)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 3), pa.large_list(pa.float64())])
def test_arrow_lists(profiles: pd.DataFrame, tmp_path: Path, kind: pa.DataType) -> None:
    rows = profiles[FEATURES].to_numpy()
    table = pa.Table.from_pandas(profiles.drop(columns=FEATURES).assign(n_cells=7), preserve_index=False)
    pq.write_table(table.append_column("embedding", pa.array(rows.tolist(), kind)), tmp_path / "s.parquet")
    found = read(tmp_path / "s.parquet")
    np.testing.assert_array_equal(found.screen.features, rows)
    assert found.screen.feature_names == ("embedding_0", "embedding_1", "embedding_2")
    assert found.account.left_out == {"counts": ("n_cells",)}


@pytest.fixture
def data(profiles: pd.DataFrame) -> anndata.AnnData:
    """X, a layer and two embeddings, each a multiple of the features."""
    obs = profiles.drop(columns=FEATURES).set_index(profiles.index.astype(str))
    values = profiles[FEATURES].to_numpy(np.float32)
    made = anndata.AnnData(values, obs=obs, var=pd.DataFrame(index=FEATURES))
    made.layers["scaled"] = sparse.csr_matrix(2 * values)
    made.obsm["X_pca_harmony"] = 3 * values[:, :2]
    made.obsm["X_umap"] = 4 * values[:, :2]
    return made


@pytest.mark.parametrize(
    ("matrix", "factor", "choice"),
    [
        (None, 1, "X"),
        ("X", 1, "X"),
        ("layers/scaled", 2, "layers/scaled"),
        ("scaled", 2, "layers/scaled"),
        ("obsm/X_umap", 4, "obsm/X_umap"),
        ("X_pca_harmony", 3, "obsm/X_pca_harmony"),
    ],
)
def test_a_matrix_of_h5ad_is_chosen_and_said(
    data: anndata.AnnData, profiles: pd.DataFrame, tmp_path: Path, matrix: str | None, factor: int, choice: str
) -> None:
    data.write_h5ad(tmp_path / "s.h5ad")
    found = read(tmp_path / "s.h5ad", matrix=matrix)
    width = found.screen.features.shape[1]
    assert width == (2 if choice.startswith("obsm") else 3)
    np.testing.assert_array_equal(found.screen.features, factor * profiles[FEATURES[:width]].to_numpy())
    assert found.account.families == {choice: width}
    (note,) = found.account.notes
    others = {"X", "layers/scaled", "obsm/X_pca_harmony", "obsm/X_umap"} - {choice}
    assert note.startswith(f"features are {choice}; the file also holds")
    assert all(name in note for name in others)


def test_an_h5ad_without_x(data: anndata.AnnData, tmp_path: Path) -> None:
    bare = anndata.AnnData(obs=data.obs, obsm={"X_pca": data.obsm["X_pca_harmony"]})
    bare.write_h5ad(tmp_path / "one.h5ad")
    assert read(tmp_path / "one.h5ad").account.families == {"obsm/X_pca": 2}
    bare.obsm["X_umap"] = data.obsm["X_umap"]
    bare.write_h5ad(tmp_path / "two.h5ad")
    with pytest.raises(InputError, match="has no X; choose one with matrix: obsm/X_pca, obsm/X_umap"):
        read(tmp_path / "two.h5ad")
    with pytest.raises(InputError, match="matrix 'X_tsne' does not exist; it holds obsm/X_pca, obsm/X_umap"):
        read(tmp_path / "two.h5ad", matrix="X_tsne")


def gct(frame: pd.DataFrame, features: list[str], version: str = "#1.3") -> str:
    """A table as GCT: rows are features; the metadata's names without prefix, as pycytominer writes them."""
    described = [name for name in frame if name not in features]
    lines = [[version], [len(features), len(frame), 1, len(described)]]
    lines.append(["id", "cp_feature_name", *(f"S{row}" for row in range(len(frame)))])
    lines += [[name.removeprefix("Metadata_"), "NA", *frame[name].fillna("NA")] for name in described]
    lines += [[f"cp_{place}", name, *frame[name]] for place, name in enumerate(features)]
    return "\n".join("\t".join(map(str, line)) for line in lines) + "\n"


def test_gct(profiles: pd.DataFrame, plain: Reading, tmp_path: Path) -> None:
    (tmp_path / "s.gct").write_text(gct(profiles, FEATURES))
    found = read(tmp_path / "s.gct")
    np.testing.assert_array_equal(found.screen.features, plain.screen.features)
    assert found.screen.feature_names == tuple(FEATURES)
    for name in ("batch", "plate", "well", "perturbation", "control_type", "target"):
        pd.testing.assert_series_equal(found.screen.wells[name], plain.screen.wells[name])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("#1.3", "#1.2"), "first line is '#1.2', expected '#1.3'"),
        (lambda text: text.replace("#1.3\n3\t", "#1.3\nx\t"), "line 2 must give 4 numbers"),
        (
            lambda text: text.replace("#1.3\n3\t", "#1.3\n9\t"),
            "cut off or has short lines: line 2 announces 9 features",
        ),
        (lambda text: text.replace("#1.3\n3\t", "#1.3\n-3\t"), "line 2 announces -3 rows or columns"),
        (lambda text: text[: len(text) // 2], "cut off"),
        (lambda _: "", "first line is ''"),
        (lambda text: text.replace("\tAreaShape\t", "\tTexture\t"), "repeated columns 'Texture'"),
    ],
)
def test_a_gct_that_is_none(profiles: pd.DataFrame, tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    (tmp_path / "s.gct").write_text(change(gct(profiles, FEATURES)))
    with pytest.raises(InputError, match=words):
        read(tmp_path / "s.gct")


def test_npz(profiles: pd.DataFrame, plain: Reading, tmp_path: Path) -> None:
    described = {name: profiles[name].fillna("").to_numpy(dtype=str) for name in profiles.drop(columns=FEATURES)}
    values = profiles[FEATURES].to_numpy()
    np.savez(tmp_path / "s.npz", features=values, feature_names=np.array(FEATURES), **described)
    assert read(tmp_path / "s.npz").screen.fingerprint == plain.screen.fingerprint
    np.savez(tmp_path / "two.npz", a=values, b=2 * values, **described)
    with pytest.raises(InputError, match="which array holds the features\\? choose with matrix"):
        read(tmp_path / "two.npz")
    assert read(tmp_path / "two.npz", matrix="b").screen.features[0, 0] == 2 * values[0, 0]
    np.savez(tmp_path / "deep.npz", features=values, metadata=np.array({"Metadata_Well": "A01"}, dtype=object))
    with pytest.raises(InputError, match="'metadata' would have to be unpickled, which is not done"):
        read(tmp_path / "deep.npz")


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.csv.gz", "s.h5ad", "s.gct", "s.npz"])
@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_are_one_line(
    profiles: pd.DataFrame, data: anndata.AnnData, tmp_path: Path, name: str, seed: int
) -> None:
    """Bytes swapped, cut, doubled or turned: a table, or one line that names the file; never another exception."""
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name.endswith(".parquet"):
            profiles.to_parquet(path)
        elif name.endswith(".h5ad"):
            data.write_h5ad(path)
        elif name.endswith(".gct"):
            path.write_text(gct(profiles, FEATURES))
        elif name.endswith(".npz"):
            np.savez(path, features=profiles[FEATURES].to_numpy(), Metadata_Plate=np.arange(36))
        else:
            profiles.to_csv(path, index=False)
    whole = path.read_bytes()
    rng = np.random.default_rng(seed)
    content = bytearray(whole)
    place, other = sorted(rng.integers(0, len(content), 2))
    if seed % 4 == 0:
        content = content[:other]
    elif seed % 4 == 1:
        content[place : place + 16], content[other : other + 16] = (
            content[other : other + 16],
            content[place : place + 16],
        )
    elif seed % 4 == 2:
        content = content[:other] + content[place:]
    else:
        for at in rng.integers(0, len(content), 20):
            content[at] = int(rng.integers(0, 256))
    path.write_bytes(bytes(content))
    try:
        read(path)
    except InputError as error:
        said = str(error)
    else:
        return
    assert said.startswith(str(path))
    assert "\n" not in said


def test_pandas_metadata_that_is_no_json(profiles: pd.DataFrame, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(profiles)
    spoilt = table.schema.metadata[b"pandas"].replace(b"{", b"\x01{", 1)
    pq.write_table(table.replace_schema_metadata({b"pandas": spoilt}), tmp_path / "s.parquet")
    with pytest.raises(json.JSONDecodeError):
        pq.read_table(tmp_path / "s.parquet").to_pandas()
    with pytest.raises(InputError, match=r"s\.parquet: not a readable Parquet file"):
        read_table(tmp_path / "s.parquet")


@pytest.fixture
def deep(profiles: pd.DataFrame, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """DeepProfiler's folder of 36 sites with 0 to 4 cells of 5 dimensions, and the means of the cells."""
    rng = np.random.default_rng(2)
    folder = tmp_path / "deep"
    index = profiles.drop(columns=FEATURES).assign(Metadata_Site=1, DNA="images/a.tif")
    index["Metadata_Plate"] = index["Metadata_Batch"] + index["Metadata_Plate"]
    means = np.full((len(index), 5), np.nan, dtype=np.float32)
    for row, (plate, well) in enumerate(zip(index["Metadata_Plate"], index["Metadata_Well"], strict=True)):
        cells = rng.standard_normal((row % 5, 5)).astype(np.float32)
        means[row] = cells.mean(axis=0) if len(cells) else np.nan
        file = folder / "features" / plate / (f"{well}/1.npz" if row % 2 else f"{well}_1.npz")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, features=cells, metadata=np.array({"Metadata_Well": well}, dtype=object))
    index.to_csv(folder / "index.csv", index=False)
    return folder, means


def test_deep_profiler(deep: tuple[Path, np.ndarray]) -> None:
    folder, means = deep
    with pytest.raises(InputError, match="40 feature values in 5 columns are NaN"):
        read(folder)
    found = read(folder, missing="drop_rows")
    whole = np.isfinite(means).all(axis=1)
    np.testing.assert_allclose(found.screen.features, means[whole], rtol=1e-5, atol=1e-6)
    assert found.account.families == {"DeepProfiler features": 5}
    assert found.account.columns["site"] == "Metadata_Site"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda folder: (folder / "features/E1Plate1/A02/1.npz").unlink(),
            r"1 of 36 sites .* \('E1Plate1/A02/1.npz'\)",
        ),
        (lambda folder: np.savez(folder / "features/E1Plate1/A02/1.npz", x=1), "holds no array 'features'"),
        (lambda folder: np.savez(folder / "features/E1Plate1/A02/1.npz", features=np.ones(3)), "expected cells × dim"),
        (
            lambda folder: np.savez(folder / "features/E1Plate1/A02/1.npz", features=np.ones((2, 3))),
            "have 3 dimensions",
        ),
        (lambda folder: (folder / "features/E1Plate1/A02/1.npz").write_bytes(b"PK"), "not a readable .npz file"),
        (lambda folder: (folder / "index.csv").write_text("Metadata_Plate\nE1\n"), "lacks the columns 'Metadata_Well'"),
        (lambda folder: (folder / "index.csv").unlink(), "is a folder, expected one of"),
    ],
)
def test_a_deep_profiler_folder_that_is_none(
    deep: tuple[Path, np.ndarray], change: Callable[[Path], object], words: str
) -> None:
    change(deep[0])
    with pytest.raises(InputError, match=words):
        read(deep[0], missing="drop_rows")
