# SPDX-License-Identifier: Apache-2.0
"""Masks of this project in place of mergekit's random numbers, so that what both merge has the same values.

feed() replaces torch.bernoulli by draws of the generator that docs/merge-methods.md describes, computed in
numpy. Ranks of DELLA stay the peer's own: they are read out of the probabilities that it asks for, and
the probability of a rank is computed anew, since the peer's have the 24 digits of float32.
"""
import numpy as np
import torch
from mergekit.merge_methods import generalized_task_arithmetic as family
from test_merge_numpy import uniform


class Masks:
    """What the tensor is that the peer works on, and which of its models."""

    def __init__(self):
        self.rows = {}      # by tensor: the peer's row of each of our rows, where they differ
        self.drawn = 0      # that leave something out and keep something

    def begin(self, name):
        self.name, self.source = name, -1

    def next_source(self, density, epsilon):
        self.source, self.density, self.epsilon = self.source + 1, density, epsilon

    def odds(self, asked):
        """The probabilities in float64."""
        if self.epsilon is None:
            return np.full(asked.shape, self.density)
        low, last = self.density - self.epsilon, asked.shape[1] - 1
        ranks = np.rint((asked.double().numpy() - low) / (2 * self.epsilon) * last)
        return low + 2 * self.epsilon * ranks / last

    def draw(self, asked, *rest, **more):
        draws = uniform(asked.numel(), self.source, 0, self.name).reshape(asked.shape)
        if self.name in self.rows:
            ours, draws = draws, np.empty_like(draws)
            draws[self.rows[self.name]] = ours
        self.drawn += 0 < self.density < 1
        return torch.from_numpy(draws < self.odds(asked)).to(asked.dtype)


def feed():
    """Replace the peer's draws from now on; the masks' state is returned."""
    masks = Masks()
    merge_group, sparsify = family.GeneralizedTaskArithmeticMerge.merge_group, family.sparsify

    def named(self, group, /, **parameters):
        masks.begin(group.metadata.name)
        return merge_group(self, group, **parameters)

    def counted(delta, density, method, epsilon=None, **more):
        masks.next_source(density, epsilon)
        return sparsify(delta, density=density, method=method, **more,
                        **({} if epsilon is None else {"epsilon": epsilon}))

    family.GeneralizedTaskArithmeticMerge.merge_group = named
    family.sparsify = counted
    torch.bernoulli = masks.draw
    return masks
