"""Check yourself: the questions at the end of a notebook. Each wrong answer has a hint, which does not give it away."""

from __future__ import annotations

from course_lib.teaching.checkers.declarative import Choose, Number, asks

_ALL = "All of them. The fold below the questions gives the reasons."

check_yourself_1 = asks(
    Choose(
        "question 1",
        "c",
        {
            "a": "Rutile and anatase are both TiO2. In which of the 145 numbers would they differ?",
            "b": (
                "Compare MgO with Mg2O2, the same crystal in a larger cell. Which fractions of its atoms are magnesium?"
            ),
        },
    ),
    Choose(
        "question 2",
        "b",
        {
            "a": (
                "More edges cost time, but they break nothing. Count the atoms of the first two shells: where does "
                "twelve fall?"
            ),
            "c": (
                "A rotation changes no distance, and neighbours are chosen by distance. How many atoms are as far "
                "away as the twelfth?"
            ),
        },
    ),
    Choose(
        "question 3",
        "c",
        {
            "a": (
                "That may move the error a little. What did the network know of the test crystals before it saw them?"
            ),
            "b": (
                "That shows whether the network memorises. It does not show what the test crystals share with the "
                "training crystals."
            ),
        },
    ),
    Choose(
        "question 4",
        "a",
        {
            "b": "The network takes the mean over the atoms. What does the neighbourhood of each atom look like now?",
            "c": "Which fraction of the atoms is sodium, in NaCl and in Na2Cl2?",
        },
    ),
    Choose(
        "question 5",
        "b",
        {
            "a": (
                "More crystals, or better features, can move its prediction for a whole formula. What can they not do "
                "for two polymorphs of it?"
            ),
            "c": (
                "One of the two shrinks with more crystals or better features. How many different numbers can the "
                "model give one formula?"
            ),
        },
    ),
    shows=_ALL,
)

check_yourself_2 = asks(
    Number(
        "question 1",
        401,
        (
            ("That is the number with 128.", 273),
            ("The composition has more features than that. How many numbers does it give?", 384),
            ("That is the embedding alone. What is concatenated with it?", 256),
            ("That is the composition alone. What is concatenated with it?", 145),
            (
                "{value:g} is not right. The first layer reads both views, one after the other. How long are both?",
                lambda value: True,
            ),
        ),
    ),
    Choose(
        "question 2",
        "b",
        {
            "a": "Over all crystals they would. What does the scaler know then that it must not know?",
            "c": "Each of them still counts once. What has travelled from the test set into the model?",
        },
    ),
    Choose(
        "question 3",
        "c",
        {
            "a": "Toss a coin five times. How often does it show heads four times or more?",
            "b": (
                "Chance favours one of two equal methods in the mean as well. What tells how far the mean can be "
                "trusted?"
            ),
        },
    ),
    Choose(
        "question 4",
        "a",
        {
            "b": "A prediction needs only a few numbers that were computed from them. Which?",
            "c": "One crystal would then have other inputs with her than with you. What do the weights expect?",
        },
    ),
    shows=_ALL,
)

check_yourself_3 = asks(
    Choose(
        "question 1",
        "c",
        {
            "a": "The best weight depends on both errors, and on one more number that belongs to the two together.",
            "b": "What would alpha be then?",
        },
    ),
    Choose(
        "question 2",
        "b",
        {
            "a": "A mean helps where one error cancels the other. When do these two cancel?",
            "c": (
                "That is best if the errors are independent. These rise and fall together: what does any part of the "
                "worse model add?"
            ),
        },
    ),
    Choose(
        "question 3",
        "b",
        {
            "a": (
                "More trees make the mean smoother; each tree stays as it is. What is the same for all polymorphs of "
                "a formula?"
            ),
            "c": (
                "Let each crystal have a formula of its own, and grow one tree until each leaf holds one crystal. "
                "What is its training error?"
            ),
        },
    ),
    Choose(
        "question 4",
        "c",
        {
            "a": "Choosing one number moves the error by little. What else was fitted to these crystals?",
            "b": "There are more of them than in any test set. What is different about a prediction for them?",
        },
    ),
    shows=_ALL,
)

check_yourself_4 = asks(
    Choose(
        "question 1",
        "b",
        {
            "a": "Scale *and shift*: which of the two is left?",
            "c": "That would be so for gamma = 0. Here 1 + gamma is 0.",
        },
    ),
    Choose(
        "question 2",
        "a",
        {
            "b": "After the attention comes a network, which may amplify either part. What comes after alpha?",
            "c": "Equal errors say nothing of what the weights multiply. What is it, in each of the two?",
        },
    ),
    Choose(
        "question 3",
        "c",
        {
            "a": "They do, by the softmax. What would show that the network *needs* the structure?",
            "b": (
                "Even a clear contrast may come from how this one network scales its two vectors. Would another seed "
                "agree?"
            ),
        },
    ),
    shows=_ALL,
)

check_yourself_5 = asks(
    Number(
        "question 1",
        144,
        (
            ("That leaves out the pairs there and back. Here they count, too.", 132),
            ("You counted each pair once, in one of its two orders: a → b → c is not c → b → a.", 66),
            ("Those are the pairs there and back. How many are there in all?", 12),
            ("Edges that arrive and edges that leave: each one combines with each other.", 24),
            (
                (
                    "{value:g} is not right. How many edges arrive, how many leave, and in how many ways can they be "
                    "combined?"
                ),
                lambda value: True,
            ),
        ),
    ),
    Number(
        "question 2",
        -1,
        (
            ("That is the cosine for the pair a → b → a. Where do the vectors from b point here?", 1),
            ("That is the cosine of a right angle.", 0),
            ("That is the angle in degrees. What is its cosine?", 180),
            (
                (
                    "{value:g} is not right. One vector leads from b to a, the other from b to c: which angle is "
                    "between them?"
                ),
                lambda value: True,
            ),
        ),
    ),
    Choose(
        "question 3",
        "a",
        {
            "b": "CGCNN's bonds are distances, however many there are. Between which atoms do they differ?",
            "c": (
                "The number of weights does not depend on the number of neighbours. What do the added edges lead to?"
            ),
        },
    ),
    Choose(
        "question 4",
        "b",
        {
            "a": "It would be larger, too. What has to stay equal in the comparison?",
            "c": "That shows that the new network is better. Which of its differences made it so?",
        },
    ),
    Choose(
        "question 5",
        "c",
        {
            "a": "How much accuracy? The edges that are left out may carry information. Which data can tell?",
            "b": "Nobody has measured that yet, and they cost time. Which data can tell?",
        },
    ),
    shows=_ALL,
)

check_yourself_6 = asks(
    Number(
        "question 1",
        2,
        (
            ("The other way round: which of the two labels has the smaller spread, and so the larger 1/s?", 0.5),
            ("You divided by the variance.", 4),
            ("With equal weights the task with the larger spread changes the trunk more. What makes up for that?", 1),
            ("{value:g} is not right. By which number does inverse scale divide, for each task?", lambda value: True),
        ),
    ),
    Choose(
        "question 2",
        "a",
        {
            "b": "Inverse scale divides by the standard deviation of the labels. What happens to that?",
            "c": "One of them measures the labels first, and another starts from there. Which one does neither?",
        },
    ),
    Choose(
        "question 3",
        "c",
        {
            "a": "First find out whether there is anything to explain: would a second run give the same 3 %?",
            "b": "That could explain a difference, once it is shown. What would show it?",
        },
    ),
    Choose(
        "question 4",
        "b",
        {
            "a": "Each head has its own weights. What can they do about a sign?",
            "c": "It shows that the two properties are related. How did we find out whether sharing helps?",
        },
    ),
    shows=_ALL,
)

check_yourself_7 = asks(
    Choose(
        "question 1",
        "b",
        {
            "a": (
                "Let one method be better by 0.01 on each fold, while the folds differ by 0.05. Do the bars overlap?"
            ),
            "c": "So do the means of one method with two seeds. What tells the two cases apart?",
        },
    ),
    Choose(
        "question 2",
        "a",
        {
            "b": "It was: each bar of the figure is a difference from those runs.",
            "c": "What is its difference on each of the folds? How much do these numbers scatter?",
        },
    ),
    Choose(
        "question 3",
        "c",
        {
            "a": "With how many crystals was that order measured?",
            "b": "Some methods do well with 300. Which were they, in the figure of error against size?",
        },
    ),
    shows=_ALL,
)

check_yourself_8 = asks(
    Number(
        "question 1",
        13.397,
        (
            ("That is the share itself. Give it in percent.", 0.134),
            ("That is what is left of the spread. How much is taken away?", 86.6, 0.866),
            ("That is by how much the variance falls. The spread is its square root.", 25.0, 0.25),
            (
                "{value:g} is not right. What is left in the formula of the best blend if both spreads are equal?",
                lambda value: True,
            ),
        ),
        atol=0.05,
    ),
    Choose(
        "question 2",
        "b",
        {
            "a": "More trees change little. What costs as much as this blend, but has no second view?",
            "c": "That matters equally for both sides. What costs as much as this blend, but has no second view?",
        },
    ),
    Choose(
        "question 3",
        "a",
        {
            "b": "Only two atoms exchanged places. What happened to the cell?",
            "c": "The features are equal to the last digit. Which of them would say who the neighbours are?",
        },
    ),
    Choose(
        "question 4",
        "c",
        {
            "a": "Look at the calibration plot again: where does its curve lie?",
            "b": "What was needed to make them?",
        },
    ),
    shows=_ALL,
)

check_yourself_9 = asks(
    Number(
        "question 1",
        5,
        (
            ("How large is the difference, without its sign?", -5),
            ("The energies differ. What makes the sum of energy and reference the same for both networks?", 0),
            ("Pure tungsten has one kind of atom. Which share does its reference get?", 2.5),
            (
                "{value:g} is not right. What do energy and reference add up to for pure tungsten, for both networks?",
                lambda value: True,
            ),
        ),
        atol=0.01,
    ),
    Choose(
        "question 2",
        "b",
        {
            "a": "It may be several electronvolts. Which change of the references would you not notice in four salts?",
            "c": "There was no model when four salts were fitted, and yet other structures came out right.",
        },
    ),
    Choose(
        "question 3",
        "a",
        {
            "b": "A tenth is more than ten thousand crystals. What had the network read before?",
            "c": "That would raise its error, not lower it. What had the network read before?",
        },
    ),
    Choose(
        "question 4",
        "c",
        {
            "a": "Look at the learning curves again. How many crystals are there for each reference?",
            "b": "Were your nitrides computed with the same code and settings as the crystals of this course?",
        },
    ),
    shows=_ALL,
)

check_yourself_10 = asks(
    Choose(
        "question 1",
        "c",
        {
            "a": (
                "Both differ from run to run on one GPU, too, and change the error by little. How many crystals are "
                "in one step now?"
            ),
            "b": ("The gradients are averaged in each step, so there is one network. How many steps has an epoch now?"),
        },
    ),
    Choose(
        "question 2",
        "b",
        {
            "a": "Which kind of model leads the tasks with a few thousand crystals?",
            "c": "That takes most of the week. What could you know after the first minutes?",
        },
    ),
    Choose(
        "question 3",
        "b",
        {
            "a": "Batches are made in training, which has not begun. What grows with each file?",
            "c": "No network has been made yet. What grows with each file?",
        },
    ),
    Choose(
        "question 4",
        "c",
        {
            "a": "`is_valid` looks at the recorded predictions. Can it see where the learning rate came from?",
            "b": "Which crystals chose the learning rate, and which part of the result do they belong to?",
        },
    ),
    shows=_ALL,
)
