"""The statistics of a report: two tests for pairs, the ranges of one more draw and of a share. They need no library.

Sources: McNemar (1947), "Note on the sampling error of the difference between correlated proportions", with the exact
binomial distribution in place of the normal one; Student's t for the mean of paired differences and for one
more draw, as in Snedecor and Cochran, "Statistical Methods"; Wilson (1927), "Probable inference, the law of
succession, and statistical inference", for a share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

# Student's t, 97.5 %, by degrees of freedom (tables of any textbook); for more, Abramowitz and Stegun's series in
# 1 / degrees, formula 26.7.5, is right to 0.0002
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_SERIES = (1.95996, 2.37227, 2.82250, 2.55585)


def t_975(degrees: int) -> float:
    """Returns the value that Student's t with so many degrees of freedom, 1 or more, stays below in 97.5 % of cases."""
    if degrees <= len(_T975):
        return _T975[degrees - 1]
    return sum(term / degrees**power for power, term in enumerate(_SERIES))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Returns how likely a split at least so uneven is if both networks are equally good: McNemar's exact test.

    `only_first` images were right in the first network alone, `only_second` in the second alone; images that both
    got right or both wrong say nothing. Two-sided: 2 P(X <= smaller), X binomial with n = both numbers and 1/2.
    """
    n, smaller = only_first + only_second, min(only_first, only_second)
    ways = tail = 1  # subsets of 0 of n; then of 1, 2, ...
    for k in range(smaller):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**n)


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """Returns where a share lies with 95 % confidence, of which `count` of `n` draws are known: Wilson's interval."""
    z, share = _SERIES[0], count / n
    middle, reach = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def paired_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Returns where the mean of such differences lies with 95 % confidence: mean -+ t s / sqrt(n); n >= 2."""
    mean, reach = _mean_and_reach(differences)
    return mean - reach, mean + reach


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns where one more normal draw falls with a chance of 95 %: mean -+ t s sqrt(1 + 1/n); n >= 2."""
    mean, reach = _mean_and_reach(values)
    reach *= math.sqrt(len(values) + 1)
    return mean - reach, mean + reach


def _mean_and_reach(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % confidence interval."""
    n = len(values)
    return fmean(values), t_975(n - 1) * stdev(values) / math.sqrt(n)
