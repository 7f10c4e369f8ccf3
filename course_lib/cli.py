"""The command line: train, predict, benchmark and data, as ``python -m course_lib`` or ``course-lib``.

Tables go to standard output, all else to standard error, so that the output can be piped.
"""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from glob import glob
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import yaml

from course_lib import __version__
from course_lib.commands import BAD_INPUT, first_process, run_command, say
from course_lib.files import check_folder, writing
from course_lib.methods import METHODS, trained

if TYPE_CHECKING:
    import pandas as pd

    from course_lib.graphs import CrystalGraphs

# Importing the models takes seconds, so the commands import what they need, and `--help` nothing.

_OUTPUT, _INPUT = "standard output", "standard input"  # what messages call them
_WHOLE = r"[+-]?(0|[1-9][0-9]*)"  # how numbers are written
_DECIMAL = r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?"
FILES_AT_A_TIME = 500
"""Crystals that `predict` reads at a time, so that memory stays bounded and output starts early."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, or 2 when something that the user gave is wrong.

    Ended by Ctrl-C or SIGTERM, the exit code is 130 or 143.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; from the command line where not given.
    """
    parser = _parser()
    if sys.stderr is None:  # closed: messages would go to standard output
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    options = parser.parse_args(_with_config(parser, sys.argv[1:] if arguments is None else list(arguments)))
    output = sys.stdout

    def command() -> int:
        if output is None:
            raise ValueError("standard output is closed. Send it to a file, or to /dev/null.")
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")  # names of files may hold what no encoding has
        with redirect_stdout(sys.stderr):  # what libraries print is not part of the table
            code = options.run(options, output)
            with writing(_OUTPUT):
                output.flush()
            return code

    return run_command(command, go_on=lambda: options.go_on(options), debug=options.debug)


# --- what can be given --------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="course-lib",
        description="Train models of crystals, predict with them, and compare them.",
        epilog="Each command explains itself and has examples: course-lib train --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, dest="command", metavar="command")
    _add_train(commands)
    _add_predict(commands)
    _add_benchmark(commands)
    _add_data(commands)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--format", choices=("csv", "tsv", "table"), default="csv", help="format of the output (%(default)s)"
    )
    command.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    command.set_defaults(go_on=lambda options: "")
    return command


def _path(text: str) -> str:
    """Refuse the empty path, which would be the current folder; a variable that is not set gives it.

    The shell replaces ``~`` in neither ``--folder=~/run`` nor a configuration file.
    """
    if not text:
        raise argparse.ArgumentTypeError("the path is empty. For the current folder, write a dot.")
    return os.path.expanduser(text)


def _whole(text: str) -> int:
    """Read a whole number; Python's own ``int`` also takes ``1_5``, ``010`` and the digits of other scripts."""
    if not re.fullmatch(_WHOLE, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number.")
    return int(text)


class _Several(argparse._AppendAction):
    """An option that may be given several times, with one value each."""


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=_path, help="YAML or JSON file with any of these options; the command line takes precedence"
    )


def _add_method_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--method", default="cgcnn", help="method to train, see below (%(default)s)")
    command.add_argument("--folder", type=_path, required=True, help="folder for all output; created if missing")
    command.add_argument("--seed", type=_whole, default=0, help="random seed (%(default)s)")
    command.add_argument(
        "--size",
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="arguments of the network that differ from the method's, for example hidden=128 n_conv=4",
    )
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="settings of the training that differ from the method's, for example epochs=50 learning_rate=1e-3",
    )
    command.add_argument(
        "--jobs", type=_whole, default=1, help="processes that build graphs; -1: all cores (%(default)s)"
    )
    _add_config(command)


_METHODS = [name for name, method in trained().items() if not method.reads_pretrained]
_METHOD_TEXT = f"""
methods:
{textwrap.fill(", ".join(_METHODS), 100, initial_indent="  ", subsequent_indent="  ")}

settings (--set):
  of a network: epochs, batch_size, learning_rate, weight_decay, loss (mae, mse), task_weights, patience, precision
  (bf16-mixed), accelerator (gpu), devices, num_nodes; of the forest: what scikit-learn's RandomForestRegressor takes;
  of kernel ridge: alpha, reach; of boosting: learning_rate, max_iter, max_leaf_nodes, l2_regularization

A run's options are kept in its folder as config.yaml; with --config and another --folder it is repeated.
"""


def _add_train(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "train",
        "train a model and keep it in a folder",
        """examples:
  course-lib train --folder runs/one
      CGCNN on the formation energies of the bundled crystals
  course-lib train --dataset my_cifs --method early_fusion --fold 0 --split formula --folder runs/two
      early fusion on a folder of CIF files with id_prop.csv; the crystals of fold 0 are kept for a test
  course-lib train --dataset graphs/mp --method alignn --size hidden=256 alignn_layers=4 gcn_layers=4 \\
                   --set epochs=300 batch_size=64 accelerator=gpu --folder runs/three
      the full ALIGNN on graphs that `course-lib data build` made, on a GPU
  course-lib train --config runs/three/config.yaml --resume
      continue a run that was interrupted
  srun course-lib train --config alignn.yaml --set accelerator=gpu devices=4 num_nodes=2 --resume
      in a SLURM job with --nodes=2 and --ntasks-per-node=4: eight GPUs share each batch. Without SLURM, on each node:
      torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:PORT -m course_lib train ...

Prints a table: mean absolute error (mae) of each target on the validation set, by which a network's epoch is chosen,
and on the test set if there is one. A regressor on features is trained on the validation crystals as well, so its error
on them ("validation, trained on") says nothing about new crystals: use --fold for a test set.
"""
        + _METHOD_TEXT,
    )
    command.add_argument(
        "--dataset",
        type=_path,
        default="pbe_prototypes",
        help="a name (course-lib data list), a folder with id_prop.csv and CIF or POSCAR files, a JSON file of "
        "matminer, or a folder of graphs (%(default)s)",
    )
    command.add_argument(
        "--target",
        nargs="+",
        help="target to learn; several for a multi-task model. Needed if your own data have several columns of "
        "numbers; otherwise the first one",
    )
    command.add_argument("--split", choices=("random", "formula"), default="random", help="how to split (%(default)s)")
    command.add_argument(
        "--fold", type=_whole, choices=range(5), help="keep this fold of five as a test set (default: no test set)"
    )
    command.add_argument("--resume", action="store_true", help="continue the run in the folder, if it holds one")
    _add_method_options(command)
    command.set_defaults(run=_train, go_on=_train_goes_on)


def _train_goes_on(options: argparse.Namespace) -> str:
    if Path(options.folder, "last.ckpt").exists():
        return "The last checkpoint is kept; continue with --resume."
    return "No checkpoint exists yet; the same command starts again."


def _add_predict(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "predict",
        "predict properties of crystals in files",
        """examples:
  course-lib predict --model runs/one new/*.cif POSCAR > predictions.csv
  course-lib predict --model runs/one --model runs/two --format table crystal.cif
  find . -name '*.cif' | course-lib predict --model runs/one -
  course-lib predict --model formation-energy-per-atom.pth.tar crystal.cif
      with the weights that the authors of CGCNN published; their files hold no checksum, so damage to numbers in them
      is not noticed

Prints one row per file, model and target:
  file, formula
  target, prediction, unit   the unit is "unknown" where the dataset had none
  model, method              the path as given, and how the model was made
  outside                    whether the composition is outside what the model was trained on: "no"; the elements that
                             no training crystal has; the first of the 145 composition features whose value is smaller
                             or larger than in any training crystal; or "unknown". Predictions out of domain are
                             guesses. "no" promises little: structures may differ from all that was seen.

A file that cannot be read is reported, the others are predicted, and the exit code is 2.
""",
    )
    command.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="CIF or POSCAR; a name with * or ? that no file has is a pattern; - reads names from standard input, one "
        "per line",
    )
    command.add_argument(
        "--model",
        action=_Several,
        type=_path,
        required=True,
        help="folder of a run, checkpoint (.ckpt), or checkpoint of the original CGCNN code (.pth.tar); may be given "
        "several times",
    )
    _add_config(command)
    command.set_defaults(run=_predict)


def _add_benchmark(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "benchmark",
        "train and test a method on a Matbench task",
        """examples:
  course-lib benchmark --task matbench_phonons --method random_forest --folder runs/phonons_forest
  course-lib benchmark --task matbench_mp_e_form --method alignn --size hidden=256 alignn_layers=4 gcn_layers=4 \\
                       --set epochs=100 accelerator=gpu --folds 0 --folder runs/e_form
      one of the five official folds; other folds may run at the same time in the same folder

Prints Matbench's scores of each finished fold. Killed and started again, it continues where it stopped. When all five
folds are done, the folder holds results.json.gz, which the public leaderboard asks for, alongside info.json and your
code (see https://matbench.materialsproject.org). One eighth of each fold's training part chooses the epoch; the test
part is predicted once, and nothing is chosen by it. Choose your settings without it, too.
"""
        + _METHOD_TEXT,
    )
    command.add_argument("--task", required=True, help="one of course-lib data list")
    command.add_argument(
        "--folds", nargs="+", type=_whole, choices=range(5), default=list(range(5)), help="which folds (all)"
    )
    _add_method_options(command)
    command.set_defaults(
        run=_benchmark, go_on=lambda options: "Finished folds and epochs are kept; the same command continues."
    )


def _add_data(commands: argparse._SubParsersAction) -> None:
    data = commands.add_parser(
        "data",
        help="list, fetch, check and prepare datasets",
        description="List, fetch, check and prepare datasets.",
        epilog="Each has examples: course-lib data build --help",
        allow_abbrev=False,
    )
    commands = data.add_subparsers(title="commands", required=True, dest="data_command", metavar="command")
    command = _command(
        commands,
        "list",
        "list the datasets that are known by name, and where their files are",
        """example:
  course-lib data list --format table

The environment variable COURSE_DATA_DIR says where downloads are kept. "exists" says whether the file is already on the
disk.
""",
    )
    command.set_defaults(run=_data_list)
    command = _command(
        commands,
        "fetch",
        "download datasets into the cache",
        """example:
  course-lib data fetch matbench_phonons matbench_perovskites

An interrupted download continues where it stopped. The hash of each file is checked.
""",
    )
    command.add_argument("names", nargs="+", metavar="NAME", help="names that course-lib data list has")
    command.set_defaults(run=_data_fetch)
    command = _command(
        commands,
        "check",
        "check the hashes of the datasets whose files exist",
        """example:
  course-lib data check

The exit code is 2 if a file has the wrong hash.
""",
    )
    command.set_defaults(run=_data_check)
    command = _command(
        commands,
        "build",
        "build the graphs of a dataset into a folder",
        """examples:
  course-lib data build matbench_mp_e_form --folder graphs/e_form --jobs -1
  course-lib data build my_cifs --folder graphs/mine
      my_cifs/id_prop.csv has a line "id,target" for each file my_cifs/id.cif, as for CGCNN; or "id.cif,target", as
      for ALIGNN

Crystals are read a few hundred at a time, CIF files by all cores, and memory does not grow with their number. Training
on the folder (course-lib train --dataset graphs/mine) reads from it what each batch needs.
""",
    )
    command.add_argument(
        "dataset", type=_path, metavar="DATASET", help="a name, a folder of CIF files, or a JSON file of matminer"
    )
    command.add_argument("--folder", type=_path, required=True, help="where to keep the graphs")
    command.add_argument("--jobs", type=_whole, default=1, help="processes; -1: all cores (%(default)s)")
    command.set_defaults(run=_data_build)


# --- configuration files ------------------------------------------------------------------------------------------


def _with_config(parser: argparse.ArgumentParser, arguments: list[str]) -> list[str]:
    """Put the options of the file after ``--config`` between the command's name and the other arguments."""
    before = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    before.add_argument("--config")
    file = before.parse_known_args(arguments)[0].config
    if not file or arguments[0].startswith("-"):
        return arguments
    from course_lib.validation import named

    file = _path(file)
    try:
        with named(file):
            return [arguments[0], *_arguments_of(Path(file), arguments[0], parser), *arguments[1:]]
    except (OSError, ValueError) as error:
        parser.error(str(error))


class _Loader(yaml.SafeLoader):
    """Read YAML in which no key is repeated, and only what is written as a decimal number is one."""

    # YAML 1.1 has more: 00012 is 10 there, 1:30 is 90, 1_5 is 15, and no is false.
    yaml_implicit_resolvers: ClassVar[dict] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return a mapping; raise an error for a repeated key."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise ValueError(f"line {key.start_mark.line + 1} repeats {key.value!r}. Write each name once.")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


for _tag, _pattern in {
    "bool": r"true|false|True|False",
    "null": r"null|~|",
    "int": _WHOLE,
    "float": rf"{_DECIMAL}|[+-]?\.inf|\.nan",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"({_pattern})\\Z"), None)


def _arguments_of(file: Path, command: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the content of a configuration file as it would be written on the command line."""
    try:
        loader = _Loader(file.read_bytes())  # JSON is YAML
        root = loader.get_single_node()
        content = None if root is None else loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is neither YAML nor JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no options. Write them as 'name: value', one per line.")
    if content.get("command", command) != command:
        raise ValueError(f"{file} is for the command {content['command']!r}, not {command!r}.")
    commands = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    known = commands[command]._option_string_actions if command in commands else {}
    if "--config" not in known:
        raise ValueError(f"{command} takes no configuration file. Those of train, predict and benchmark do.")
    for (name, value), (_, node) in zip(content.items(), root.value, strict=True):
        if name == "command":
            continue
        option = f"--{name}"
        if option not in known or name in ("config", "help"):
            names = sorted(one[2:] for one in known if one.startswith("--") and one not in ("--help", "--config"))
            raise ValueError(f"{file}: unknown option {name!r}; the options are {', '.join(names)}.")
        if isinstance(value, list) and known[option].nargs is None and not isinstance(known[option], _Several):
            raise ValueError(f"{file}: {name} has {len(value)} values. Give it one.")
        if known[option].nargs == 0:  # it is given or not
            if not isinstance(value, bool | None):
                raise ValueError(f"{file}: {name} is {value!r}. Write true or false.")
            if value:
                yield option
        elif value not in (None, [], {}):
            if isinstance(value, dict):
                values = [f"{key}={json.dumps(one)}" for key, one in value.items()]
            else:
                values = _texts(node, f"{file}: {name}")
            if known[option].nargs is None:  # an option that takes one value, and may be given several times
                yield from (f"{option}={one}" for one in values)
            else:
                yield from (option, *values)


def _texts(node: yaml.Node, where: str) -> list[str]:
    """Return a value, or each of a list, as it is written: an option may mean text where YAML sees a number."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(one, yaml.ScalarNode) for one in nodes):
        raise ValueError(f"{where} holds a list in a list, or names in one. Write its values one after the other.")
    return [one.value for one in nodes]


def _config_of(options: argparse.Namespace) -> str:
    """Return what a run is started with, in the form that ``--config`` reads."""
    from course_lib.datasets import SOURCES

    left_out = {"run", "go_on", "config", "debug", "format", "resume"}
    content = {name: value for name, value in vars(options).items() if name not in left_out and value is not None}
    content |= {name: _pairs(content[name], name) for name in ("size", "set") if name in content}
    for name in content.keys() & {"dataset", "folder"}:
        if name == "folder" or content[name] not in SOURCES:  # a path, which must hold in any current folder
            content[name] = os.path.abspath(content[name])
    return yaml.safe_dump(content, sort_keys=False)


def _pairs(texts: list[str] | None, option: str) -> dict[str, object]:
    """Read ``NAME=VALUE``: numbers, lists and so on as in JSON, all else as text."""
    from course_lib.validation import named

    pairs = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"--{option} {text}: write NAME=VALUE, without spaces.")
        with named(f"--{option} {name}"):
            try:
                pairs[name] = json.loads(value)
            except json.JSONDecodeError:
                pairs[name] = float(value) if re.fullmatch(_DECIMAL, value) else value
    return pairs


# --- what is printed ----------------------------------------------------------------------------------------------


def _print(tables: Iterable[pd.DataFrame], format_: str, output: object) -> None:
    """Write tables of the same columns below one heading, each as soon as it exists."""
    if not first_process():
        return
    if format_ == "table":
        import pandas as pd

        first, *others = tables
        with writing(_OUTPUT):
            print(pd.concat([table for table in others if len(table)] or [first]).to_string(index=False), file=output)
        return
    separator = {"csv": ",", "tsv": "\t"}[format_]
    options = {"sep": separator, "index": False, "float_format": "%.6g", "lineterminator": "\n"}
    for number, table in enumerate(tables):
        with writing(_OUTPUT):
            table.to_csv(output, header=number == 0, **options)
            output.flush()


# --- commands -----------------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace, output: object) -> int:
    from course_lib.makers import check_settings
    from course_lib.parallel import together

    # Errors in the method show up before the graphs are built.
    sizes, settings = _pairs(options.size, "size"), _pairs(options.set, "set")
    with together(check_settings(options.method, seed=options.seed, sizes=sizes, settings=settings)):
        return _train_with(options, sizes, settings, output)


def _train_with(options: argparse.Namespace, sizes: dict, settings: dict, output: object) -> int:
    import numpy as np
    import pandas as pd

    from course_lib import predictors
    from course_lib.datasets import Fold

    check_folder(options.folder)
    if not options.resume:
        predictors.check_free(options.folder)
    graphs = predictors.open_graphs(options.dataset, n_jobs=options.jobs)
    graphs = _with_chosen_targets(graphs, options.target, options.dataset)
    if options.fold is None:  # one eighth chooses the epoch, as in a fold
        train, validation, test = predictors.graph_folds(graphs, options.split, n_splits=8)[0]
        parts = Fold(np.union1d(train, validation), test, test[:0])
    else:
        parts = predictors.graph_folds(graphs, options.split)[options.fold]
    sets = {name: graphs.subset(rows) for name, rows in parts._asdict().items()}
    say(", ".join(f"{len(rows)} crystals for {name}" for name, rows in parts._asdict().items() if len(rows)))
    predictor = predictors.train(
        options.method,
        sets["train"],
        sets["validation"],
        options.folder,
        seed=options.seed,
        sizes=sizes,
        settings=settings,
        resume=options.resume,
        progress=sys.stderr.isatty(),
        config=_config_of(options),
    )
    rows, learner = [], METHODS[options.method].learner
    for name, part in (("validation", "validation, trained on" if learner else "validation"), ("test", "test")):
        if len(sets[name]):
            errors = np.abs(predictor.predict(sets[name]).to_numpy() - sets[name].targets)
            for target, error in zip(graphs.target_names, np.nanmean(errors, axis=0), strict=True):
                rows.append((options.method, part, target, len(sets[name]), error, predictor.units[target]))
    columns = ["method", "part", "target", "crystals", "mae", "unit"]
    _print([pd.DataFrame(rows, columns=columns)], options.format, output)
    say(f"the model is in {options.folder}; to use it: course-lib predict --model {options.folder} FILE ...")
    return 0


def _with_chosen_targets(graphs: CrystalGraphs, chosen: list[str] | None, dataset: str) -> CrystalGraphs:
    """Return the graphs with the targets to learn, and print which they are.

    Raises ``ValueError`` if the choice is ambiguous: a dataset with a name has a first target, but only the user knows
    which column of a table of their own is meant.
    """
    from course_lib.datasets import SOURCES

    incomplete = graphs.attrs.get("incomplete", {})
    columns = [*graphs.target_names, *(name for name in incomplete if name not in graphs.target_names)]
    if not columns:
        raise ValueError(f"{dataset} has no targets to train on.")
    if not chosen and len(columns) > 1 and graphs.attrs.get("name") not in SOURCES:
        raise ValueError(
            f"{dataset} has {len(columns)} columns of numbers: {', '.join(columns)}. Choose with --target which to "
            "learn. (Where a decimal comma has made two of one number, write decimal points.)"
        )
    chosen = chosen or columns[:1]
    for name in chosen:
        if name in incomplete:
            raise ValueError(f"{dataset}: {incomplete[name]}")
    graphs = graphs.select_targets(chosen)
    left_out = [name for name in [*columns, *graphs.attrs.get("other_columns", [])] if name not in chosen]
    say(f"learns {', '.join(chosen)}" + (f"; leaves out {', '.join(left_out)}" if left_out else ""))
    return graphs


def _predict(options: argparse.Namespace, output: object) -> int:
    from course_lib import predictors

    models = {path: predictors.load(path) for path in dict.fromkeys(options.model)}
    bad: list[str] = []
    _print(_prediction_tables(_file_names(options.files), models, bad), options.format, output)
    for message in bad:
        say(f"error: {message}")
    return BAD_INPUT if bad else 0


def _file_names(given: list[str]) -> Iterator[str]:
    """Yield the names of files, those of patterns and those on standard input among them."""
    for name in given:
        if name == "-":
            lines = (line.strip("\ufeff").replace("\r", "\n").split("\n") for line in _lines_of_input())
            yield from filter(str.strip, chain.from_iterable(lines))
        elif not os.path.exists(name) and set("*?") & set(name):
            # Brackets stand in many names: x[1].cif, where it is missing, is not x1.cif.
            yield from sorted(glob(name.replace("[", "[[]"))) or [name]
        else:
            yield name


def _lines_of_input() -> Iterator[str]:
    """Yield the lines of standard input; a mark at its start says that they are in UTF-8 or UTF-16, as Windows has."""
    from course_lib.validation import named

    if sys.stdin is None:
        raise ValueError(f"{_INPUT} is closed. Send names of files to it, or give them as arguments.")
    with named(_INPUT):
        first, rest = sys.stdin.buffer.readline(), sys.stdin.buffer
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            lines = (first + rest.read()).decode("utf-16").split("\n")
        else:
            encoding = "utf-8" if first.startswith(codecs.BOM_UTF8) else sys.stdin.encoding
            lines = (line.decode(encoding, "surrogateescape") for line in chain([first], rest))
        for number, line in enumerate(lines, start=1):
            if "\0" in line:
                raise ValueError(f"line {number} holds a NUL character. Write one name per line, in UTF-8.")
            yield line


def _prediction_tables(names: Iterator[str], models: dict, bad: list[str]) -> Iterator[pd.DataFrame]:
    """Yield tables of predictions; errors in files are added to `bad`."""
    import pandas as pd

    from course_lib.predictors import formulas

    columns = ["file", "formula", "target", "prediction", "unit", "model", "method", "outside"]
    yield pd.DataFrame(columns=columns)
    for files, graphs in _graphs_of_files(names, bad):
        rows = []
        made_of = formulas(graphs)
        for path, predictor in models.items():
            values = predictor.predict(graphs)
            known = predictor.training_range
            outside = ["unknown"] * len(files) if known is None else known.outside(graphs)
            for number, file in enumerate(files):
                for target, unit in predictor.units.items():
                    value = f"{values[target].iloc[number]:.12g}"  # differences may be small compared with the value
                    about = (path, predictor.method, outside[number] or "no")
                    rows.append((number, file, made_of[number], target, value, unit, *about))
        rows.sort(key=lambda row: row[0])  # file by file; within a file, the models as given
        yield pd.DataFrame([row[1:] for row in rows], columns=columns)


def _graphs_of_files(names: Iterator[str], bad: list[str]) -> Iterator[tuple[list[str], CrystalGraphs]]:
    """Yield files and their graphs, a few hundred at a time."""
    from course_lib.composition import magpie
    from course_lib.datasets import read_structure
    from course_lib.graphs import CrystalGraphs
    from course_lib.validation import named

    while some := list(islice(names, FILES_AT_A_TIME)):
        files, structures = [], []
        for name in some:
            try:
                with named(name):
                    structure = read_structure(name)
                    # Alone: an error in it does not stop the others.
                    CrystalGraphs.from_structures([structure], ids=[name], composition=magpie)
            except (OSError, ValueError) as error:
                bad.append(str(error))
            else:
                files.append(name)
                structures.append(structure)
        if files:
            yield files, CrystalGraphs.from_structures(structures, composition=magpie)


def _benchmark(options: argparse.Namespace, output: object) -> int:
    from course_lib.makers import check_settings
    from course_lib.matbench_tasks import RESULTS, benchmark
    from course_lib.parallel import together

    sizes, settings = _pairs(options.size, "size"), _pairs(options.set, "set")
    with together(check_settings(options.method, seed=options.seed, sizes=sizes, settings=settings)):
        scores = benchmark(
            options.task,
            options.method,
            options.folder,
            fold_numbers=options.folds,
            seed=options.seed,
            sizes=sizes,
            settings=settings,
            n_jobs=options.jobs,
            progress=sys.stderr.isatty(),
            config=_config_of(options),
        )
        _print([scores.reset_index()], options.format, output)
        done = Path(options.folder, RESULTS)
        say(f"all folds are done: {done}" if done.exists() else f"{len(scores)} of 5 folds are done")
    return 0


def _data_list(options: argparse.Namespace, output: object) -> int:
    from course_lib.datasets import cache_folder, catalogue

    _print([catalogue().reset_index()], options.format, output)
    say(f"downloads are kept in {cache_folder()}")
    return 0


def _data_fetch(options: argparse.Namespace, output: object) -> int:
    import pandas as pd

    from course_lib.datasets import fetch_dataset

    files = [(name, fetch_dataset(name)) for name in options.names]
    _print([pd.DataFrame(files, columns=["name", "file"])], options.format, output)
    return 0


def _data_check(options: argparse.Namespace, output: object) -> int:
    import pandas as pd

    from course_lib.datasets import catalogue, check_dataset

    rows = []
    for name, file in catalogue().query("exists")["file"].items():
        try:
            check_dataset(name)
        except ValueError as error:
            rows.append((name, file, "wrong"))
            say(f"error: {error}")
        else:
            rows.append((name, file, "right"))
    _print([pd.DataFrame(rows, columns=["name", "file", "hash"])], options.format, output)
    return BAD_INPUT if any(row[-1] == "wrong" for row in rows) else 0


def _data_build(options: argparse.Namespace, output: object) -> int:
    import pandas as pd

    from course_lib.predictors import check_free, open_graphs

    check_folder(options.folder)
    check_free(options.folder)
    graphs = open_graphs(options.dataset, folder=options.folder, n_jobs=options.jobs)
    size = sum(file.stat().st_size for file in Path(options.folder).iterdir()) / 1e6
    row = (options.folder, len(graphs), len(graphs.species), len(graphs.vector), ", ".join(graphs.target_names), size)
    columns = ["folder", "crystals", "atoms", "edges", "targets", "megabytes"]
    _print([pd.DataFrame([row], columns=columns)], options.format, output)
    return 0
