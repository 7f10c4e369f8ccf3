"""Run the recorded studies from the command line."""

from __future__ import annotations

import argparse

from course_lib.commands import run_command
from course_lib.experiments.runs import run_study
from course_lib.experiments.studies import STUDIES


def main(arguments: list[str] | None = None) -> int:
    """Read the command line (or a list of its words), run the studies, and return the exit code of `run_command`."""
    lines = [f"  {name:22s}{study.runs.__doc__.splitlines()[0]}" for name, study in STUDIES.items()]
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.experiments",
        description="Run what is missing of the recorded studies.\n\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("studies", nargs="*", metavar="study", help="which ones (all on the bundled crystals)")
    parser.add_argument("--dataset", default="pbe_prototypes", help="as load_dataset takes it (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one core (%(default)s)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.studies if name not in STUDIES]
    if unknown:
        parser.error(f"unknown study {unknown[0]!r}; the studies are {', '.join(STUDIES)}.")

    def run() -> int:
        for name in options.studies or [name for name, study in STUDIES.items() if study.bundled]:
            run_study(name, options.dataset, options.jobs)
        return 0

    return run_command(run, go_on="Recorded runs are kept; the same command continues.")


if __name__ == "__main__":
    raise SystemExit(main())
