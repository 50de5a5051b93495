#!/usr/bin/env python3
"""Writes vectors.json: what SciPy, statsmodels and ruptures answer, and definitions written out here where
none has the method. Run again only to add cases: the file is checked in, and the tests need no Python.

    pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 scikit-learn==1.9.1 ruptures==1.1.10
    python make.py
"""
import itertools
import json
import math
import pathlib

import numpy as np
import ruptures
from scipy import integrate, optimize, stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.tsa.stattools import acf

rng = np.random.default_rng(20260101)

SERIES = {
    "two": [0.3, 0.5],
    "three": [-0.1, 0.4, 0.2],
    "six": [0.011, -0.002, 0.035, 0.024, 0.018, -0.007],
    "eleven": list(rng.normal(0.02, 0.03, 11)),
    "forty": list(rng.normal(-0.01, 0.02, 40)),
    "fifty": list(rng.normal(0.0, 1.0, 50)),
    "sixty": list(rng.normal(0.1, 1.0, 60)),
    "two_hundred": list(rng.standard_t(3, 200)),
    "tied": [0.1, -0.1, 0.2, 0.2, 0.2, -0.3, 0.4, 0.4, 0.5, 0.1, 0.7, 0.9],
    "tied_and_zero": [0.0, 0.1, -0.1, 0.2, 0.0, 0.2, 0.3, 0.3, -0.5, 0.6, 0.6, 0.6, 0.8],
    "far": list(1.0 + 0.01 * rng.normal(size=12)),
    "farther": list(-3.0 + 0.01 * rng.normal(size=20)),
}
ALTERNATIVES = ["greater", "less", "two-sided"]


def series():
    out = []
    for name, x in SERIES.items():
        x = np.array(x)
        t = [stats.ttest_1samp(x, 0.0, alternative=a) for a in ALTERNATIVES]
        shifted = [stats.ttest_1samp(x, 0.03, alternative=a).pvalue for a in ALTERNATIVES]
        interval = {str(level): list(t[2].confidence_interval(level)) for level in (0.5, 0.95, 0.98, 0.9988)}
        out.append({
            "name": name, "x": list(x),
            "mean": np.mean(x), "sd": np.std(x, ddof=1), "median": np.median(x),
            "mad": stats.median_abs_deviation(x, scale=1.0),
            "cv": stats.variation(np.exp(x), ddof=1),
            "t_p": [r.pvalue for r in t], "t_p_shifted": shifted, "t_interval": interval,
            "tost": max(stats.ttest_1samp(x, -0.03, alternative="greater").pvalue,
                        stats.ttest_1samp(x, 0.03, alternative="less").pvalue),
            "acf": list(acf(x, adjusted=False, fft=False, nlags=1)),
            "ess": effective_sample_size(x),
            "wilcoxon": wilcoxon(x),
            "hodges_lehmann": hodges_lehmann(x),
            "sign_flip": sign_flip(x) if len(x) <= 11 else None,
        })
    return out


def wilcoxon(x):
    plain = len(np.unique(np.abs(x))) == len(x) and np.all(x != 0) and len(x) <= 50
    method = "exact" if plain else "asymptotic"
    p = [stats.wilcoxon(x, zero_method="wilcox", correction=True, alternative=a, method=method).pvalue
         for a in ALTERNATIVES]
    w = stats.wilcoxon(x, zero_method="wilcox", alternative="greater", method=method).statistic
    return {"exact": bool(plain), "w_plus": w, "p": p}


def hodges_lehmann(x):
    """Walsh averages; the interval cuts r - 1 of them from each side, with P(W+ <= r - 1) <= tail."""
    n = len(x)
    walsh = np.sort([(x[i] + x[j]) / 2 for i in range(n) for j in range(i, n)])
    out = {"point": np.median(walsh), "intervals": {}}
    for level in (0.8, 0.95, 0.98):
        tail = (1 - level) / 2
        if n <= 50:
            counts = np.array([1], dtype=object)
            for rank in range(1, n + 1):
                longer = np.zeros(len(counts) + rank, dtype=object)
                longer[:len(counts)] += counts
                longer[rank:] += counts
                counts = longer
            below, rank = 0, 0
            for count in counts:
                below += count
                if below / 2**n > tail:
                    break
                rank += 1
        else:
            se = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
            rank = math.floor(n * (n + 1) / 4 + 0.5 + stats.norm.ppf(tail) * se)
        out["intervals"][str(level)] = [walsh[rank - 1], walsh[-rank]] if rank else None
    return out


def sign_flip(x):
    sums = np.array([np.dot(s, x) for s in itertools.product([1, -1], repeat=len(x))])
    slack = 1e-12 * np.abs(x).sum()
    greater, less = (sums >= x.sum() - slack).mean(), (sums <= x.sum() + slack).mean()
    return [greater, less, min(1.0, 2 * min(greater, less))]


def effective_sample_size(x):
    """Geyer's initial positive sequence."""
    rho = acf(x, adjusted=False, fft=False, nlags=len(x) - 1)
    pairs = 0.0
    for k in range(len(x) // 2):
        pair = rho[2 * k] + rho[2 * k + 1]
        if pair <= 0:
            break
        pairs += pair
    inflation = 2 * pairs - 1
    return min(max(len(x) / inflation, 1.0), len(x)) if inflation > 0 else len(x)


def distributions():
    return {
        "normal_sf": [[z, stats.norm.sf(z)] for z in (-8.0, -1.0, 0.0, 0.3, 1.96, 7.034, 12.0)],
        "normal_quantile": [[p, stats.norm.ppf(p)] for p in (1e-12, 1e-6, 0.00058, 0.2, 0.5, 0.9, 0.975, 1 - 1e-9)],
        "t_sf": [[t, df, stats.t.sf(t, df)] for t, df in itertools.product(
            (-40.0, -2.0, -1e-9, 1e-9, 0.5, 2.5, 6.65, 40.0, 1e4), (1.0, 2.0, 5.0, 39.0, 1999.0))],
        "t_quantile": [[p, df, stats.t.isf(p, df)] for p, df in itertools.product(
            (1e-12, 1e-6, 0.00058, 0.01, 0.3, 0.7, 0.99), (1.0, 2.0, 5.0, 39.0, 1999.0))],
        "binomial": [[k, n, p, stats.binom.cdf(k, n, p), stats.binom.sf(k, n, p), stats.binom.pmf(k, n, p)]
                     for k, n, p in [(0, 1, 0.5), (1, 1, 0.5), (0, 10, 0.3), (3, 10, 0.3), (10, 10, 0.3),
                                     (7, 50, 0.5), (0, 40, 0.5), (480, 1000, 0.5), (400, 1000, 0.5),
                                     (24_900, 50_000, 0.5), (24_000, 50_000, 0.5), (120, 10_000, 0.01),
                                     (499_000, 1_000_000, 0.5), (500_500, 1_000_000, 0.5), (1_100, 1_000_000, 0.001),
                                     (5, 8, 0.0), (5, 8, 1.0)]],
        "beta_quantile": [[p, a, b, stats.beta.ppf(p, a, b)] for p, a, b in [
            (0.975, 3.0, 49_998.0), (0.025, 3.0, 49_998.0), (0.025, 49_998.0, 3.0), (0.5, 1.0, 1.0),
            (0.005, 0.5, 0.5), (0.99, 20.0, 981.0), (1e-9, 5.0, 6.0), (0.01, 500_000.0, 500_001.0),
            (0.9, 1.0, 1_000_000.0)]],
    }


def proportions():
    out = []
    for hits, n in [(0, 1), (1, 1), (0, 30), (30, 30), (1, 30), (17, 30), (499, 500), (2, 50_000), (37_123, 50_000)]:
        for level in (0.9, 0.95, 0.99):
            test = stats.binomtest(hits, n)
            out.append({"hits": hits, "n": n, "level": level,
                        "wilson": list(test.proportion_ci(level, method="wilson")),
                        "clopper_pearson": clopper_pearson(hits, n, level)})
    return out


def clopper_pearson(hits, n, level):
    """By quantiles of the beta distribution: binomtest's own search stops at an absolute 2e-12."""
    tail = (1 - level) / 2
    found = [stats.beta.ppf(tail, hits, n - hits + 1) if hits else 0.0,
             stats.beta.isf(tail, hits + 1, n - hits) if hits < n else 1.0]
    other = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    assert np.allclose(found, list(other), rtol=1e-6, atol=1e-11), (found, other)
    return found


def tango_score(both, lost, gained, neither, delta):
    """The constrained likelihood's own equation, solved numerically: no closed form is used."""
    n = both + lost + gained + neither

    def slope(q):
        with np.errstate(divide="ignore"):
            total = 0.0
            total += np.float64(gained) / (q + delta) if gained else 0.0
            total += np.float64(lost) / q if lost else 0.0
            rest = both + neither
            total -= np.float64(2 * rest) / (1 - 2 * q - delta) if rest else 0.0
            return total

    low, high = max(0.0, -delta), (1 - delta) / 2
    inset = (high - low) * 1e-14
    a, b = low + inset, high - inset
    if slope(a) <= 0:
        q = low
    elif slope(b) >= 0:
        q = high
    else:
        q = optimize.brentq(slope, a, b, xtol=1e-17, rtol=8.9e-16, maxiter=500)
    variance = n * (2 * q + delta - delta * delta)
    return (gained - lost - n * delta) / math.sqrt(variance)


def tables():
    out = []
    for both, lost, gained, neither in [
        (43, 0, 1, 0), (80, 5, 9, 6), (1800, 25, 11, 164), (0, 3, 4, 0), (420, 30, 30, 20), (40_000, 350, 410, 9_240),
        (700_000, 9_000, 8_500, 282_500), (3, 1, 0, 1), (100, 60, 2, 5),
    ]:
        n = both + lost + gained + neither
        d = (gained - lost) / n
        cell = {"table": [both, lost, gained, neither], "tango": {}}
        for level in (0.9, 0.95, 0.98):
            z = stats.norm.isf((1 - level) / 2)
            score = lambda delta: tango_score(both, lost, gained, neither, delta)
            edge = 1 - 1e-12
            cell["tango"][str(level)] = [
                optimize.brentq(lambda x: score(x) - z, -edge, d - 1e-9, xtol=1e-16, rtol=8.9e-16),
                optimize.brentq(lambda x: score(x) + z, d + 1e-9, edge, xtol=1e-16, rtol=8.9e-16),
            ]
        cell["non_inferiority"] = [[m, stats.norm.sf(tango_score(both, lost, gained, neither, -m))]
                                   for m in (0.003, 0.01, 0.1)]
        # P(no more than so many losses, gains) among the examples that differ
        m = lost + gained
        greater, less = stats.binom.cdf(lost, m, 0.5), stats.binom.cdf(gained, m, 0.5)
        point = stats.binom.pmf(lost, m, 0.5)
        exact = mcnemar([[both, lost], [gained, neither]], exact=True).pvalue
        cell["exact"] = [greater, less, exact]
        mid = [greater - point / 2, less - point / 2]
        cell["mid_p"] = [*mid, min(1.0, 2 * min(mid))]
        out.append(cell)
    return out


def multiplicity():
    lists = [[0.01], [0.04, 0.01, 0.03, 0.02], [0.5, 0.5, 0.5], [1e-12, 1.0, 0.0, 0.02, 0.02],
             list(rng.uniform(size=40) ** 3)]
    return [{"p": p, "bh": list(stats.false_discovery_control(p)),
             "holm": list(multipletests(p, method="holm")[1])} for p in lists]


def order_statistics():
    out = []
    for n, p, level in [(11, 0.5, 0.95), (64, 0.9, 0.95), (40, 0.9, 0.95), (35, 0.9, 0.95), (662, 0.99, 0.95),
                        (5000, 0.99, 0.95), (5000, 0.5, 0.99), (1, 0.5, 0.5), (6, 0.5, 0.95)]:
        x = np.arange(n, dtype=float)
        tail = (1 - level) / 2
        lows = [r for r in range(1, n + 1) if stats.binom.cdf(r - 1, n, p) <= tail]
        highs = [r for r in range(1, n + 1) if stats.binom.sf(r - 1, n, p) <= tail]
        found = [x[max(lows) - 1], x[min(highs) - 1]] if lows and highs else None
        out.append({"n": n, "p": p, "level": level, "point": x[min(math.floor(n * p), n - 1)], "interval": found})
    return out


def power():
    out = []
    for n, alpha, effect in itertools.product((3, 6, 13, 40, 500), (0.00058, 0.00387, 0.05), (0.2, 1.0, 3.0)):
        df, shift = n - 1, effect * math.sqrt(n)
        critical = stats.t.isf(alpha, df)
        value = stats.nct.sf(critical, df, shift)
        other = TTestPower().power(effect, n, alpha, alternative="larger")
        assert abs(value - other) < 1e-9, (value, other)
        needed = optimize.brentq(lambda s: stats.nct.sf(critical, df, s) - 0.9, 0, 1e3, xtol=1e-14) / math.sqrt(n)
        out.append({"n": n, "alpha": alpha, "effect": effect, "power": value, "effect_for_90": needed})
    return out


class Xoshiro:
    """xoshiro256** with splitmix64, as in rng.rs, written from the published definition."""
    MASK = (1 << 64) - 1

    def __init__(self, seed):
        self.s = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & self.MASK
            z = seed
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & self.MASK
            self.s.append(z ^ (z >> 31))

    def next(self):
        rotate = lambda v, k: ((v << k) | (v >> (64 - k))) & self.MASK
        s = self.s
        out = (rotate((s[1] * 5) & self.MASK, 7) * 9) & self.MASK
        t = (s[1] << 17) & self.MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
        return out

    def below(self, n):
        threshold = ((1 << 64) - n) % n
        while True:
            wide = self.next() * n
            if wide & self.MASK >= threshold:
                return wide >> 64


def bootstrap():
    """Ratio of means and the median, over single examples and over clusters."""
    x = list(np.round(rng.gamma(2.0, size=24), 6))
    y = list(np.round(rng.gamma(3.0, size=24), 6))
    labels = [int(v) for v in rng.integers(0, 7, 24)]
    ratio = lambda at: float(np.mean([x[i] for i in at]) / np.mean([y[i] for i in at]))
    out = {"x": x, "y": y, "labels": labels, "resamples": 2000, "seed": 99, "level": 0.95, "cases": []}
    for kind in ("singles", "clusters"):
        members = [[i] for i in range(24)] if kind == "singles" else \
            [[i for i in range(24) if labels[i] == k] for k in sorted(set(labels))]
        k = len(members)
        flat = lambda picked: [i for c in picked for i in members[c]]
        generator = Xoshiro(out["seed"])
        values = np.sort([ratio(flat(sorted(generator.below(k) for _ in range(k)))) for _ in range(out["resamples"])])
        point = ratio(flat(range(k)))
        cut = lambda tail: min(math.floor(len(values) * tail), len(values) - 1)
        pick = lambda low, high: [values[cut(low)], values[len(values) - 1 - cut(high)]]
        tail = (1 - out["level"]) / 2
        bias = stats.norm.ppf(((values < point).sum() + (values <= point).sum()) / (2 * len(values)))
        jack = np.array([ratio(flat([c for c in range(k) if c != gone])) for gone in range(k)])
        d = jack.mean() - jack
        a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
        move = lambda z: bias + (bias + z) / (1 - a * (bias + z))
        z = stats.norm.isf(tail)
        bca = pick(stats.norm.cdf(move(-z)), stats.norm.sf(move(z)))
        # the formula, not the draws: SciPy's own BCa lies within the noise of the draws
        if kind == "singles":
            reference = stats.bootstrap((np.arange(24),), lambda at: ratio(at), n_resamples=2000, vectorized=False,
                                        method="BCa", rng=np.random.default_rng(3)).confidence_interval
            width = reference.high - reference.low
            assert abs(bca[0] - reference.low) < 0.1 * width and abs(bca[1] - reference.high) < 0.1 * width
        out["cases"].append({"kind": kind, "point": point, "percentile": pick(tail, tail), "bca": bca})
    return out


def equal_values():
    """A series of one value: SciPy's t answers inf or nan here, the ranks are all tied."""
    out = []
    for value, n in [(0.02, 2), (-0.5, 6), (1e-9, 11)]:
        x = np.full(n, value)
        out.append({"x": list(x), "wilcoxon": wilcoxon(x), "hodges_lehmann": value, "sign_flip": sign_flip(x)})
    return out


def sign_flip_draws():
    """Monte Carlo with the same generator: bit i of the words of one draw is the sign of value i."""
    out = []
    for name, seed in [("forty", 5), ("tied", 6), ("two_hundred", 7)]:
        x = np.array(SERIES[name])
        generator, slack = Xoshiro(seed), 1e-12 * np.abs(x).sum()
        sums = [x.sum()]
        for _ in range(10_000):
            words = [generator.next() for _ in range(-(-len(x) // 64))]
            bits = np.array([words[i // 64] >> (i % 64) & 1 for i in range(len(x))])
            sums.append(np.sum(np.where(bits == 1, -x, x)))
        sums = np.array(sums)
        greater, less = (sums >= x.sum() - slack).mean(), (sums <= x.sum() + slack).mean()
        out.append({"x": list(x), "seed": seed, "p": [greater, less, min(1.0, 2 * min(greater, less))]})
    return out


def loadgen_bounds():
    """The largest number of values over that still shows the quantile below with this confidence."""
    out = []
    for n, p, confidence in [(63, 0.9, 0.99), (64, 0.9, 0.99), (127, 0.9, 0.99), (1307, 0.99, 0.99), (5000, 0.95, 0.95),
                             (50_000, 0.999, 0.99), (30, 0.5, 0.9), (1, 0.5, 0.5)]:
        over = [t for t in range(1, n + 1) if stats.binom.cdf(t, n, 1 - p) < 1 - confidence]
        out.append({"n": n, "p": p, "confidence": confidence, "bound": n - max(over) if over else None})
    return out


def delong(candidate, reference, positive):
    """By the definition of 1988: every positive against every negative."""
    parts = []
    for scores in (candidate, reference):
        above, below = scores[positive], scores[~positive]
        wins = (above[:, None] > below[None, :]) + 0.5 * (above[:, None] == below[None, :])
        assert abs(wins.mean() - roc_auc_score(positive, scores)) < 1e-12
        parts.append((wins.mean(), wins.mean(axis=1), wins.mean(axis=0)))
    (a, a10, a01), (b, b10, b01) = parts
    m, n = positive.sum(), (~positive).sum()
    s10, s01 = np.cov(a10, b10), np.cov(a01, b01)
    s = s10 / m + s01 / n
    se = math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    z = (a - b) / se
    half = stats.norm.isf(0.01) * se
    return {"auc": [a, b], "se": [math.sqrt(s[0, 0]), math.sqrt(s[1, 1])], "difference": a - b, "difference_se": se,
            "p": [stats.norm.sf(z), stats.norm.cdf(z), 2 * stats.norm.sf(abs(z))],
            "p_margin": stats.norm.sf((a - b + 0.02) / se), "interval_98": [a - b - half, a - b + half]}


def roc():
    draws, out = np.random.default_rng(20260102), []
    for n, separation, change, step in [(4, 1.0, 0.5, None), (40, 1.0, 0.3, None), (200, 2.0, 0.1, 0.5),
                                        (500, 0.0, 1.0, 0.25), (600, 1.5, 3.0, None)]:
        positive = draws.uniform(size=n) < 0.4
        positive[:4] = [True, True, False, False]
        reference = draws.normal(size=n) + separation * positive
        candidate = reference + change * draws.normal(size=n)
        if step:
            reference, candidate = (np.round(v / step) * step for v in (reference, candidate))
        out.append({"candidate": list(candidate), "reference": list(reference), "positive": [bool(p) for p in positive],
                    **delong(candidate, reference, positive)})
    return out


def t_e_values():
    """The Bayes factor by integration over the effect: noncentral against central density of t."""
    out = []
    for name in ("two", "three", "six", "eleven", "forty", "tied", "far"):
        for mu, scale in [(0.0, 1.0), (0.03, 1.0), (0.0, 0.3)]:
            x = np.array(SERIES[name])
            n, t = len(x), stats.ttest_1samp(x, mu).statistic
            if abs(t) > 50:  # beyond it SciPy's noncentral density is not exact enough
                continue
            density = lambda effect: stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) * stats.norm.pdf(effect, scale=scale)
            edges = np.linspace(-12 * scale, 12 * scale, 49)
            area = sum(integrate.quad(density, low, high, epsabs=1e-15, epsrel=1e-12)[0]
                       for low, high in zip(edges, edges[1:]))
            out.append({"x": SERIES[name], "mu": mu, "scale": scale, "log_e": math.log(area / stats.t.pdf(t, n - 1))})
    return out


def t_e_intervals():
    """Where the e-value reaches its bound: by search over mu, with the sums written out."""
    out = []
    for name, level, scale in itertools.product(("six", "eleven", "forty", "far"), (0.9, 0.98), (1.0, 0.3)):
        x = np.array(SERIES[name])
        n = len(x)
        def excess(mu):
            d = x - mu
            ratio = (d**2).sum() / ((d**2).sum() - d.sum() ** 2 / (n + scale**-2))
            return -0.5 * math.log(1 + n * scale**2) + n / 2 * math.log(ratio) + math.log(1 - level)
        far = 1e6 * np.std(x)
        found = None
        if excess(x.mean() + far) > 0:
            ends = [optimize.brentq(excess, x.mean(), x.mean() + s * far, xtol=1e-17, rtol=8.9e-16) for s in (-1, 1)]
            found = ends
        out.append({"x": list(x), "level": level, "scale": scale, "interval": found})
    return out


def change_points():
    """The best of all segmentations, without pruning, of values pulled in; ruptures' PELT must agree."""
    draws, out = np.random.default_rng(20260103), []
    plans = [([30, 30], 0.03, 0.0, 0.015), ([365], 0.0, 0.3, 0.015), ([100, 100, 165], 0.05, 0.3, 0.015),
             ([20, 8, 40], 0.2, 0.0, 0.05), ([4, 4], 0.5, 0.0, 0.01), ([60, 5, 60, 7, 60], 0.04, 0.0, 0.02),
             ([120, 120], 0.02, 0.0, 0.006), ([9], 0.0, 0.0, 0.1), ([50] * 6, 0.06, 0.5, 0.02)]
    for lengths, step, memory, sd in plans:
        x, noise = [], 0.0
        for k, length in enumerate(lengths):
            for _ in range(length):
                noise = memory * noise + math.sqrt(1 - memory**2) * draws.normal()
                spike = abs(draws.normal()) * 0.06 if draws.uniform() < 0.02 else 0.0
                x.append(100 * math.exp(sd * noise + spike + step * (k % 2)))
        x = np.array(x)
        for penalty, shortest in [(10.0, 4), (6.0, 4), (3.0, 1), (6.0, 9)]:
            out.append({"x": list(x), "penalty": penalty, "min_segment": shortest,
                        "found": segmentation(x, penalty, shortest)})
    return out


def segmentation(x, penalty, shortest):
    steps = np.diff(x)
    noise = 1.482602218505602 * np.median(np.abs(steps - np.median(steps))) / math.sqrt(2)
    calm = np.array([np.clip(v, np.median(x[max(0, i - 4):i + 5]) - 3 * noise, np.median(x[max(0, i - 4):i + 5]) + 3 * noise)
                     for i, v in enumerate(x)])
    n, price = len(x), penalty * noise**2 * math.log(len(x))
    if n < 2 * shortest:
        return []
    calm = calm - calm.mean()
    best, start = [-price] + [math.inf] * n, [0] * (n + 1)
    for end in range(shortest, n + 1):
        for begin in [0, *range(shortest, end - shortest + 1)]:
            part = calm[begin:end]
            total = best[begin] + ((part - part.mean()) ** 2).sum() + price
            if total < best[end]:
                best[end], start[end] = total, begin
    found, end = [], start[n]
    while end:
        found.append(end)
        end = start[end]
    found.reverse()
    if shortest == 1:
        other = ruptures.Pelt(model="l2", min_size=1, jump=1).fit(calm.reshape(-1, 1)).predict(pen=price)
        assert other[:-1] == found, (other, found)
    return found


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


if __name__ == "__main__":
    generator = Xoshiro(42)
    everything = {
        "series": series(), "distributions": distributions(), "proportions": proportions(), "tables": tables(),
        "multiplicity": multiplicity(), "order_statistics": order_statistics(), "power": power(),
        "bootstrap": bootstrap(), "equal_values": equal_values(), "sign_flip_draws": sign_flip_draws(),
        "loadgen_bounds": loadgen_bounds(), "roc": roc(), "t_e_values": t_e_values(),
        "t_e_intervals": t_e_intervals(), "change_points": change_points(),
        "rng": {"seed": 42, "next": [str(generator.next()) for _ in range(8)],
                "below": [generator.below(n) for n in (1, 2, 3, 10, 1000, 2**40)]},
    }
    target = pathlib.Path(__file__).with_name("vectors.json")
    target.write_text(json.dumps(plain(everything), separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes")
