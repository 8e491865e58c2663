"""The report's statistics equal those of scipy and statsmodels."""

from __future__ import annotations

import pytest

from mnist_lightning.report.statistics import mcnemar_p, paired_interval, prediction_interval, t_975


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),  # scipy 1.17: binomtest(min, n, 0.5); statsmodels: mcnemar(exact=True)
    [
        (6, 16, 0.052478790283203125),
        (16, 6, 0.052478790283203125),
        (59, 121, 4.4344492637551645e-06),
        (0, 5, 0.0625),
        (7, 7, 1.0),
        (1, 2, 1.0),
        (0, 0, 1.0),
        (54, 80, 0.030414804699519817),
        (900, 1020, 0.006596752159311358),
    ],
)
def test_mcnemars_exact_p_is_scipys(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_p(only_first, only_second) == pytest.approx(p, rel=1e-9)


def test_mcnemars_p_of_ten_thousand_images_is_neither_lost_nor_slow() -> None:
    assert 0 <= mcnemar_p(4000, 6000) < 1e-80
    assert mcnemar_p(5000, 5000) == 1.0


@pytest.mark.parametrize(
    ("degrees", "t"),  # scipy 1.17: t.ppf(0.975, degrees)
    [
        *[(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (6, 2.4469), (7, 2.3646), (8, 2.3060)],
        *[(9, 2.2622), (10, 2.2281), (11, 2.2010), (30, 2.0423), (200, 1.9719)],
    ],
)
def test_students_t_is_scipys_beyond_the_table_too(degrees: int, t: float) -> None:
    assert t_975(degrees) == pytest.approx(t, abs=6e-4)


@pytest.mark.parametrize(
    ("differences", "interval"),  # scipy 1.17: t.interval(0.95, n - 1, loc=mean, scale=sem)
    [
        ([0.012, 0.004, 0.009, -0.001, 0.006], (-0.0001459232315955787, 0.012145923231595579)),
        ([0.004, 0.006], (-0.0077062047361746945, 0.017706204736174694)),
        (list(range(25)), (8.962023575223881, 15.037976424776119)),
    ],
)
def test_the_interval_of_paired_differences_is_scipys(differences: list[float], interval: tuple[float, float]) -> None:
    assert paired_interval(differences) == pytest.approx(interval, rel=1e-3, abs=1e-6)


def test_the_prediction_interval_is_students() -> None:
    low, high = prediction_interval([1.0, 2.0, 3.0])  # mean 2, s 1, t 4.303, sqrt(4/3)
    assert (low, high) == pytest.approx((2 - 4.9687, 2 + 4.9687), abs=1e-3)
