import csv
import dataclasses
import io
import zipfile
from functools import partial

import numpy as np
import pytest
from PIL import Image

from tmmsrec.data import worlds
from tmmsrec.data.drawing import COLOURS, KINDS, PATTERNS, draw, png
from tmmsrec.data.problems import DataProblem
from tmmsrec.data.shop import FILES, WORDS, Shop, generate, write_shop
from tmmsrec.data.shopping import _LONG, DAY, Shopping

ALL = [worlds.checkerboard, worlds.markov, worlds.gap, partial(worlds.gap, decided_by="now"), worlds.cold_items, worlds.seasons]


def rows(world, places=slice(None)):
    """Items and times of users of one length, [U, L]."""
    log = world.dataset.interactions
    length = int(log.lengths[0])
    assert (log.lengths == length).all()
    return log.items.reshape(-1, length)[:, places], log.times.reshape(-1, length)[:, places]


def ndcg(ranks):
    return np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0).mean()


def earned(scores, targets):
    """HR@1, HR@10 and NDCG@10 of scores [U, I], ties at their mean rank in expectation."""
    own = scores[np.arange(len(targets)), targets][:, None]
    above, ties = (scores > own).sum(1), (scores == own).sum(1)
    found = {"HR@1": 0.0, "HR@10": 0.0, "NDCG@10": 0.0}
    for first, n in zip(above, ties, strict=True):
        places = first + np.arange(n)  # ties in random order
        found["HR@1"] += (places < 1).mean() / len(targets)
        found["HR@10"] += (places < 10).mean() / len(targets)
        found["NDCG@10"] += ndcg(places) / len(targets)
    return found


@pytest.mark.parametrize("make", ALL)
def test_equal_values_make_equal_worlds(make):
    assert make(seed=1).dataset.fingerprint == make(seed=1).dataset.fingerprint
    assert make(seed=1).dataset.fingerprint != make(seed=2).dataset.fingerprint


@pytest.mark.parametrize("make", ALL)
def test_every_world_is_sound_and_says_what_can_be_earned(make):
    world = make()
    world.dataset.check()
    assert world.dataset.report["ceiling"] == world.ceiling
    for name in ("HR@1", "HR@10", "NDCG@10"):
        assert 0 < world.chance[name] <= world.blind[name] <= world.ceiling[name] <= 1
    assert world.chance == worlds.uniform_scores(world.dataset.n_items)
    assert world.ceiling["HR@1"] > 1.9 * world.blind["HR@1"]


def test_uniform_scores_by_hand():
    assert worlds.uniform_scores(1) == {"HR@1": 1.0, "HR@10": 1.0, "NDCG@10": 1.0}
    assert worlds.uniform_scores(2)["NDCG@10"] == pytest.approx((1 + 0.63093) / 2, abs=1e-5)
    assert worlds.uniform_scores(800)["NDCG@10"] == pytest.approx(4.5436 / 800, rel=1e-4)


def test_checkerboard_users_stay_on_their_colour_and_buy_nothing_twice():
    world = worlds.checkerboard(users=3000)
    items, _ = rows(world)
    assert (items % 2 == items[:, :1] % 2).all()
    assert all(len(set(row)) == len(row) for row in items.tolist())
    scores = np.full((3000, 40), -1.0)
    scores[:, 1::2] = np.where(items[:, :1] % 2 == 0, 1.0, -1.0)
    scores[:, 0::2] = np.where(items[:, :1] % 2 == 1, 1.0, -1.0)
    np.put_along_axis(scores, items[:, :-1] - 1, -2.0, axis=1)
    got = earned(scores, items[:, -1] - 1)
    assert got == pytest.approx(world.ceiling, abs=1e-9)  # every target ties with all that may come: no luck in it
    order = np.corrcoef(items[:, -2], items[:, -1])[0, 1]
    assert abs(order) < 0.15  # the item before says no more than the colour


def test_markov_items_follow_their_cycle_with_the_probability():
    world = worlds.markov(users=4000, p=0.7)
    items, _ = rows(world)
    counts = np.zeros((41, 41))
    np.add.at(counts, (items[:, :-1].ravel(), items[:, 1:].ravel()), 1)
    after = counts.argmax(1)
    assert sorted(after[1:]) == list(range(1, 41))
    place, steps = after[1], 1
    while place != 1:
        place, steps = after[place], steps + 1
    assert steps == 40  # one cycle through all
    got = earned((np.arange(1, 41) == after[items[:, -2]][:, None]).astype(float), items[:, -1] - 1)
    assert got == pytest.approx(world.ceiling, abs=0.02)


def gaps_and_choices(world):
    log = world.dataset.interactions
    first = np.zeros(len(log), bool)
    first[log.offsets[:-1]] = True
    gap = np.diff(log.times, prepend=log.times[0]) // DAY
    decided = np.flatnonzero(~first & ~np.roll(first, 1))  # from the third event on
    return log, gap, decided, (log.items - 1) % 2, (log.items - 1) // 2


def test_gap_only_the_gap_before_decides():
    world = worlds.gap()
    log, gap, decided, second, pair = gaps_and_choices(world)
    before = gap[decided - 1]
    assert set(np.unique(before)) == {1, 365, 366}
    assert (second[decided] == (before > 1)).all()
    assert (pair[decided] == (pair[decided - 1] + 1) % 10).all()
    dates = log.times[decided - 1].astype("datetime64[s]").astype("datetime64[D]")
    earlier = log.times[decided - 2].astype("datetime64[s]").astype("datetime64[D]")
    same_day = (dates - dates.astype("datetime64[M]")) == (earlier - earlier.astype("datetime64[M]"))
    assert (same_day == (before > 1)).all()  # a year later is the same day of the same month


def test_gap_nothing_else_decides():
    world = worlds.gap(users=8000)
    log, gap, decided, second, _ = gaps_and_choices(world)
    assert (log.lengths.min(), log.lengths.max()) == (5, 10)
    choice = second[decided]
    assert choice.mean() == pytest.approx(0.5, abs=0.01)
    later = decided[decided - 3 >= np.repeat(log.offsets[:-1], log.lengths)[decided]]  # from the fourth on
    year = log.times[later - 1].astype("datetime64[s]").astype("datetime64[Y]").astype(int)
    for other in (second[later - 1], second[later - 2], gap[later] > 1, gap[later - 2] > 1):
        assert abs(np.corrcoef(second[later], other)[0, 1]) < 0.03
    assert np.ptp(year) >= 8
    assert all(len(set(log.items[a:b])) == b - a for a, b in zip(log.offsets[:50], log.offsets[1:51], strict=True))


def test_gap_until_now_only_the_gap_before_the_target_decides():
    world = worlds.gap(users=8000, decided_by="now")
    _, gap, decided, second, pair = gaps_and_choices(world)
    assert (second[decided] == (gap[decided] > 1)).all()
    assert (pair[decided] == (pair[decided - 1] + 1) % 10).all()
    for past in (gap[decided - 1] > 1, second[decided - 1]):
        assert abs(np.corrcoef(second[decided], past)[0, 1]) < 0.03


def test_gap_years_of_the_targets_are_met_in_training():
    log = worlds.gap().dataset.interactions
    years = log.times.astype("datetime64[s]").astype("datetime64[Y]").astype(int)
    held = np.zeros(len(log), bool)
    held[log.offsets[1:] - 2] = True  # the newest event that a test history shows
    train = ~held
    train[log.offsets[1:] - 1] = False
    assert np.isin(years[held], years[train]).mean() > 0.995


def test_cold_targets_occur_in_no_training_part_and_features_tell_them():
    world = worlds.cold_items()
    items, _ = rows(world)
    assert not set(items[:, -2:].ravel()) & set(items[:, :-2].ravel())
    text, image = (world.dataset.features[m].rows[1:] for m in ("text", "image"))
    known = items[:, :-2] - 1
    scores = np.zeros((len(items), world.dataset.n_items))
    for rows_ in (text, image):
        scores += np.round(rows_[known].mean(1) @ rows_.T)  # noise is far below one half
    scores[:, np.unique(known)] = -1
    np.put_along_axis(scores, items[:, -2:-1] - 1, -1, axis=1)
    assert earned(scores, items[:, -1] - 1) == pytest.approx(world.ceiling, abs=1e-9)
    one = np.round(text[known].mean(1) @ text.T)
    one[:, np.unique(known)] = -1
    assert earned(one, items[:, -1] - 1)["NDCG@10"] < 0.5 * world.ceiling["NDCG@10"]  # both modalities are needed


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (worlds.checkerboard, {"items": 41}),
        (worlds.checkerboard, {"length": 20}),
        (worlds.markov, {"p": 1.5}),
        (worlds.gap, {"length": 12}),
        (worlds.cold_items, {"new": 1}),
    ],
)
def test_a_world_that_cannot_be_is_refused(make, wrong):
    with pytest.raises(DataProblem, match="need"):
        make(**wrong)


SMALL = Shop(users=300, items=240, seed=3)


@pytest.fixture(scope="module")
def shop():
    return generate(SMALL)


def test_equal_shops_are_equal_to_the_pixel(shop):
    again, other = generate(SMALL), generate(dataclasses.replace(SMALL, seed=4))
    assert again.dataset.fingerprint == shop.dataset.fingerprint != other.dataset.fingerprint
    assert again.dataset.catalog.fields == shop.dataset.catalog.fields
    assert again.pictures == shop.pictures
    assert list(shop.dataset.users)[:2] == ["u0001", "u0002"]
    assert shop.dataset.catalog.ids[42] == "A0042"
    assert shop.dataset.interactions.lengths.min() >= 5


def test_text_and_picture_tell_different_halves(shop):
    fields = shop.dataset.catalog.fields
    titles = " ".join(fields["title"].to_pylist()).lower().split()
    assert not {*COLOURS, *PATTERNS} & set(titles)
    assert {w for said in WORDS for w in said} <= set(titles)
    for row in fields.slice(0, 20).to_pylist():
        assert row["brand"] in row["title"]
        assert row["title"].endswith(row["category"])
        picture = Image.open(io.BytesIO(shop.pictures[row["image"]]))
        assert (picture.size, picture.mode) == ((64, 64), "RGB")


def test_nothing_is_bought_before_it_is_there_and_new_things_keep_coming(shop):
    log, born = shop.dataset.interactions, shop.shopping.garments.born
    day = log.times // DAY - int(np.datetime64("2021-01-01", "D").astype(int))
    assert (day >= born[log.items - 1]).all()
    assert day.min() >= 0
    assert day.max() < Shopping.days
    assert 0.1 < (born < 0).mean() < 0.5
    assert len(np.unique(born[born >= 0] // 90)) >= 13  # in every quarter


def test_styles_are_kept_on_short_gaps_and_often_given_up_on_long_ones(shop):
    log, style = shop.dataset.interactions, shop.shopping.styles
    inner = np.ones(len(log), bool)
    inner[log.offsets[:-1]] = False
    gap = np.diff(log.times // DAY, prepend=0)
    changed = style != np.roll(style, 1)
    assert not changed[inner & (gap <= _LONG)].any()
    assert 0.7 < changed[inner & (gap > _LONG)].mean() < 0.9


def test_seasons_and_styles_choose(shop):
    log = shop.dataset.interactions
    kind = np.array(shop.dataset.catalog.fields["category"].to_pylist())[log.items - 1]
    month = log.times.astype("datetime64[s]").astype("datetime64[M]").astype(int) % 12
    winter, summer = np.isin(month, (11, 0, 1)), np.isin(month, (5, 6, 7))
    for warm, cold in (("sandals", "beanie"), ("shorts", "coat")):
        assert (kind[summer] == warm).mean() > 1.5 * (kind[winter] == warm).mean()
        assert (kind[winter] == cold).mean() > 1.5 * (kind[summer] == cold).mean()
    brand = shop.shopping.garments.brand[log.items - 1]
    colour = shop.shopping.garments.colour[log.items - 1]
    for attribute, classes in ((brand, 10), (colour, 8)):
        by_style = np.zeros((shop.shopping.styles.max() + 1, classes))
        np.add.at(by_style, (shop.shopping.styles, attribute), 1)
        assert (np.sort(by_style, axis=1)[:, -2:].sum(1) / by_style.sum(1)).mean() > 0.6


def test_knowing_more_is_worth_more_and_the_ceiling_is_far_above_chance(shop):
    found = {who: (ranks < 10).mean() for who, ranks in shop.shopping.ranks.items()}
    assert found["style"] > found["log and moment"] > found["log"] > 5 * 10 / SMALL.items
    report = shop.dataset.report
    assert report["ceiling"]["HR@10"] == found["log"] == report["ceilings"]["log"]["HR@10"]
    assert report["ceiling"]["NDCG@10"] == pytest.approx(ndcg(shop.shopping.ranks["log"]))
    last = shop.dataset.interactions.offsets[1:] - 1
    assert len(last) == len(shop.shopping.ranks["style"])


def test_the_exact_chances_are_those_that_come_true():
    """Whoever says that the target is among its ten likeliest with chance p is right in a share p of cases."""
    shopping = generate(Shop(users=2000, items=120, seed=5)).shopping
    for who, chance in shopping.expected.items():
        hits = shopping.ranks[who] < 10
        for part in (chance <= np.median(chance), chance > np.median(chance)):
            error = np.sqrt((chance * (1 - chance))[part].mean() / part.sum())
            assert abs(hits[part].mean() - chance[part].mean()) < 3.5 * error, who


def test_popularity_earns_little_and_new_items_are_asked_for():
    made = generate(Shop())
    log = made.dataset.interactions
    train = np.ones(len(log), bool)
    train[log.offsets[1:] - 1] = train[log.offsets[1:] - 2] = False
    counts = np.bincount(log.items[train], minlength=601)
    targets = log.items[log.offsets[1:] - 1]
    assert np.isin(targets, np.argsort(-counts[1:], kind="stable")[:10] + 1).mean() < 0.08
    assert 0.1 < (counts[targets] == 0).mean() < 0.35
    assert made.dataset.report["ceiling"]["HR@10"] > 0.35


def test_the_files_say_what_the_dataset_says(shop, tmp_path):
    made = write_shop(SMALL, tmp_path / "shop")
    assert sorted(p.name for p in (tmp_path / "shop").iterdir()) == sorted(FILES)
    with open(tmp_path / "shop" / FILES[0], newline="", encoding="utf-8") as file:
        events = list(csv.DictReader(file))
    log = made.dataset.interactions
    mine = [e for e in events if e["user_id"] == "u0007"]
    a, b = log.offsets[6:8]
    assert [made.dataset.catalog.ids.row(e["item_id"]) for e in mine] == log.items[a:b].tolist()
    assert [int(e["timestamp"]) for e in mine] == log.times[a:b].tolist()
    assert len(events) == len(log)
    with open(tmp_path / "shop" / FILES[1], newline="", encoding="utf-8") as file:
        items = list(csv.DictReader(file))
    assert [i["item_id"] for i in items] == list(made.dataset.catalog.ids)
    assert [i["title"] for i in items] == made.dataset.catalog.fields["title"].to_pylist()
    with zipfile.ZipFile(tmp_path / "shop" / FILES[2]) as archive:
        assert {n: archive.read(n) for n in archive.namelist()} == made.pictures == shop.pictures
    before = [(tmp_path / "shop" / name).read_bytes() for name in FILES]
    write_shop(SMALL, tmp_path / "shop")
    assert before == [(tmp_path / "shop" / name).read_bytes() for name in FILES]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataProblem, match=r"letter\.txt"):
        write_shop(SMALL, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(DataProblem, match="60 items"):
        Shop(items=10)


def test_every_garment_can_be_drawn_and_told_from_every_other():
    pictures = {(k, c, p): np.asarray(draw(k, c, p), dtype=int) for k in KINDS for c in COLOURS for p in PATTERNS}
    kinds = [pictures[k, "blue", "dots"] for k in KINDS]
    for one in range(len(kinds)):
        for other in range(one):
            assert np.abs(kinds[one] - kinds[other]).mean() > 4
    flat = {png_.tobytes() for png_ in pictures.values()}
    assert len(flat) == len(pictures)
    for (_, colour, pattern), picture in pictures.items():
        if pattern == "plain":
            near = np.abs(picture - np.array(COLOURS[colour])).max(-1) < 3
            assert near.mean() > 0.1  # at least a tenth is the very colour
    assert png(draw("coat", "red", "plain", 2)) != png(draw("coat", "red", "plain", 0))


def test_seasons_have_items_of_their_own_and_the_features_show_whose_time_it_is():
    world = worlds.seasons()
    items, times = rows(world)
    season = (times // DAY).astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12 // 3
    kinds = [world.dataset.features[name].rows[1:, :4].argmax(1) for name in ("text", "image")]
    assert (kinds[0] == kinds[1]).all()
    assert (kinds[0][items - 1] == season).all()
    assert np.bincount(kinds[0]).tolist() == [12] * 4
    knows = (kinds[0] == season[:, -1:]).astype(float)
    assert earned(knows, items[:, -1] - 1) == pytest.approx(world.ceiling)
    same = (season[:, -2] == season[:, -1]).mean()
    assert abs(same - 0.25) < 0.08  # the last event says little of the next one's season
    with pytest.raises(DataProblem, match="length >= 5"):
        worlds.seasons(length=4)
