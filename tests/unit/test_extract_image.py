import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.pictures import open_pictures
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract import (
    Absent,
    DescriptorImage,
    ModelImage,
    Work,
    encode_items,
    extract_images,
    load_encoder,
    resolve_image,
)
from tmmsrec.extract.base import Encoder
from tmmsrec.extract.decode import decode
from tmmsrec.extract.descriptors import WIDTH, describe
from tmmsrec.values import from_json, to_json

HUES = ("red", "blue", "green", "black", "orange")


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def drawn(n: int) -> bytes:
    """A garment of sorts: colour by n % 5, form by n // 5 % 2, the rest noise."""
    rng = np.random.default_rng(n)
    pixels = rng.integers(235, 256, (48, 32, 3), dtype=np.uint8)
    colour = Image.new("RGB", (1, 1), HUES[n % 5]).getpixel((0, 0))
    if n // 5 % 2:
        pixels[6:42, 12:20] = colour
    else:
        pixels[16:30, 3:29] = colour
    return file(Image.fromarray(pixels))


PICTURES = [drawn(n) for n in range(40)]


class Drawer:
    """Pictures by name, kept in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, name: str) -> bytes | None:
        if name == "locked":
            raise OSError("permission denied")
        return self.files.get(name)


def shop(names: list[str | None]) -> Dataset:
    log = Interactions.of(np.zeros(2, int), np.array([1, 1]), np.array([1, 2]))
    return Dataset.in_memory("shop", log, len(names), fields=pa.table({"image": pa.array(names, pa.string())}))


# ---- decoding


def reason(data: bytes) -> str:
    found = decode(data, 64)
    assert isinstance(found, Absent)
    return found.reason


def test_what_is_no_picture_is_absent_with_its_reason():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8))
    assert "0 bytes" in reason(b"")
    assert "not a picture" in reason(b"<html>404</html>")
    assert "not a picture" in reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage")
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        whole = file(noise, kind)
        assert re.search("damaged|not a picture", reason(whole[: len(whole) // 2])), kind
        for cut in (1, 4, 12, 30):
            assert isinstance(decode(whole[:cut], 64), Absent)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_claims_to_be_huge_is_never_decoded():
    small = file(Image.new("L", (8, 8)), "PPM")
    for side in (b"12000 12000", b"90000 90000"):
        assert "89 million" in reason(small.replace(b"8 8", side))


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (Image.new("L", (30, 20), 120), "PNG", {}),
        (Image.new("1", (30, 20), 1), "PNG", {}),
        (Image.new("P", (30, 20), 3), "GIF", {}),
        (Image.new("CMYK", (30, 20), (10, 200, 30, 0)), "JPEG", {}),
        (Image.new("LA", (30, 20), (9, 0)), "PNG", {}),
        (Image.new("RGBA", (30, 20), (9, 9, 9, 0)), "WEBP", {}),
        (Image.new("RGB", (1, 1), "red"), "PNG", {}),
        (Image.new("RGB", (4000, 2), "red"), "JPEG", {}),
        (Image.new("I;16", (30, 20), 40_000), "TIFF", {}),
        (Image.new("F", (30, 20), 0.5), "TIFF", {}),
        (Image.new("RGB", (30, 20), "red"), "GIF", {"save_all": True, "append_images": [Image.new("RGB", (30, 20), "blue")]}),
    ],
)
def test_all_kinds_of_pictures_give_finite_descriptors(image, kind, options):
    found = decode(file(image, kind, **options), 64)
    assert isinstance(found, Image.Image)
    assert found.mode == "RGB"
    described = describe(found)
    assert described.shape == (WIDTH,)
    assert np.isfinite(described).all()


def test_transparent_is_white_deep_is_scaled_animated_is_its_first_frame():
    def middle(data: bytes) -> tuple[int, ...]:
        found = decode(data, 64)
        assert isinstance(found, Image.Image)
        return found.getpixel((found.width // 2, found.height // 2))  # type: ignore[return-value]

    assert middle(file(Image.new("RGBA", (9, 9), (0, 0, 0, 0)))) == (255, 255, 255)
    palette = Image.new("P", (9, 9), 0)
    palette.putpalette([10, 20, 30] * 256)
    assert middle(file(palette)) == (10, 20, 30)
    assert middle(file(palette, transparency=0)) == (255, 255, 255)
    assert middle(file(Image.new("I;16", (9, 9), 257 * 100))) == (100, 100, 100)
    frames = [Image.new("RGB", (9, 9), c) for c in ("red", "blue")]
    assert middle(file(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_undone(turn):
    from PIL import ImageOps

    left_red = Image.new("RGB", (40, 24), "white")
    left_red.paste("red", (0, 0, 10, 24))
    left_red.paste("blue", (0, 0, 40, 4))
    exif = Image.Exif()
    exif[0x0112] = turn
    data = file(left_red, "PNG", exif=exif)
    found = decode(data, 64)
    assert isinstance(found, Image.Image)
    assert np.array_equal(np.asarray(found), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")))


# ---- descriptors


def test_neighbours_share_colour_and_form():
    _, done = DescriptorImage(width=16).fit_encode(PICTURES, Work(workers=1))
    assert done.present.all()
    np.testing.assert_allclose(np.linalg.norm(done.rows, axis=1), 1, atol=1e-5)
    likeness = done.rows @ done.rows.T
    np.fill_diagonal(likeness, -9)
    nearest = likeness.argsort(axis=1)[:, -3:]
    assert (nearest % 10 == np.arange(40)[:, None] % 10).mean() > 0.95


def test_rows_do_not_depend_on_order_or_workers():
    turn = np.random.default_rng(0).permutation(40)
    fitted, one = DescriptorImage(width=16).fit_encode(PICTURES, Work(workers=1))
    _, four = DescriptorImage(width=16).fit_encode(PICTURES, Work(workers=4))
    again, turned = DescriptorImage(width=16).fit_encode([PICTURES[i] for i in turn], Work(workers=3))
    assert np.array_equal(one.rows, four.rows)
    assert np.array_equal(fitted.reducer.components, again.reducer.components)
    np.testing.assert_allclose(one.rows[turn], turned.rows, atol=1e-6)


def test_a_saved_encoder_gives_the_same_rows_and_alone_is_as_in_a_batch(tmp_path):
    fitted = DescriptorImage(width=16).fit(PICTURES)
    fitted.save(tmp_path / "image")
    again = load_encoder(tmp_path / "image")
    rows, present = again.encode([*PICTURES, None])
    assert np.array_equal(rows, fitted.encode([*PICTURES, None])[0])
    assert present.tolist() == [True] * 40 + [False]
    for i in (0, 17):
        np.testing.assert_allclose(again.encode(PICTURES[i : i + 1])[0][0], rows[i], atol=1e-5)
    about = json.loads((tmp_path / "image" / "encoder.json").read_text())
    about["state"]["descriptors"] = 0
    (tmp_path / "image" / "encoder.json").write_text(json.dumps(about))
    with pytest.raises(DataProblem, match="descriptors version 0"):
        load_encoder(tmp_path / "image")


def test_width_is_what_the_pictures_support_and_equal_pictures_are_refused():
    assert DescriptorImage(width=128).fit(PICTURES[:3]).width == 2
    with pytest.raises(DataProblem, match="look alike"):
        DescriptorImage().fit([PICTURES[0]] * 5)
    with pytest.raises(DataProblem, match=r"none of 2 items has a picture.*1 x not a picture"):
        DescriptorImage().fit([b"junk", None])


# ---- the whole catalogue


def messy() -> tuple[Dataset, Drawer]:
    files = {f"{i}.png": data for i, data in enumerate(PICTURES)}
    files |= {"broken.png": PICTURES[0][:200], "text.png": b"not found", "empty.png": b""}
    names = [*(f"{i}.png" for i in range(40)), "broken.png", "text.png", "empty.png", "gone.png", None, "locked", "0.png"]
    return shop(names), Drawer(files)


def test_bad_pictures_are_absent_listed_and_never_fatal(tmp_path):
    dataset, drawer = messy()
    features, _ = extract_images(dataset, DescriptorImage(width=8), drawer, report=tmp_path / "absent.parquet")
    features.check("image", 47)
    absent = [0, *range(41, 47)]
    assert np.flatnonzero(~features.present).tolist() == absent
    assert not features.rows[absent].any()
    assert features.rows[features.present].any(axis=1).all()
    assert np.array_equal(features.rows[47], features.rows[1])
    reasons = {r["item"]: r["reason"] for r in pq.read_table(tmp_path / "absent.parquet").to_pylist()}
    assert sorted(reasons) == absent[1:]
    for item, said in {
        41: "damaged",
        42: "not a picture",
        43: "0 bytes",
        44: "not found",
        45: "named no picture",
        46: "permission denied",
    }.items():
        assert said in reasons[item]
    missing = json.loads(json.dumps(features.provenance))["missing"]
    assert missing["count"] == 6
    assert len(missing["first"]) == 6
    assert features.provenance["coverage"] == pytest.approx(41 / 47)
    assert features.provenance["fitted_on"].startswith("41 items")


def test_the_second_run_makes_only_what_is_new(tmp_path, monkeypatch):
    from tmmsrec.extract import image as module

    dataset, drawer = messy()
    first, _ = extract_images(dataset, DescriptorImage(width=8), drawer, cache=tmp_path)
    made: list[bytes] = []
    whole = module.decode
    monkeypatch.setattr(module, "decode", lambda data, at_least: made.append(data) or whole(data, at_least))
    again, _ = extract_images(dataset, DescriptorImage(width=8), drawer, cache=tmp_path)
    assert np.array_equal(first.rows, again.rows)
    assert again.provenance["from_cache"] == 40
    assert set(made) == {drawer.files["broken.png"], b"not found"}
    made.clear()
    drawer.files["0.png"] = drawn(99)
    extract_images(dataset, DescriptorImage(width=20), drawer, cache=tmp_path)
    assert drawer.files["0.png"] in made
    assert len(set(made)) == 3


def test_pictures_of_the_data_room_are_read_with_their_reasons(tmp_path):
    for i, data in enumerate(PICTURES):
        (tmp_path / f"{i}.png").write_bytes(data)
    pictures = open_pictures(tmp_path)
    names = pictures.resolve([str(i) for i in range(41)], [f"{i}.png" for i in range(41)])
    features, fitted = extract_images(shop(names), None, pictures)
    assert features.present.tolist() == [False, *[True] * 40, False]
    drawer = Drawer({f"{i}.png": data for i, data in enumerate(PICTURES)})
    same, _ = extract_images(shop([f"{i}.png" for i in range(40)]), None, drawer)
    np.testing.assert_allclose(features.rows[:41], same.rows, atol=1e-6)
    (tmp_path / "3.png").unlink()
    later = encode_items(fitted, pa.table({"image": ["4.png", "3.png", None, "5.png"]}), pictures)
    assert later.present.tolist() == [True, False, False, True]
    np.testing.assert_allclose(later.rows[[0, 3]], features.rows[[5, 6]], atol=1e-5)
    assert "no picture" in later.reasons[1]


def test_rows_find_their_items_when_pictures_are_read_in_another_order(tmp_path):
    (tmp_path / "all").mkdir()
    shuffled = np.random.default_rng(0).permutation(40)
    table = pa.table({"item_id": [str(i) for i in shuffled], "image": pa.array([PICTURES[i] for i in shuffled], pa.binary())})
    pq.write_table(table, tmp_path / "pictures.parquet", row_group_size=7)
    pictures = open_pictures(tmp_path / "pictures.parquet")
    names = pictures.resolve([str(i) for i in range(40)], [None] * 40)
    features, _ = extract_images(shop(names), DescriptorImage(width=8), pictures)
    drawer = Drawer({str(i): data for i, data in enumerate(PICTURES)})
    same, _ = extract_images(shop([str(i) for i in range(40)]), DescriptorImage(width=8), drawer)
    np.testing.assert_allclose(features.rows, same.rows, atol=1e-6)


def test_a_catalogue_without_a_picture_column_is_refused():
    log = Interactions.of(np.zeros(2, int), np.array([1, 1]), np.array([1, 2]))
    with pytest.raises(DataProblem, match=r"no column 'image'.*'title'"):
        extract_images(Dataset.in_memory("shop", log, 3), None, Drawer({}))


# ---- models


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    root = tmp_path_factory.mktemp("vision")
    transformers.set_seed(0)
    resnet = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    transformers.ResNetModel(resnet).save_pretrained(root / "resnet")
    ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875).save_pretrained(root / "resnet")
    size = {
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "image_size": 32,
        "patch_size": 8,
    }
    transformers.ViTModel(transformers.ViTConfig(**size), add_pooling_layer=False).save_pretrained(root / "vit")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(root / "vit")
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 30}
    clip = transformers.CLIPConfig(text_config=text, vision_config=size)
    transformers.CLIPModel(clip).save_pretrained(root / "clip")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(root / "clip")
    return root


@pytest.mark.parametrize(("name", "width"), [("resnet", 16), ("vit", 12), ("clip", 12)])
def test_models_of_several_kinds_encode_pictures(tiny_models, tmp_path, name, width):
    dataset, drawer = messy()
    encoder = ModelImage(str(tiny_models / name), batch=7)
    features, fitted = extract_images(dataset, encoder, drawer, cache=tmp_path / "cache")
    features.check("image", 47)
    assert features.width == fitted.width == width
    assert features.present.sum() == 41
    np.testing.assert_allclose(np.linalg.norm(features.rows[1:41], axis=1), 1, atol=1e-5)
    fitted.save(tmp_path / "saved")
    np.testing.assert_allclose(load_encoder(tmp_path / "saved").encode(PICTURES[3:4])[0], features.rows[4:5], atol=1e-5)
    again, _ = extract_images(dataset, encoder, drawer, cache=tmp_path / "cache")
    assert again.provenance["from_cache"] == 40
    assert np.array_equal(again.rows, features.rows)


def test_resnet_rows_are_its_pooled_output(tiny_models):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    folder = str(tiny_models / "resnet")
    rows, _ = ModelImage(folder, unit=False).fit(PICTURES[:2]).encode(PICTURES[:2])
    processor, model = AutoImageProcessor.from_pretrained(folder, backend="pil"), AutoModel.from_pretrained(folder).eval()
    pixels = processor(images=[Image.open(io.BytesIO(p)) for p in PICTURES[:2]], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model(pixels).pooler_output.flatten(1).numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert not np.allclose(np.linalg.norm(rows, axis=1), 1)


def test_a_pooling_layer_without_weights_is_not_used_and_other_missing_weights_are_refused(tiny_models, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    vit = ModelImage(str(tiny_models / "vit"))
    assert np.array_equal(vit.fit(PICTURES[:2]).encode(PICTURES)[0], vit.fit(PICTURES[:2]).encode(PICTURES)[0])
    model = shutil.copytree(tiny_models / "resnet", tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights.pop(next(name for name in weights if name.endswith("convolution.weight")))
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataProblem, match=r"incomplete: 1 tensors are missing"):
        ModelImage(str(model)).fit(PICTURES)


def test_a_folder_without_a_processor_says_what_is_missing(tiny_models, tmp_path):
    import shutil

    model = shutil.copytree(tiny_models / "resnet", tmp_path / "model")
    (model / "preprocessor_config.json").unlink()
    with pytest.raises(DataProblem, match="cannot be loaded"):
        ModelImage(str(model)).fit(PICTURES)


def test_encoders_are_values_and_names_resolve():
    for encoder in (DescriptorImage(width=7), ModelImage("some/model", unit=False)):
        assert from_json(Encoder, json.loads(json.dumps(to_json(encoder)))) == encoder
    assert resolve_image() == resolve_image("descriptors") == DescriptorImage()
    assert resolve_image("resnet50") == ModelImage("microsoft/resnet-50")
    assert resolve_image("some/model") == ModelImage("some/model")
