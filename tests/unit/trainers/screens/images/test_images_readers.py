"""Readers list what the metadata say; the real RxRx1 metadata and images come out as published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from trainers.errors import InputError
from trainers.screens.images.listing import Listing
from trainers.screens.images.manifest import open_packed
from trainers.screens.images.packing import pack
from trainers.screens.images.plate_folder import RXRX1_CHANNELS, PlateFolder
from trainers.screens.images.plates import list_plates
from trainers.screens.images.wilds_rxrx1 import MIXED_TO_TEST, list_wilds
from trainers.screens.splits import fold_count, make_split
from trainers.screens.view_spec import ViewSpec

SHARED = Path(__file__).resolve().parents[6] / "shared" / "data"
VALIDATION = ("HEPG2-08", "HUVEC-17", "RPE-08", "U2OS-04")
"""The 4 experiments of WILDS' out-of-distribution validation set."""


def release(name: str) -> Path:
    """A file or folder of the real release, if it lies beside the project."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real data absent: {path}")
    return path


def real_metadata() -> pd.DataFrame:
    """The real table of 125,510 sites; the 39,794 whose class was never published get one each, so that all exist."""
    path = release("rxrx1_metadata/DERIVED_metadata_release_schema.csv.gz")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    hidden = (table["sirna_id"] == "").to_numpy()
    wells = pd.factorize(table.loc[hidden, "well_id"])[0]
    table.loc[hidden, "sirna_id"] = (wells % 1108).astype(str)
    table.loc[table["experiment"].isin(VALIDATION), "dataset"] = "val"
    return table


def wilds_root(root: Path, table: pd.DataFrame) -> Path:
    """A folder in the layout of the `wilds` package, without images."""
    (root / "rxrx1_v1.0").mkdir()
    (root / "rxrx1_v1.0" / "RELEASE_v1.0.txt").write_text("")
    table.to_csv(root / "rxrx1_v1.0" / "metadata.csv", index=False)
    return root


@pytest.fixture(scope="module")
def wilds_listing(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    """The whole of RxRx1-WILDS."""
    return list_wilds(wilds_root(tmp_path_factory.mktemp("wilds"), real_metadata()))


def test_rxrx1_wilds_has_the_published_sizes(wilds_listing: Listing) -> None:
    wells = wilds_listing.wells
    assert len(wells) == 125_510
    assert wells["batch"].nunique() == 51
    assert wells["perturbation"].nunique() == 1_139
    assert wells.groupby("cell_type")["batch"].nunique().to_dict() == {"HEPG2": 11, "HUVEC": 24, "RPE": 11, "U2OS": 5}
    assert wells["split"].value_counts().to_dict() == {
        "train": 40_612,
        "id_test": 40_612,
        "val": 9_854,
        "test": 34_432,
    }
    assert wells["control_type"].value_counts().to_dict() == {"treatment": 112824, "positive": 12194, "negative": 492}
    assert wells.loc[wells["control_type"] == "negative", "perturbation"].unique().tolist() == ["1138"]
    assert wilds_listing.channels == ("nuclei", "ER", "actin")
    assert wilds_listing.paths[0, 0] == "images/HEPG2-01/Plate1/B02_s1.png"
    assert wells.loc[0, ["batch", "plate", "well", "site"]].tolist() == ["HEPG2-01", "HEPG2-01/1", "B02", 1]


def test_the_official_view_is_the_published_split(wilds_listing: Listing) -> None:
    wells = wilds_listing.wells
    split = make_split(wells, ViewSpec(view="official"), fold=0, seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == (40_612, 40_612, 34_432)
    assert wells["batch"].iloc[split.train].nunique() == 33
    assert wells["batch"].iloc[split.test].nunique() == 14
    assert not set(wells["batch"].iloc[split.train]) & set(wells["batch"].iloc[split.test])
    chosen = make_split(wells, ViewSpec(view="official", held_out=("val",)), fold=0, seed=0)
    assert set(wells["batch"].iloc[chosen.test]) == set(VALIDATION)


def test_the_validation_part_can_be_scored_beside_the_test_part(wilds_listing: Listing) -> None:
    """What a ladder is selected on and tested on: 4 and 14 whole experiments, of every cell type."""
    wells = wilds_listing.wells
    split = make_split(wells, ViewSpec(view="official", held_out=("val", "test")), fold=0, seed=0)
    held = wells.iloc[split.test]
    assert held["split"].value_counts().to_dict() == {"val": 9_854, "test": 34_432}
    assert held.groupby("split")["batch"].nunique().to_dict() == {"val": 4, "test": 14}
    assert held.groupby("batch")["split"].nunique().max() == 1
    assert held.groupby("split")["cell_type"].nunique().to_dict() == {"val": 4, "test": 4}
    places = pd.MultiIndex.from_frame(wells[["plate", "well"]])
    assert places[split.validation].isin(places[split.train]).all(), "id_test: every row is a second site of training"


def test_sizes_of_held_out_cell_types_and_plates(wilds_listing: Listing) -> None:
    wells = wilds_listing.wells
    spec = ViewSpec(view="held_out_cell_types")
    sizes = {}
    for fold in range(fold_count(spec, wells)):
        split = make_split(wells, spec, fold=fold, seed=0)
        (kind,) = set(wells["cell_type"].iloc[split.test])
        assert len(split.train) + len(split.test) == 125_510
        sizes[kind] = (len(split.test), wells["batch"].iloc[split.test].nunique())
    assert sizes == {"HEPG2": (27_094, 11), "HUVEC": (59_050, 24), "RPE": (27_070, 11), "U2OS": (12_296, 5)}
    table = real_metadata()
    assert table["cell_type"].value_counts().to_dict() == {kind: size for kind, (size, _) in sizes.items()}
    plates = make_split(wells, ViewSpec(view="held_out_plates", fraction=0.25), fold=0, seed=0)
    held = wells.iloc[plates.test].groupby("batch")["plate"].nunique()
    assert held.to_dict() == dict.fromkeys(wells["batch"].unique(), 1), "one plate of four in each of 51 experiments"
    assert wells["plate"].iloc[plates.train].nunique() == 153


@pytest.mark.slow
def test_all_images_as_placeholders_are_packed_and_split_as_published(wilds_listing: Listing, tmp_path: Path) -> None:
    """The real table, and 125,510 files of 8×8 pixels in the place of images that may not be shipped."""
    templates = [tmp_path / f"template{number}.png" for number in range(4)]  # a file has a limit of links
    for number, template in enumerate(templates):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(template)
    listing = Listing("wilds", tmp_path / "files", wilds_listing.wells, wilds_listing.paths, wilds_listing.channels)
    for folder in {(listing.root / path).parent for path in listing.paths[:, 0]}:
        folder.mkdir(parents=True)
    for row, path in enumerate(listing.paths[:, 0]):
        (listing.root / path).hardlink_to(templates[row % len(templates)])
    pack(listing, tmp_path / "packed")
    shutil.rmtree(listing.root)  # pytest keeps what is left
    screen = open_packed(tmp_path / "packed", verify=True)
    assert screen.images.shape == (125_510, 3, 8, 8)
    split = make_split(screen.wells, ViewSpec(view="official"), fold=0, seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == (40_612, 40_612, 34_432)
    assert screen.wells["batch"].nunique() == 51


def test_mixed_to_test_shares_wells_and_must_be_asked_for(tmp_path: Path) -> None:
    table = real_metadata()
    quarter = table[table["plate"] == "1"].assign(sirna_id=lambda t: pd.factorize(t["sirna_id"])[0])
    wells = list_wilds(wilds_root(tmp_path, quarter), mixed_to_test=True).wells
    tested = ((wells["split"] == "test") & (wells["site"] == 2)).to_numpy(dtype=bool)
    assert wells.loc[wells[MIXED_TO_TEST] == "train", "batch"].nunique() == 33
    count = int(tested.sum())
    with pytest.raises(InputError, match=rf"puts sites of {count} wells into both train and test .*shared_wells"):
        make_split(wells, ViewSpec(view="official", column=MIXED_TO_TEST), fold=0, seed=0)
    split = make_split(wells, ViewSpec(view="official", column=MIXED_TO_TEST, shared_wells=True), fold=0, seed=0)
    np.testing.assert_array_equal(split.test, np.flatnonzero(tested))
    assert set(wells["site"].iloc[split.train]) == {1}


@pytest.mark.parametrize(
    "spec",
    [
        ViewSpec(view="held_out_plates", fraction=0.25, validation_fraction=0.3),
        ViewSpec(view="held_out_plates", column="well", fraction=0.1),
        ViewSpec(view="held_out_batches", folds=5, validation_fraction=0.3),
        ViewSpec(view="held_out_cell_types"),
    ],
)
def test_no_well_lies_on_both_sides(wilds_listing: Listing, spec: ViewSpec) -> None:
    wells = wilds_listing.wells
    place = pd.MultiIndex.from_frame(wells[["plate", "well"]])
    for fold in range(fold_count(spec, wells)):
        split = make_split(wells, spec, fold=fold, seed=3)
        test = place[split.test].unique()
        assert not test.isin(place[split.train]).any()
        assert not test.isin(place[split.validation]).any()
        assert not place[split.validation].isin(place[split.train]).any()
        if spec.view == "held_out_cell_types":
            assert len(set(wells["cell_type"].iloc[split.test])) == 1
            assert len(set(wells["cell_type"].iloc[split.train])) == 3


def test_the_whole_rxrx1_release_is_listed(tmp_path: Path) -> None:
    real_metadata().to_csv(tmp_path / "metadata.csv", index=False)
    listing = list_plates(PlateFolder(path=tmp_path))
    assert listing.layout == "rxrx1"
    assert listing.paths.shape == (125_510, 6)
    assert listing.wells["batch"].nunique() == 51
    assert listing.paths[-1, 5] == "images/U2OS-05/Plate4/O23_s2_w6.png"


def test_rows_without_a_perturbation_are_refused_or_left_out() -> None:
    folder = PlateFolder(
        path=release("rxrx1_metadata"), metadata=Path("DERIVED_metadata_release_schema.csv.gz"), unlabelled="fail"
    )
    with pytest.raises(InputError, match=r"'sirna_id' is empty in 39794 rows"):
        list_plates(folder)
    assert len(list_plates(folder.model_copy(update={"unlabelled": "drop"}))) == 125_510 - 39_794


def test_the_real_images_are_packed_as_pillow_decodes_them(tmp_path: Path) -> None:
    root = release("rxrx1_b02_images")
    index = pd.read_csv(root / "index.csv", dtype=str)
    sites = index[index["site"] == "1"].drop_duplicates(["experiment", "plate", "well"])
    table = sites[["dataset", "experiment", "cell_type", "plate", "well", "site"]].assign(
        well_type="negative_control", sirna_id="1138"
    )
    table.to_csv(tmp_path / "metadata.csv", index=False)
    listing = list_plates(PlateFolder(path=root, metadata=tmp_path / "metadata.csv"))
    manifest = pack(listing, tmp_path / "packed")
    assert manifest.shape == (18, 6, 512, 512)
    screen = open_packed(tmp_path / "packed", verify=True)
    assert screen.channels == RXRX1_CHANNELS
    assert screen.wells["batch"].nunique() == 5
    for row, well in screen.wells.iterrows():
        folder = root / "images" / well["batch"] / f"Plate{well['plate'].split('/')[1]}"
        for channel in range(6):
            with Image.open(folder / f"{well['well']}_s{well['site']}_w{channel + 1}.png") as image:
                np.testing.assert_array_equal(screen.images[row, channel], np.asarray(image))
    measured = index[(index["site"] == "1") & (index["channel"] == "1")].set_index(["experiment", "plate"])["mean"]
    for row, (batch, plate) in enumerate(screen.wells[["batch", "plate"]].to_numpy()):
        assert abs(screen.images[row, 0].mean() - float(measured[batch, plate.split("/")[1]])) < 5e-3


def test_real_sites_without_all_channels_are_named(tmp_path: Path) -> None:
    root = release("rxrx1_b02_images")
    index = pd.read_csv(root / "index.csv", dtype=str)
    sites = index.drop_duplicates(["experiment", "plate", "well", "site"])  # site 2 lacks channels 5 and 6
    sites.assign(well_type="negative_control", sirna_id="1138").to_csv(tmp_path / "metadata.csv", index=False)
    listing = list_plates(PlateFolder(path=root, metadata=tmp_path / "metadata.csv"))
    with pytest.raises(
        InputError, match=r"18 of 36 images cannot be used \(18 missing\): images/.*_s2_w5\.png: missing"
    ):
        pack(listing, tmp_path / "packed")
    manifest = pack(listing, tmp_path / "packed", on_bad="drop")
    assert manifest.shape[0] == 18
    assert len(manifest.dropped) == 18


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., PlateFolder]:
    """A small plate folder with names of its own."""

    def build(**changes: object) -> PlateFolder:
        rows = [(f"run{b}", f"0{p}", f"a{w}", str(s)) for b in (1, 2) for p in (1, 2) for w in (1, 2) for s in (0, 1)]
        table = pd.DataFrame(rows, columns=["run", "barcode", "position", "field"])
        table["gene"] = ["NA" if row[2] == "a1" else "TP53" for row in rows]
        table.to_csv(tmp_path / "layout.csv", index=False)
        given: dict[str, object] = {
            "path": tmp_path,
            "metadata": "layout.csv",
            "pattern": "{run}/{barcode}/{position}-{field}_{name}.tif",
            "channels": ("DNA", "ER"),
            "columns": {
                "batch": "run",
                "plate": "barcode",
                "well": "position",
                "site": "field",
                "perturbation": "gene",
            },
            "negative_controls": ("NA",),
        }
        return PlateFolder.model_validate(given | changes)

    return build


def test_a_plate_folder_of_ones_own(folder: Callable[..., PlateFolder]) -> None:
    listing = list_plates(folder())
    assert listing.layout == "plates"
    # Paths are spelt as the table spells them ("01", "a1"); wells have their canonical names.
    assert listing.paths[0].tolist() == ["run1/01/a1-0_DNA.tif", "run1/01/a1-0_ER.tif"]
    assert listing.wells.loc[0, ["plate", "well", "site", "perturbation", "control_type"]].tolist() == [
        "run1/01",
        "A01",
        0,
        "NA",
        "negative",
    ]
    together = list_plates(folder(pattern="{run}/{barcode}/{position}-{field}.png"))
    assert together.paths.shape == (16, 1)
    assert together.channels_per_file == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nowhere"}, "no such folder"),
        ({"metadata": "absent.csv"}, r"absent\.csv"),
        ({"pattern": "{run}/{plat}_{channel}.png"}, r"no value for \{plat\} in .*nearest: 'plate'"),
        ({"pattern": "{run}/{barcode}_{channel}.png"}, r"16 files|listed twice"),
        ({"columns": {"batch": "runs"}}, r"'runs' \(for batch\) does not exist; nearest: 'run'"),
        ({"negative_controls": ("DMSO",)}, "negative control 'DMSO' does not exist"),
    ],
)
def test_a_wrong_plate_folder_is_one_clear_line(
    folder: Callable[..., PlateFolder], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as told:
        list_plates(folder(**changes))
    assert "\n" not in str(told.value)


def test_repeated_rows_and_unknown_columns_are_refused(folder: Callable[..., PlateFolder]) -> None:
    spec = folder()
    table = pd.read_csv(spec.path / "layout.csv", dtype=str, keep_default_na=False)
    pd.concat([table, table.iloc[[3]]]).to_csv(spec.path / "layout.csv", index=False)
    with pytest.raises(InputError, match="1 rows repeat a well"):
        list_plates(spec)
    with pytest.raises(ValidationError, match="'experiment' is no column of a screen"):
        folder(columns={"experiment": "run"})


def test_wilds_that_is_not_there_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no rxrx1_v1\.0; .*download"):
        list_wilds(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    (tmp_path / "data" / "rxrx1_v1.0").mkdir(parents=True)
    with pytest.raises(InputError, match=r"RELEASE_v1\.0\.txt is missing"):
        list_wilds(tmp_path / "data")
    (tmp_path / "data" / "rxrx1_v1.0" / "RELEASE_v1.0.txt").write_text("")
    with pytest.raises(InputError, match=r"metadata\.csv is missing"):
        list_wilds(tmp_path / "data")
    columns = "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id"
    rows = [f"x,x,HUVEC,train,HUVEC-0{e},1,B02,1,treatment,,{e * 2}" for e in (0, 1)]
    (tmp_path / "data" / "rxrx1_v1.0" / "metadata.csv").write_text("\n".join([columns, *rows]) + "\n")
    with pytest.raises(InputError, match="sirna_id must number the classes"):
        list_wilds(tmp_path / "data")
