"""Networks with one part taken away, to measure what it is worth."""

from __future__ import annotations

from torch import nn

from course_lib.models.fusion import AttentionFusion


class EqualWeightFusion(AttentionFusion):
    """Attention fusion whose scores stay zero: both views have the weight 1/2 in every crystal.

    Parameters
    ----------
    **arguments
        Those of `AttentionFusion`. With the same seed, all other initial weights are the same.
    """

    def __init__(self, **arguments: object):
        super().__init__(**arguments)
        for parameter in self.scores.parameters():
            nn.init.zeros_(parameter).requires_grad_(False)
