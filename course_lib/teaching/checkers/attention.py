"""Exercise 6: weights for two views, a test of what they depend on, and a hunt for what breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from course_lib.teaching.checkers.feedback import (
    Hint,
    Mistake,
    array_from,
    as_array,
    as_dict,
    call,
    checker,
    close,
    finished,
    recognise_function,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


def _random(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    import torch

    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- weights ----------------------------------------------------------------------------------------------------------


def _scores(views: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (views * a).sum(2) + b


def _weights(views: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return _scores(views, a, b).softmax(1)


_WEIGHTS = (
    Mistake(
        lambda v, a, b: _scores(v, a, b).softmax(0),
        "Your softmax runs over the *crystals* of the batch: they share one weight among them. Over which axis of "
        "(B, 2) do the two views of one crystal stand side by side?",
    ),
    Mistake(
        lambda v, a, b: b.softmax(0).expand(len(v), 2),
        "All crystals get the same weights: yours come from the learned `b` alone, as one α for all. Where do the "
        "views of the crystal come in?",
    ),
    Mistake(
        lambda v, a, b: _scores(v, a, b).mean(0).softmax(0).expand(len(v), 2),
        "All crystals get the same weights: you took a mean over the batch. Each crystal has two scores of its own.",
    ),
    Mistake(
        lambda v, a, b: _scores(v, a, b).sigmoid(),
        "A sigmoid for each view lets both weights be large, or both small. The two must compete: which function makes "
        "them add up to one?",
    ),
    Mistake(_scores, "Those are the scores. What makes positive weights of them that add up to one?"),
    Mistake(
        lambda v, a, b: _scores(v, a, b).exp(),
        "Positive they are, but they do not add up to one: divide by the sum over the two views.",
    ),
    Mistake(
        lambda v, a, b: _scores(v, a, b) / _scores(v, a, b).sum(1, keepdim=True),
        "Dividing by the sum makes them add up to one, but scores may be negative, or add up to zero. What does "
        "softmax do to them before it divides?",
    ),
    Mistake(
        lambda v, a, b: _scores(v, a[:1], b).softmax(1),
        "You scored both views with the first row of `a`. Each view has a row of its own.",
    ),
    Mistake(
        lambda v, a, b: ((v * a).sum(2)).softmax(1),
        "Nearly: `b` is missing. Without it a view cannot get more weight for all crystals.",
    ),
    Mistake(
        lambda v, a, b: _weights(v, a, b).flip(1),
        "The two columns are swapped: composition stands first, in `views` and in the weights.",
    ),
)


def _one_by_one(function: object, name: str, shape: tuple, *arguments: Tensor, shared: int = 0) -> np.ndarray:
    """Call a function with batches of one; the last `shared` arguments are the same for all crystals."""
    own, rest = arguments[: len(arguments) - shared], arguments[len(arguments) - shared :]
    rows = []
    for row in range(len(arguments[0])):
        value = call(function, name, *(argument[row : row + 1] for argument in own), *rest)
        value = as_array(value, f"{name}(...)", None)
        if value.shape != shape:
            raise Hint(
                f"For a batch of one crystal yours returns the shape {value.shape}, where {shape} is asked for. "
                "`squeeze()` takes away every axis of length one, also that of the crystals. Name the axis that you "
                "mean."
            )
        rows.append(value)
    return np.concatenate(rows)


@checker
def check_attention_weights(function: object) -> str:
    """Check the weights of two views.

    Parameters
    ----------
    function : callable
        ``function(views, a, b) -> (B, 2)`` for views (B, 2, H), composition first, and learned a (2, H) and b (2,).

    Returns
    -------
    Feedback
    """
    probes = [
        (_random(5, 2, 3, seed=1), _random(2, 3, seed=2), _random(2, seed=3)),
        (_random(4, 2, 6, seed=4), _random(2, 6, seed=5), _random(2, seed=6)),
    ]
    values = [array_from(function, "attention_weights", None, *probe) for probe in probes]
    recognise_function(values, probes, _WEIGHTS, rtol=1e-4, atol=1e-5)
    if values[0].shape != (5, 2):
        raise Hint(
            f"For 5 crystals yours returns the shape {values[0].shape}. Return two weights for each crystal, (5, 2): "
            "sum over the last axis of `views * a`, and over no other."
        )
    if not close(values[0].sum(1), np.ones(5), 1e-4):
        raise Hint(f"The weights of the first crystal add up to {values[0][0].sum():.3f}. They should add up to one.")
    if not all(close(value, _weights(*probe), 1e-4, 1e-5) for value, probe in zip(values, probes, strict=True)):
        raise Hint(
            "Your weights add up to one, but they are other weights. A score is the dot product of a view with its row "
            "of `a`, plus its entry of `b`."
        )
    alone = _one_by_one(function, "attention_weights", (1, 2), *probes[0], shared=2)
    if not close(alone, values[0], 1e-4, 1e-5):
        raise Hint("The weights of a crystal change with the rest of the batch. Something in yours joins the crystals.")
    return "Two weights for each crystal, from its own two views, in a batch of any size."


# --- the sum ----------------------------------------------------------------------------------------------------------


def _fused(views: Tensor, weights: Tensor) -> Tensor:
    return (views * weights[:, :, None]).sum(1)


_SUMS = (
    Mistake(lambda v, w: v.mean(1), "That is the plain mean: the weights are not used."),
    Mistake(lambda v, w: v.sum(1), "That is the plain sum: the weights are not used."),
    Mistake(lambda v, w: _fused(v, w.flip(1)), "Each view got the weight of the other one."),
    Mistake(
        lambda v, w: (v * w[:, :, None]).flatten(1),
        "You put the weighted views side by side, as early fusion does. Attention fusion adds them up: the result is "
        "as long as one view.",
    ),
    Mistake(lambda v, w: v * w[:, :, None], "The products are right. Now add up the two views of each crystal."),
    Mistake(
        lambda v, w: (v * w[:, :, None]).mean(1),
        "You took the mean of the weighted views, half of what is asked for. The weights add up to one already.",
    ),
    Mistake(
        lambda v, w: (v * w[:, :, None]).sum(0),
        "You added up over the crystals, and two views are left. Over which axis do the two views of a crystal stand?",
    ),
    Mistake(
        lambda v, w: v[range(len(v)), w.argmax(1)],
        "You took the view with the larger weight and threw the other away. That has no slope to learn from; add up "
        "both.",
    ),
)


@checker
def check_fuse(function: object) -> str:
    """Check the weighted sum of two views.

    Parameters
    ----------
    function : callable
        ``function(views, weights) -> (B, H)`` for views (B, 2, H) and weights (B, 2).

    Returns
    -------
    Feedback
    """
    probes = [
        (_random(5, 2, 3, seed=1), _random(5, 2, seed=2).softmax(1)),
        (_random(2, 2, 2, seed=3), _random(2, 2, seed=4).softmax(1)),
    ]
    values = [array_from(function, "fuse", None, *probe) for probe in probes]
    recognise_function(values, probes, _SUMS, rtol=1e-4, atol=1e-5)
    if values[0].shape != (5, 3):
        raise Hint(
            f"For 5 crystals and views of 3 numbers yours returns the shape {values[0].shape}. Return one vector per "
            "crystal, (5, 3)."
        )
    if not all(close(value, _fused(*probe), 1e-4, 1e-5) for value, probe in zip(values, probes, strict=True)):
        raise Hint("The shape is right, the numbers are not. In which shape must `weights` be to multiply `views`?")
    _one_by_one(function, "fuse", (1, 3), *probes[0])
    return "One vector per crystal, between its two views and nearer to the one with more weight."


# --- a test of what the weights depend on ----------------------------------------------------------------------------


def _layers(views: Tensor) -> dict[str, tuple[Callable[[Tensor], Tensor], bool]]:
    """Return layers to test on `views`, with what a good test says: whether weights depend on the crystal."""
    import torch

    a, b = _random(2, 4, seed=2), torch.tensor([0.3, -0.5])
    generator = torch.Generator().manual_seed(0)
    rounding = _random(64, 2, seed=5, scale=1e-7)
    place = _random(64, 2, seed=6)
    border = views[:2, 0, 0].max()
    return {
        "attention": (lambda v: _weights(v, a, b), True),
        "some": (lambda v: torch.where((v[:, 0, 0] > border)[:, None], _weights(v, a, b), b.softmax(0)), True),
        "weak attention": (lambda v: _weights(v, 0.02 * a, b), True),
        "global": (lambda v: b.softmax(0).repeat(len(v), 1), False),
        "equal": (lambda v: torch.full((len(v), 2), 0.5), False),
        "rounding": (lambda v: b.softmax(0) + rounding[: len(v)], False),
        "batch mean": (lambda v: _weights(v.mean(0, keepdim=True), a, b).repeat(len(v), 1), False),
        "chance": (lambda v: torch.randn(len(v), 2, generator=generator).softmax(1), False),
        "place": (lambda v: place[: len(v)].softmax(1), False),
    }


_TOLD = {
    "equal": "Your test says yes to weights of one half for all crystals. Which of your lines compares one crystal "
    "with another?",
    "global": "Your test says yes to a layer that gives every crystal the same two weights, 0.69 and 0.31. Compare the "
    "weights of one crystal with those of *another crystal*, not the two views with each other or with one half.",
    "batch mean": "Your test says yes to a layer whose weights come from the mean over the batch: they change from "
    "batch to batch, but within a batch they are the same for all. Compare crystals of one batch.",
    "rounding": "Your test says yes to weights that differ in the seventh digit: that is rounding. Ask for more than "
    "1e-5.",
    "attention": "Your test says no to a layer that is right. Which of your conditions fails? Think of the order: "
    "after `flip` the weights of the first crystal stand in the last row.",
    "some": "Your test says no to a layer that gives some crystals the same weights, and others different ones. Do you "
    "look at *all* crystals of the batch?",
    "weak attention": "Your test says no to a layer whose weights differ by a hundredth from crystal to crystal. That "
    "is little, but it is no rounding.",
    "place": "Your test says yes to weights that belong to the *place* in the batch: the first crystal gets the first "
    "pair of weights, whoever it is. What happens to them when the same crystals come in reverse order?",
    "chance": "Your test says yes to weights that are drawn at random at each call. Call the layer twice: should "
    "a crystal not keep its weights?",
}


@checker
def check_dependence_test(function: object) -> str:
    """Check a test that says whether a layer's weights depend on the crystal, by letting it judge layers.

    Parameters
    ----------
    function : callable
        ``function(layer, views) -> bool`` where ``layer(views)`` returns weights (B, 2) for views (B, 2, H).

    Returns
    -------
    Feedback
    """
    views = _random(8, 2, 4, seed=1)
    layers = _layers(views)
    verdicts = {}
    for name, (layer, _) in layers.items():
        verdict = call(function, "depends_on_crystal", layer, views)
        if getattr(verdict, "shape", None) == ():  # a tensor or array of one value
            verdict = verdict.item()
        if not isinstance(verdict, bool | np.bool_):
            raise Hint(
                f"`depends_on_crystal` returns something of type {type(verdict).__name__}. Let it say True or False."
            )
        verdicts[name] = bool(verdict)
    if len(set(verdicts.values())) == 1:
        raise Hint(
            f"Your test says {verdicts['attention']} to everything, to a layer that is right and to one that gives all "
            "crystals the same weights. A test must be able to fail, and to pass. Do you compare crystals, along "
            "`dim=0`? Weights that add up to one show nothing."
        )
    for name, hint in _TOLD.items():
        if verdicts[name] != layers[name][1]:
            raise Hint(hint)
    return f"Your test passed the layers that are right and caught all {sum(not v for v in verdicts.values())} others."


# --- the hunt --------------------------------------------------------------------------------------------------------

_VARIABLES = ("empty", "summary", "question", "scores", "weights")
_CULPRITS = {"supercell": "summary", "rest of the batch": "weights"}
_KEPT = {
    "orientation": "The layer reads atom vectors that know distances only, so turning the crystal cannot matter.",
    "origin": "No position reaches the layer, so moving the crystal cannot matter.",
    "order of atoms": "The layer adds up over atoms, and a sum does not depend on the order.",
    "choice of cell": "Another cell of the same size has the same atoms with the same neighbours.",
}
_TOO_LATE = {
    ("supercell", "question"): "`question` does change in a supercell. But is it the first that does? See what it is "
    "made of.",
    (
        "supercell",
        "scores",
    ): "`scores` do change in a supercell, because something that they are made of did. Go back to "
    "the first variable that changes.",
    (
        "supercell",
        "weights",
    ): "With twice the atoms each atom's weight must halve, and `softmax` of one crystal's scores "
    "does that by itself. Which variable makes the *scores* change?",
    (
        "supercell",
        "empty",
    ): "`empty` is zeros. What is added into it, and how much of it in a cell with twice the atoms?",
    (
        "rest of the batch",
        "summary",
    ): "`index_add` adds each atom to the row of its own crystal: other crystals stay out of `summary`. "
    "Which line treats all atoms alike, whichever crystal they belong to?",
    (
        "rest of the batch",
        "question",
    ): "`question` has a row for each crystal, made of that crystal's own rows. Look further down.",
    (
        "rest of the batch",
        "scores",
    ): "The score of an atom needs its own vector and the question of its own crystal. Look one line further.",
    (
        "rest of the batch",
        "empty",
    ): "`empty` only has more rows with more crystals. Which line mixes numbers of different crystals?",
}


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
        if name not in _CULPRITS | _KEPT:
            raise Hint(f"The keys are labels of the figure: {', '.join([*_KEPT, *_CULPRITS])}.")
        finished(variable, f'culprits["{name}"]')
        if name in _KEPT:
            raise Hint(
                f"You accuse it of breaking `{name}`, but look at the figure: nothing but rounding. {_KEPT[name]}"
            )
        if not isinstance(variable, str) or variable not in _VARIABLES:
            raise Hint(f"`{name}`: name a variable of `forward`, in quotes: {', '.join(_VARIABLES)}.")
    missing = [name for name in _CULPRITS if name not in culprits]
    if len(missing) == 2:
        raise Hint("`culprits` is empty. In which rows of the figure is the change far larger than rounding, 1e-6?")
    if missing:
        raise Hint(
            f"One promise more is broken than you say ({len(culprits)} so far). Go through the figure once more: where "
            "one bug is, others may be."
        )
    for name, variable in culprits.items():
        if variable != _CULPRITS[name]:
            raise Hint(_TOO_LATE[name, variable])
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


_MENDED = _layer_as(_mean, _of_the_crystal)

_HALF_MENDED = (
    Mistake(
        _layer_as(_sum, _of_the_batch),
        "It does what the colleague's layer did. Which two lines were to be changed?",
    ),
    Mistake(
        _layer_as(_mean, _of_the_batch),
        "`summary` is fixed. `weights` still shares one among *all* atoms of the batch.",
    ),
    Mistake(
        _layer_as(_sum, _of_the_crystal),
        "`weights` is fixed. `summary` still adds up over the atoms, so it doubles in a cell of twice the size.",
    ),
    Mistake(
        _layer_as(lambda x, c: _sum(x, c) / len(x), _of_the_crystal),
        "You divided `summary` by the number of atoms of the whole *batch*: now it, too, changes with the others. "
        "Divide each row by the number of atoms of its own crystal.",
    ),
    Mistake(
        _layer_as(_mean, _uniform),
        "Each atom of a crystal has the same weight: that keeps every promise, but it is no attention any more. Keep "
        "the scores.",
    ),
    Mistake(
        _layer_as(_mean, lambda s, c: s.sigmoid()),
        "A sigmoid looks at one atom at a time, so the batch is out. But now the weights of a crystal do not add up to "
        "one: with twice the atoms the sum is twice as large.",
    ),
    Mistake(
        _layer_as(_mean, lambda s, c: s.exp()),
        "The weights of a crystal must add up to one: divide by the sum over *its* atoms.",
    ),
    Mistake(
        _layer_as(lambda x, c: 0 * _sum(x, c), _of_the_crystal),
        "It keeps every promise, but it reads no summary of the crystal any more. Fix it rather than throw it out.",
    ),
    Mistake(
        _layer_as(_mean, lambda s, c: s.softmax(0) / c.bincount()[c]),
        "You divide by the number of atoms, but the softmax still runs over the whole batch before.",
    ),
)


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

    crystal = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2])
    atoms, composition = _random(9, 32, seed=1), _random(3, 145, seed=2)
    probe = (atoms, composition, crystal)
    value = array_from(layer.forward, "forward", (3, 32), *probe)
    if close(value, _MENDED(layer, *probe), 1e-3, 1e-4):
        return "Every promise is kept, and it is still attention. See for yourself, with the whole network:"
    recognise_function([value], [(layer, *probe)], _HALF_MENDED, rtol=1e-3, atol=1e-4)
    alone = [
        array_from(layer.forward, "forward", (1, 32), atoms[crystal == k], composition[[k]], 0 * crystal[crystal == k])
        for k in range(3)
    ]
    if not close(np.concatenate(alone), value, 1e-3, 1e-4):
        raise Hint(
            "A crystal alone in its batch gives another vector than among others. `rest of the batch` is broken."
        )
    double = array_from(layer.forward, "forward", (3, 32), atoms.repeat(2, 1), composition, crystal.repeat(2))
    if not close(double, value, 1e-3, 1e-4):
        raise Hint("With every atom twice, as in a supercell, the vector is another. `supercell` is broken.")
    other = array_from(layer.forward, "forward", (3, 32), atoms, composition.flip(0), crystal)
    if close(other, value, 1e-3, 1e-4):
        raise Hint("With another composition it returns the same. The composition asks the question: keep it.")
    return (
        "Every promise is kept, by other means than ours, and it still reads the composition. With the whole network:"
    )
