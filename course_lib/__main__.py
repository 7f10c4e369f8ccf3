"""Run the command line: ``python -m course_lib``."""

from course_lib.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
