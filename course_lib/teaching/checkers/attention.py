"""Exercise 6: weights for two views, a test of what they depend on, and a search for what breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from course_lib.teaching.checkers.declarative import Found, Function, Match, asks, without_arguments, yes_or_no
from course_lib.teaching.checkers.feedback import Hint, as_array, as_dict, call, checker, close, finished, kind_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def _random(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    import torch

    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _tensor(returned: object, shown: str) -> np.ndarray:
    """Read a tensor through which a network can learn."""
    import torch

    name = without_arguments(shown)
    if not isinstance(returned, torch.Tensor):
        as_array(returned, name, None)
        raise Hint(
            f"`{name}` is {kind_of(returned)}, which stops gradients, so a network could not learn: return a tensor. "
            "Stay with PyTorch's functions."
        )
    if not returned.requires_grad:
        raise Hint(
            f"`{name}` is a tensor without a gradient, so nothing could be learned through it. Compute it from the "
            "arguments, with PyTorch's functions and without `detach`."
        )
    return as_array(returned, name, None)


# --- weights ----------------------------------------------------------------------------------------------------------


def _scores(views: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (views * a).sum(2) + b


def _weights(views: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return _scores(views, a, b).softmax(1)


_SQUEEZED = (
    "For a batch of one crystal the axis of the crystals is gone: `squeeze()` removes every axis of length one. Name "
    "the axis that you mean."
)

_WEIGHTS = (
    ("Your softmax runs over the *crystals* of the batch: they share one weight among them. Along which axis of (B, 2) "
     "are the two views of one crystal?", lambda v, a, b: _scores(v, a, b).softmax(0)),
    ("All crystals get the same weights: yours come from the learned `b` alone, as one α for all. Where do the views "
     "of the crystal come in?", lambda v, a, b: b.softmax(0).expand(len(v), 2)),
    ("All crystals get the same weights: you took a mean over the batch. Each crystal has two scores of its own.",
     lambda v, a, b: _scores(v, a, b).mean(0).softmax(0).expand(len(v), 2)),
    ("A sigmoid for each view lets both weights be large, or both small. The two must compete: which function makes "
     "them add up to one?", lambda v, a, b: _scores(v, a, b).sigmoid()),
    ("Those are the scores. What turns them into positive weights that add up to one?", _scores),
    ("They are positive, but they do not add up to one: divide by the sum over the two views.",
     lambda v, a, b: _scores(v, a, b).exp()),
    ("Dividing by the sum makes them add up to one, but scores may be negative, or add up to zero. What does softmax "
     "do to them before it divides?", lambda v, a, b: _scores(v, a, b) / _scores(v, a, b).sum(1, keepdim=True)),
    ("You scored both views with the first row of `a`. Each view has a row of its own.",
     lambda v, a, b: _scores(v, a[:1], b).softmax(1)),
    ("Nearly: `b` is missing. Without it a view cannot get more weight for all crystals.",
     lambda v, a, b: ((v * a).sum(2)).softmax(1)),
    ("The two columns are swapped: composition comes first, in `views` and in the weights.",
     lambda v, a, b: _weights(v, a, b).flip(1)),
    (_SQUEEZED, lambda v, a, b: _weights(v, a, b).squeeze()),
)  # fmt: skip


def _about_weights(found: Found) -> str:
    first = found.values[0]
    if first.shape != (5, 2):
        return (
            f"For 5 crystals yours returns the shape {first.shape}. Return two weights for each crystal, (5, 2): sum "
            "over the last axis of `views * a`, and over no other."
        )
    if not close(first.sum(1), np.ones(5), 1e-4):
        return f"The weights of the first crystal add up to {first[0].sum():.3f}. They should add up to one."
    return (
        "Your weights add up to one, but they are not the right ones. A score is the dot product of a view with its "
        "row of `a`, plus its entry of `b`."
    )


def _probes(*shapes: tuple[tuple[int, ...], ...]) -> list[tuple[Tensor, ...]]:
    """Return random tensors of these shapes that keep a gradient, as the network's own do."""
    return [
        tuple(_random(*shape, seed=10 * number + k).requires_grad_() for k, shape in enumerate(of_one))
        for number, of_one in enumerate(shapes)
    ]


check_attention_weights = asks(
    Function(
        "attention_weights",
        _weights,
        lambda: _probes(((5, 2, 3), (2, 3), (2,)), ((4, 2, 6), (2, 6), (2,)), ((1, 2, 3), (2, 3), (2,))),
        _WEIGHTS,
        _about_weights,
        read=_tensor,
        rtol=1e-4,
        atol=1e-5,
    ),
    shows="Two weights for each crystal, from its own two views, in a batch of any size.",
)


# --- the sum ----------------------------------------------------------------------------------------------------------


def _fused(views: Tensor, weights: Tensor) -> Tensor:
    return (views * weights[:, :, None]).sum(1)


_SUMS = (
    ("That is the plain mean: the weights are not used.", lambda v, w: v.mean(1)),
    ("That is the plain sum: the weights are not used.", lambda v, w: v.sum(1)),
    ("Each view got the weight of the other one.", lambda v, w: _fused(v, w.flip(1))),
    ("You put the weighted views side by side, as early fusion does. Attention fusion adds them up: the result is as "
     "long as one view.", lambda v, w: (v * w[:, :, None]).flatten(1)),
    ("The products are right. Now add up the two views of each crystal.", lambda v, w: v * w[:, :, None]),
    ("You took the mean of the weighted views, which is half of the right sum. The weights already add up to one.",
     lambda v, w: (v * w[:, :, None]).mean(1)),
    ("You added up over the crystals, and two views are left. Along which axis are the two views of a crystal?",
     lambda v, w: (v * w[:, :, None]).sum(0)),
    ("You took the view with the larger weight and dropped the other. That choice has no gradient, so it cannot be "
     "learned; add up both.", lambda v, w: v[range(len(v)), w.argmax(1)]),
    (_SQUEEZED, lambda v, w: _fused(v, w).squeeze()),
)  # fmt: skip


def _about_sums(found: Found) -> str:
    if found.values[0].shape != (5, 3):
        return (
            f"For 5 crystals and views of 3 numbers yours returns the shape {found.values[0].shape}. Return one vector "
            "per crystal, (5, 3)."
        )
    return "The shape is right, the numbers are not. In which shape must `weights` be to multiply `views`?"


check_fuse = asks(
    Function(
        "fuse",
        _fused,
        lambda: _probes(((5, 2, 3), (5, 2)), ((2, 2, 2), (2, 2)), ((1, 2, 3), (1, 2))),
        _SUMS,
        _about_sums,
        read=_tensor,
        rtol=1e-4,
        atol=1e-5,
    ),
    shows="One vector per crystal, between its two views and nearer to the one with more weight.",
)


# --- a test of what the weights depend on ----------------------------------------------------------------------------


def _layers() -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    """Return layers to test, each with the hint for a test that is wrong about it."""
    import torch

    a, b = _random(2, 4, seed=2), torch.tensor([0.3, -0.5])
    generator = torch.Generator().manual_seed(0)
    rounding, place = _random(64, 2, seed=5, scale=1e-7), _random(64, 2, seed=6)
    border = _views()[:2, 0, 0].max()
    return [
        ("Your test says yes to weights of one half for all crystals. Which of your lines compares one crystal with "
         "another?", lambda v: torch.full((len(v), 2), 0.5)),
        ("Your test says yes to a layer that gives every crystal the same two weights, 0.69 and 0.31. Compare the "
         "weights of one crystal with those of *another crystal*, not the two views with each other or with one half.",
         lambda v: b.softmax(0).repeat(len(v), 1)),
        ("Your test says yes to a layer whose weights come from the mean over the batch: they change from batch to "
         "batch, but within a batch they are the same for all. Compare crystals of one batch.",
         lambda v: _weights(v.mean(0, keepdim=True), a, b).repeat(len(v), 1)),
        ("Your test says yes to weights that differ in the seventh digit: that is rounding. Ask for more than 1e-5.",
         lambda v: b.softmax(0) + rounding[: len(v)]),
        ("Your test says no to a layer that is right. Which of your conditions fails? Think of the order: after `flip` "
         "the weights of the first crystal are in the last row.", lambda v: _weights(v, a, b)),
        ("Your test says no to a layer that gives some crystals the same weights, and others different ones. Do you "
         "look at *all* crystals of the batch?",
         lambda v: torch.where((v[:, 0, 0] > border)[:, None], _weights(v, a, b), b.softmax(0))),
        ("Your test says no to a layer whose weights differ by a hundredth from crystal to crystal. That is little, "
         "but it is not rounding.", lambda v: _weights(v, 0.02 * a, b)),
        ("Your test says yes to weights that belong to the *place* in the batch: the first crystal gets the first pair "
         "of weights, whichever crystal it is. What happens to them when the same crystals come in reverse order?",
         lambda v: place[: len(v)].softmax(1)),
        ("Your test says yes to weights that are drawn at random at each call. Call the layer twice: should a crystal "
         "not keep its weights?", lambda v: torch.randn(len(v), 2, generator=generator).softmax(1)),
    ]  # fmt: skip


def _views() -> Tensor:
    return _random(8, 2, 4, seed=1)


def _depends_on_crystal(layer: Callable[[Tensor], Tensor], views: Tensor) -> bool:
    weights, turned_back = layer(views), layer(views.flip(0)).flip(0)
    return bool((weights - weights[0]).abs().max() > 1e-5 and (weights - turned_back).abs().max() < 1e-5)


def _about_one_layer(found: Found) -> str:
    if len({float(verdict) for verdict in found.values}) == 1:
        return (
            f"Your test says {bool(found.values[0])} to everything, to a layer that is right and to one that gives all "
            "crystals the same weights. A test must be able to fail, and to pass. Do you compare crystals, along "
            "`dim=0`? Weights that add up to one show nothing."
        )
    verdicts = zip(_layers(), found.values, found.right, strict=True)
    return next(hint for (hint, _), verdict, right in verdicts if verdict != right)


check_dependence_test = asks(
    Function(
        "depends_on_crystal",
        _depends_on_crystal,
        lambda: [(layer, _views()) for _, layer in _layers()],
        (),
        _about_one_layer,
        read=yes_or_no,
    ),
    shows="Your test passed the layers that are right and caught all 6 others.",
)


# --- the hunt --------------------------------------------------------------------------------------------------------

_VARIABLES = ("empty", "summary", "question", "scores", "weights")
CULPRITS = {"supercell": "summary", "rest of the batch": "weights"}
_KEPT = {
    "orientation": "The layer reads atom vectors that depend only on distances, so rotating the crystal cannot matter.",
    "origin": "No position reaches the layer, so translating the crystal cannot matter.",
    "order of atoms": "The layer adds up over atoms, and a sum does not depend on the order.",
    "choice of cell": "Another cell of the same size has the same atoms with the same neighbours.",
}
_TOO_LATE = {
    ("supercell", "question"):
        "`question` does change in a supercell. But is it the first that does? See what it is computed from.",
    ("supercell", "scores"):
        "`scores` do change in a supercell, because something that they are computed from did. Go back to the first "
        "variable that changes.",
    ("supercell", "weights"):
        "With twice the atoms each atom's weight must halve, and `softmax` of one crystal's scores does that by "
        "itself. Which variable makes the *scores* change?",
    ("supercell", "empty"):
        "`empty` is zeros. What is added into it, and how much of it in a cell with twice the atoms?",
    ("rest of the batch", "summary"):
        "`index_add` adds each atom to the row of its own crystal: other crystals stay out of `summary`. Which line "
        "mixes all atoms, whichever crystal they belong to?",
    ("rest of the batch", "question"):
        "`question` has one row per crystal, computed from that crystal's own rows. Look further down.",
    ("rest of the batch", "scores"):
        "The score of an atom needs its own vector and the question of its own crystal. Look one line further.",
    ("rest of the batch", "empty"):
        "`empty` only has more rows with more crystals. Which line mixes numbers of different crystals?",
}  # fmt: skip


_BROKEN = "In which rows of the figure does the change reach beyond the shaded area, which is rounding?"
_KEPT_ON_PAGE = "kept"  # what the form on the website offers alongside the variables


def _about_promise(promise: str, variable: str) -> str:
    """Return the hint for one promise of the answer, nothing where it is right."""
    if variable == _KEPT_ON_PAGE:
        return "" if promise in _KEPT else _BROKEN
    if promise in _KEPT:
        return f"You say that it breaks `{promise}`, but the figure shows only rounding error there. {_KEPT[promise]}"
    return "" if variable == CULPRITS[promise] else _TOO_LATE[promise, variable]


def culprits_on_page() -> Match:
    """Return task 4 as the website asks for it."""
    options = (_KEPT_ON_PAGE, *_VARIABLES)
    rows = {promise: {option: _about_promise(promise, option) for option in options} for promise in _KEPT | CULPRITS}
    return Match("culprits", "Is the promise kept, or which variable breaks it first?", rows)


@checker
def check_culprits(answer: object) -> str:
    """Check which promises a layer breaks, and which of its variables is the first to be wrong.

    Parameters
    ----------
    answer : dict of str to str
        By the column of `course_lib.invariance.prediction_changes` the variable's name.

    Returns
    -------
    Feedback
    """
    culprits = as_dict(answer, "culprits")
    for name, variable in culprits.items():
        if name not in CULPRITS | _KEPT:
            raise Hint(f"The keys are labels of the figure: {', '.join([*_KEPT, *CULPRITS])}.")
        finished(variable, f'culprits["{name}"]')
        if name in _KEPT:
            raise Hint(_about_promise(name, ""), culprits_on_page().answer)
        if not isinstance(variable, str) or variable not in _VARIABLES:
            raise Hint(f"`{name}`: name a variable of `forward`, in quotes: {', '.join(_VARIABLES)}.")
    missing = [name for name in CULPRITS if name not in culprits]
    if len(missing) == 2:
        raise Hint(f"`culprits` is empty. {_BROKEN}", culprits_on_page().answer)
    if missing:
        raise Hint(
            f"One more promise is broken ({len(culprits)} so far). Go through the figure again: where there is one "
            "bug, there may be others.",
            culprits_on_page().answer,
        )
    for name, variable in culprits.items():
        if hint := _about_promise(name, variable):
            raise Hint(hint, culprits_on_page().answer)
    return "Two promises are broken, by two lines. Neither would have stopped the training, or made the loss look odd."


# --- the fixed layer ------------------------------------------------------------------------------------------------


def _layer_as(
    summarise: Callable[[Tensor, Tensor], Tensor], weigh: Callable[[Tensor, Tensor], Tensor]
) -> Callable[..., Tensor]:
    """Return the layer's forward pass with ``summarise(atoms, crystal)`` and ``weigh(scores, crystal)``."""

    def forward(layer: nn.Module, atoms: Tensor, composition: Tensor, crystal: Tensor) -> Tensor:
        question = layer.ask(composition) + layer.summary(summarise(atoms, crystal))
        weights = weigh((question[crystal] * layer.answer(atoms)).mean(1), crystal)
        return _sum(weights[:, None] * atoms, crystal)

    return forward


def _sum(rows: Tensor, crystal: Tensor) -> Tensor:
    return rows.new_zeros(int(crystal.max()) + 1, rows.shape[1]).index_add(0, crystal, rows)


def _mean(rows: Tensor, crystal: Tensor) -> Tensor:
    return _sum(rows, crystal) / crystal.bincount()[:, None]


def _uniform(scores: Tensor, crystal: Tensor) -> Tensor:
    return 1 / crystal.bincount()[crystal]


def _of_the_crystal(scores: Tensor, crystal: Tensor) -> Tensor:
    from torch_geometric.utils import softmax

    return softmax(scores, crystal)


def _of_the_batch(scores: Tensor, crystal: Tensor) -> Tensor:
    return scores.softmax(0)


_FIXED = _layer_as(_mean, _of_the_crystal)

_HALF_FIXED = (
    ("It does what the colleague's layer did. Which two lines must change?", _layer_as(_sum, _of_the_batch)),
    ("`summary` is fixed. `weights` still add up to one over *all* atoms of the batch.",
     _layer_as(_mean, _of_the_batch)),
    ("`weights` is fixed. `summary` still adds up over the atoms, so it doubles in a cell of twice the size.",
     _layer_as(_sum, _of_the_crystal)),
    ("You divided `summary` by the number of atoms of the whole *batch*: now it, too, changes with the other crystals. "
     "Divide each row by the number of atoms of its own crystal.",
     _layer_as(lambda x, c: _sum(x, c) / len(x), _of_the_crystal)),
    ("Each atom of a crystal has the same weight: that keeps every promise, but it is not attention any more. Keep "
     "the scores.", _layer_as(_mean, _uniform)),
    ("A sigmoid looks at one atom at a time, so the batch no longer matters. But now the weights of a crystal do not "
     "add up to one: with twice the atoms the sum is twice as large.", _layer_as(_mean, lambda s, c: s.sigmoid())),
    ("The weights of a crystal must add up to one: divide by the sum over *its* atoms.",
     _layer_as(_mean, lambda s, c: s.exp())),
    ("It keeps every promise, but it no longer reads a summary of the crystal. Fix the summary instead of removing it.",
     _layer_as(lambda x, c: 0 * _sum(x, c), _of_the_crystal)),
    ("You divide by the number of atoms, but the softmax still runs over the whole batch before.",
     _layer_as(_mean, lambda s, c: s.softmax(0) / c.bincount()[c])),
)  # fmt: skip


@checker
def check_fixed_attention(answer: object) -> str:
    """Check the fixed layer.

    Parameters
    ----------
    answer : class
        A Module with the layers ``ask``, ``summary`` and ``answer``, made without arguments; its forward pass takes
        atoms (N, 32), composition (B, 145) and crystal (N,) and returns (B, 32).

    Returns
    -------
    Feedback
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = call(answer, "FixedAttention")
    if not isinstance(layer, nn.Module) or any(
        not isinstance(getattr(layer, name, None), nn.Linear) for name in ("ask", "summary", "answer")
    ):
        raise Hint("Keep the first lines of the stub: a class made from `ColleaguesAttention`, with its three layers.")
    with torch.no_grad():
        return _check_forward(layer)


def _check_forward(layer: nn.Module) -> str:
    import torch

    def forward(*inputs: Tensor) -> np.ndarray:
        return as_array(call(layer.forward, "forward", *inputs), "forward(...)", (int(inputs[2].max()) + 1, 32))

    def same(one: object, other: object) -> bool:
        return close(one, other, 1e-3, 1e-4)

    crystal = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2])
    atoms, composition = _random(9, 32, seed=1), _random(3, 145, seed=2)
    value = forward(atoms, composition, crystal)
    if same(value, _FIXED(layer, atoms, composition, crystal)):
        return "Every promise is kept, and it is still attention. See for yourself, with the whole network:"
    for hint, wrong in _HALF_FIXED:
        if same(value, wrong(layer, atoms, composition, crystal)):
            raise Hint(hint)
    alone = [forward(atoms[crystal == k], composition[[k]], 0 * crystal[crystal == k]) for k in range(3)]
    if not same(np.concatenate(alone), value):
        raise Hint(
            "A crystal gives a different vector alone in its batch than among others. `rest of the batch` is broken."
        )
    if not same(forward(atoms.repeat(2, 1), composition, crystal.repeat(2)), value):
        raise Hint("With every atom twice, as in a supercell, the vector is different. `supercell` is broken.")
    if not same(forward(atoms.flip(0), composition.flip(0), 2 - crystal.flip(0))[::-1], value):
        raise Hint("With the atoms in another order, the vectors are different. `order of atoms` is broken.")
    for name, hint in (
        ("answer", "The result does not depend on the scores, so it is not attention any more. Keep them."),
        ("summary", "It no longer reads a summary of the crystal. Fix the summary instead of removing it."),
    ):
        kept = getattr(layer, name).weight.clone()
        getattr(layer, name).weight.neg_()
        unchanged = same(forward(atoms, composition, crystal), value)
        getattr(layer, name).weight.copy_(kept)
        if unchanged:
            raise Hint(hint)
    if same(forward(atoms, composition.flip(0), crystal), value):
        raise Hint("With another composition it returns the same. The query comes from the composition: keep it.")
    return (
        "Every promise is kept, by other means than ours, and it still reads the composition. With the whole network:"
    )
