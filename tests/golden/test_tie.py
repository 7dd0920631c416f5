"""TIE against the numbers worked out from Eq. 7-9 by hand and by independent scripts (sheet 2 of the specification)."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmmsrec.nn.time import TIE, Clock, Learned, Nothing, Random, Sinusoid, civil

EVENT = int(datetime(2015, 7, 4, 17, 30, tzinfo=UTC).timestamp())
ONES = torch.ones(1, 1, dtype=torch.bool)


def clock(times, mask=ONES):
    return Clock(times, times, mask)


def rotate(x, year, month, day, **fields):
    module = TIE(**fields).build(x.shape[-1], 50).eval()
    return module.rotate(x, *(torch.tensor(v) for v in (year, month, day)))


def dense(year: float, month: float, day: float, d: int) -> torch.Tensor:
    """P of Eq. 8-9, written out as a matrix of numbers."""
    p = np.zeros((d, d))
    for j in range(d // 6):
        theta = 10000 ** (-6 * j / d)
        for plane, field in enumerate((year, month, day)):
            f, at = field * theta, 6 * j + 2 * plane
            p[at : at + 2, at : at + 2] = [[math.cos(f), -math.sin(f)], [math.sin(f), math.cos(f)]]
    return torch.tensor(p)


def test_six_coordinates():
    got = rotate(torch.arange(1.0, 7.0), 1, 2, 3)
    expected = torch.tensor([2.223244, 0.239134, 2.388749, -4.392480, -4.103242, -6.645555])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


INTERLEAVED = "-2.216627 .294217 4.889653 1.044649 -7.809033 -.137849 9.578911 -4.609171 9.677387 9.346024 11.471073 11.550519"
BLOCKED = "-2.216627 9.578911 .294217 -4.609171 4.889653 9.677387 1.044649 9.346024 -7.809033 11.471073 -.137849 11.550519"


@pytest.mark.parametrize(("layout", "numbers"), [("interleaved", INTERLEAVED), ("blocked", BLOCKED)])
def test_twelve_coordinates_in_both_layouts(layout, numbers):
    module = TIE(layout=layout).build(12, 50)
    got = module(torch.arange(1.0, 13.0)[None, None], clock(torch.tensor([[EVENT]])))[0, 0]
    torch.testing.assert_close(got, torch.tensor([float(v) for v in numbers.split()]), atol=2e-3, rtol=0)


def test_layouts_are_the_same_for_six_and_differ_from_twelve_on():
    for d, same in ((6, True), (12, False)):
        x = torch.randn(3, d)
        assert torch.equal(rotate(x, 2015, 7, 4), rotate(x, 2015, 7, 4, layout="blocked")) is same


def test_direction_is_clockwise():
    x = torch.tensor([1.0, 0, 0, 0, 0, 0])
    # (cos 2015, -sin 2015): opposite to the textbook's column-vector rotation.
    torch.testing.assert_close(rotate(x, 2015, 0, 0)[:2], torch.tensor([-0.3256388, 0.9454942]), atol=2e-4, rtol=0)


def test_equals_the_matrix_and_keeps_norms():
    torch.manual_seed(0)
    x = torch.randn(5, 126)
    p = dense(2015, 7, 4, 126)
    torch.testing.assert_close(rotate(x, 2015, 7, 4), (x.double() @ p).float(), atol=2e-3, rtol=0)
    torch.testing.assert_close(rotate(x, 2015, 7, 4).norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(p @ p.T, torch.eye(126, dtype=torch.float64))


def test_zero_is_identity_and_angles_add():
    x = torch.randn(4, 24)
    assert torch.equal(rotate(x, 0, 0, 0), x)
    torch.testing.assert_close(rotate(rotate(x, 3, 1, 5), 4, 6, 7), rotate(x, 7, 7, 12), atol=1e-5, rtol=1e-5)


def test_rotation_alone_is_relative_and_added_rotation_is_not():
    torch.manual_seed(1)
    q, k = torch.randn(48), torch.randn(48)
    pairs = [((15, 3, 10), (15, 2, 5)), ((13, 9, 20), (13, 8, 15))]
    alone = [rotate(q, *a) @ rotate(k, *b) for a, b in pairs]
    torch.testing.assert_close(alone[0], alone[1], atol=1e-4, rtol=1e-5)
    added = [(q + rotate(q, *a)) @ (k + rotate(k, *b)) for a, b in pairs]
    assert abs(added[0] - added[1]) > 0.1


def test_adding_is_half_the_angle_with_gain():
    """e + eP(f) = 2 cos(f/2) e P(f/2), plane by plane (2.3); single planes lose almost everything on a day 22."""
    gains = {22: 0.0089, 3: 0.141, 16: 0.291, 28: 0.273, 9: 0.422}
    for day, gain in gains.items():
        x = torch.tensor([0.0, 0, 0, 0, 1, 0])
        assert float((x + rotate(x, 0, 0, day)).norm()) == pytest.approx(gain, abs=6e-4)
    x = torch.tensor([1.0, 0, 0, 0, 0, 0])
    for year, gain in {2001: 0.194, 2014: 0.239, 2015: 1.161, 2017: 1.998}.items():
        assert float((x + rotate(x, year, 0, 0)).norm()) == pytest.approx(gain, abs=1e-3)


def test_mean_gain_of_random_rows():
    torch.manual_seed(2)
    x = torch.randn(4000, 768)
    grown = (x + rotate(x, 2015, 7, 4)).square().sum() / x.square().sum()
    assert float(grown) == pytest.approx(3.084, abs=0.01)
    mixed = (x + rotate(x, 2015, 7, 4, layout="blocked")).square().sum() / x.square().sum()
    assert float(mixed) == pytest.approx(2.00, abs=0.02)


@pytest.mark.parametrize(("d", "last", "second"), [(126, 1.5505e-4, 0.64495), (132, 1.5199e-4, None), (768, 1.0746e-4, 0.93057)])
def test_theta(d, last, second):
    theta = TIE().build(d, 50).theta
    assert theta[0] == 1
    assert float(theta[-1]) == pytest.approx(last, rel=1e-4)
    assert second is None or float(theta[1]) == pytest.approx(second, rel=1e-4)


def test_stays_in_float32_under_autocast():
    x, times = torch.randn(1, 1, 126), torch.tensor([[EVENT]])
    module = TIE().build(126, 50)
    plain = module(x, clock(times))
    with torch.autocast("cpu", torch.bfloat16):
        cast = module(x, clock(times))
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


@pytest.mark.parametrize("width", [128, 50, 7])
def test_a_width_that_six_does_not_divide_is_refused_with_the_reason(width):
    with pytest.raises(ValueError, match="divide by 6") as problem:
        TIE().build(width, 50)
    assert str(width // 6 * 6) in str(problem.value)


def test_dropout_is_on_what_is_added_only_in_training():
    x, times = torch.ones(1, 200, 12), torch.full((1, 200), EVENT)
    mask = torch.ones(1, 200, dtype=torch.bool)
    module = TIE(dropout=0.5).build(12, 200)
    dropped = (module.train()(x, clock(times, mask)) == 0).float().mean()
    assert 0.4 < float(dropped) < 0.6
    assert (module.eval()(x, clock(times, mask)) != 0).all()


@given(st.integers(-(2**36), 2**36))
@settings(max_examples=300, deadline=None)
def test_calendar_against_numpy(seconds):
    year, month, day = (int(v) for v in civil(torch.tensor(seconds)))
    date = np.datetime64(seconds, "s").astype("datetime64[D]")
    assert f"{year:04d}-{month:02d}-{day:02d}" == str(date)


def test_year_origin_only_changes_the_year():
    x = torch.randn(2, 12)
    torch.testing.assert_close(rotate(x, 2015, 7, 4, year_origin=1996), rotate(x, 19, 7, 4), atol=1e-6, rtol=0)


def test_sinusoid_is_the_vanilla_transformers():
    module = Sinusoid(newest_last=False).build(8, 10)
    row = module(torch.zeros(1, 3, 8), clock(torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool)))[0, 2]
    expected = [f(3 / 10000 ** (2 * i / 8)) for i in range(4) for f in (math.sin, math.cos)]
    torch.testing.assert_close(row, torch.tensor(expected))


@pytest.mark.parametrize("encoder", [Learned(), Random(), Sinusoid()])
def test_positions_count_from_the_newest(encoder):
    """The newest event has the same row however long the history; padding gets nothing."""
    module = encoder.build(12, 6)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    rows = module(torch.zeros(2, 4, 12), clock(torch.zeros(2, 4), mask))
    assert torch.equal(rows[0, 2], rows[1, 0])
    assert not rows[~mask].any()
    assert len({tuple(r.tolist()) for r in rows[0, :3]}) == 3


def test_nothing_adds_nothing():
    x = torch.randn(2, 3, 5)
    assert torch.equal(x + Nothing().build(5, 3)(x, clock(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))), x)
