"""Whole parties as what is protected: what a round of a part of them costs."""


def party_level(noise: float, sample_rate: float) -> tuple[float, float]:
    """Noise and rate with which accountants, who think of Poisson samples, bound a round of a chosen part of parties.

    A party that is there, or is not and sends nothing, moves the sum of all by the clipping norm. Where a fixed number
    is drawn without replacement, another takes its place, and the sum moves by twice the norm: half the noise.

    Args:
        noise: Standard deviation of the noise on the sum, over the clipping norm.
        sample_rate: Probability of each to be chosen, in (0, 1]; 1 is all of them.
    Source: Zhu, Dong and Wang, AISTATS 2022, arXiv 2106.08567, Theorem 11: under replacement of one, subsets of a fixed
        size are dominated by the same pair as Poisson samples.
    """
    return (noise, 1.0) if sample_rate >= 1 else (noise / 2, sample_rate)
