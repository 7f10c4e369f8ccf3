"""The commands of the course, for every system: ``python course.py book``.

Only Python is needed to start it: the first command sets up the environment in ``.venv``, later ones install nothing.
The Makefile calls this file, so ``make book`` is the same. This file runs with whatever Python is called "python", so
its syntax is that of Python 3.6.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed.txt"  # the digest of what was installed; written last
LOCK = ROOT / "tools" / "requirements.lock"
RUNS = ROOT / "_build" / "notebooks"
STAGE = ROOT / "_build" / "book"
WORK = ROOT / "work"
TESTED = [(3, 11), (3, 12), (3, 13), (3, 14)]
UV = "uv==0.13.9"
TORCH_BUILDS = "https://download.pytorch.org/whl/"
RESTART = "Run `python course.py distclean` (or `make distclean`), then the command again."

FAST = [
    "alignn", "atom_features", "cgcnn", "composition", "course", "environment", "forest", "fusion", "graphs",
    "late_fusion", "layers", "losses", "megnet", "multitask", "package", "setup", "validation",
]  # fmt: skip

PROBE = """
import json, platform, sys
try:
    import ensurepip, venv
except ImportError:  # Debian and Ubuntu have them in a package of their own
    ensurepip = None
from importlib.metadata import PackageNotFoundError, version
try:
    torch = version("torch")
except PackageNotFoundError:
    torch = "none"
print(json.dumps({"version": sys.version_info[:2], "path": sys.executable, "machine": platform.machine(),
                  "venv": ensurepip is not None, "torch": torch}))
"""


def stop(message):
    """End with a message and exit code 1."""
    sys.exit("course.py: " + message)


def run(*command, **settings):
    """Run a program in the repository's folder, and end with its exit code if it fails."""
    try:
        code = call(command, **settings)
    except OSError as error:
        stop(f"cannot run {command[0]}: {error}")
    if code:
        sys.exit(code)


def call(command, **settings):
    """Run a program in the repository's folder and return its exit code; Ctrl-C is left to the program."""
    process = subprocess.Popen([str(word) for word in command], cwd=str(ROOT), **settings)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


# --- which Python ------------------------------------------------------------------------------------


def probe(*command):
    """Return what a Python says about itself, or None where the command runs none."""
    try:
        answer = subprocess.run(
            [*command, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=True
        )
        return json.loads(answer.stdout.decode("utf-8"))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def spoken(version):
    """Return a version as text: ``3.11``."""
    return ".".join(map(str, version))


def found_pythons():
    """Return what the Pythons on the path say about themselves."""
    commands = [[sys.executable], ["python3"], ["python"]]
    for version in map(spoken, TESTED):
        commands += [["python" + version], *([["py", "-" + version]] if os.name == "nt" else [])]
    return [found for found in (probe(*command) for command in commands) if found]


def chosen_python(asked):
    """Return the Python to make the environment with: the one asked for, or the newest tested one."""
    tested = f"{spoken(TESTED[0])} to {spoken(TESTED[-1])}"
    found = [probe(asked)] if asked else found_pythons()
    if found == [None]:
        stop(f"PYTHON={asked} does not start a Python.")
    fitting = [python for python in found if tuple(python["version"]) in TESTED]
    if not fitting:
        there = ", ".join(sorted({spoken(python["version"]) for python in found}))
        stop(
            "the course needs Python {}; {} has {}. Install one (see README.md), or name it: "
            "python course.py book --python PATH".format(tested, asked or "this machine", there)
        )
    complete = [python for python in fitting if python["venv"]]
    if not complete:
        name = "python" + spoken(max(python["version"] for python in fitting))
        stop(f"{name} cannot make environments. On Debian and Ubuntu: apt install {name}-venv")
    python = max(complete, key=lambda python: python["version"])
    if sys.platform == "darwin" and python["machine"] == "x86_64":
        stop("PyTorch is no longer made for Macs with an Intel processor; use Binder or Colab (see pages/online.md).")
    return python


# --- the environment ---------------------------------------------------------------------------------


def digest():
    """Return a digest of the files that say what is installed."""
    return hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()


def environment(options):
    """Return the Python that has the course's packages; set it up first if it is new or the lock file changed."""
    if options.env:
        if not probe(options.env):
            stop(f"PY={options.env} does not start a Python.")
        return options.env
    asked = chosen_python(options.python) if options.python else None
    ours = probe(str(VENV_PYTHON))
    if not ours and os.path.lexists(str(VENV_PYTHON)):
        stop(f"the Python that .venv was made with is gone ({base_python()}). {RESTART}")
    if ours and asked and asked["version"] != ours["version"]:
        stop(".venv has Python {}, not {}. {}".format(spoken(ours["version"]), spoken(asked["version"]), RESTART))
    if not (ours and STAMP.exists() and STAMP.read_text(encoding="utf-8") == digest()):
        set_up(ours or asked or chosen_python(None), options.torch)
    elif options.torch and not ours["torch"].endswith("+" + options.torch):
        stop(".venv has PyTorch {}, not the build {}. {}".format(ours["torch"], options.torch, RESTART))
    return str(VENV_PYTHON)


def base_python():
    """Return the folder of the Python that .venv was made with."""
    settings = (VENV / "pyvenv.cfg").read_text(encoding="utf-8")
    return re.search(r"^home *= *(.+)$", settings, re.MULTILINE).group(1)


def set_up(python, torch):
    """Install every package of the lock file into .venv; what an interrupted set-up has installed is kept."""
    print("Setting up .venv with Python {} ({}): once, a few minutes".format(spoken(python["version"]), python["path"]))
    sys.stdout.flush()
    if (
        subprocess.call([str(VENV_PYTHON), "-c", "import pip"], stderr=subprocess.DEVNULL)
        if VENV_PYTHON.exists()
        else 1
    ):
        run(python["path"], "-m", "venv", VENV)
    settings = VENV / "pyvenv.cfg"
    if "relocatable" not in settings.read_text(encoding="utf-8"):
        with settings.open("a", encoding="utf-8") as file:
            file.write("relocatable = true\n")  # uv then writes scripts that work after the folder has moved
    pip = [VENV_PYTHON, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", UV)
    # Compiled once, as pip does it. Otherwise, where nothing may be written, every process compiles what it imports.
    install = [VENV_PYTHON, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", VENV_PYTHON]
    env = uv_settings(pip)
    build = torch or ("cpu" if sys.platform == "linux" and not has_nvidia_card() else None)
    if build:
        install_torch(install, build, env)
    run(*install, "--requirement", LOCK, "--editable", ".", env=env)
    make_editable_install_relative()
    # Matplotlib builds its font list at the first import and says so, which must not appear in a notebook's output.
    run(VENV_PYTHON, "-c", "import matplotlib.font_manager")
    STAMP.write_text(digest(), encoding="utf-8")


def has_nvidia_card():
    """Return whether NVIDIA's driver lists a card."""
    try:
        cards = subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    except OSError:
        return False
    return b"GPU" in cards


def uv_settings(pip):
    """Return the environment for uv: the index and the folder of wheels that pip is set up to use hold for it, too."""
    said = subprocess.run([*map(str, pip), "config", "list"], stdout=subprocess.PIPE).stdout.decode("utf-8", "replace")
    found = dict(re.findall(r"^[\w:]+\.([\w-]+)='(.*)'$", said, re.MULTILINE))
    names = {"index-url": "UV_DEFAULT_INDEX", "find-links": "UV_FIND_LINKS"}
    return {**{name: found[key] for key, name in names.items() if key in found}, **os.environ}


def install_torch(install, build, env):
    """Install the build of PyTorch that is named, or say that it cannot be had; the usual build is then installed."""
    (pin,) = re.findall(r"^torch==.+$", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    patience = {"UV_HTTP_TIMEOUT": "30", "UV_HTTP_RETRIES": "1"}
    index = TORCH_BUILDS + build
    if call([*install, "--no-deps", "--default-index", index, pin], env={**env, **patience}, stderr=subprocess.DEVNULL):
        print(
            f"NOTICE: {index} cannot be reached, so the usual build of PyTorch is installed. On Linux it brings CUDA "
            "libraries: 5.7 GB instead of 2 GB."
        )
        sys.stdout.flush()


def make_editable_install_relative():
    """Let .venv find course_lib by a relative path, so that it still does after the folder has moved."""
    where = [str(VENV_PYTHON), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(where, stdout=subprocess.PIPE, check=True).stdout.decode().strip())
    (entry,) = packages.glob("__editable__*course_lib*.pth")
    entry.write_text(os.path.relpath(str(ROOT), str(packages)) + "\n", encoding="utf-8")


def use_writable_home():
    """Give the programs a home folder in .venv where the user's own cannot be written to."""
    try:
        with tempfile.TemporaryFile(dir=str(Path.home())):
            return
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        pass
    home = VENV / "home"
    home.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ["HOME"] = str(home)


# --- the commands ------------------------------------------------------------------------------------


def book(options):
    """Run every notebook and build the website from these runs."""
    python = environment(options)
    shutil.rmtree(str(RUNS), ignore_errors=True)
    run(python, "tools/run_notebooks.py", "--jobs", options.jobs)
    build_site(python, RUNS)


def test(options):
    """Run all checks and tests."""
    python = environment(options)
    lint(options)
    build_site(python, None)
    run_tests(python, options.jobs, "--nbval-lax", "tests", "notebooks")


def check(options):
    """Run the checks of style and the fast part of the tests, in less than two minutes."""
    lint(options)
    tests = [f"tests/test_{part}.py" for part in FAST]
    run_tests(environment(options), options.jobs, *tests)


def run_tests(python, jobs, *arguments):
    """Run tests in several processes, each file in one of them."""
    # Files in the order of their names: those with few tests, which would otherwise come last, are among the longest.
    run(python, "-m", "pytest", "-n", jobs, "--dist", "loadfile", "--no-loadscope-reorder", *arguments)


def lab(options):
    """Open the course in JupyterLab, as copies in the folder work."""
    python = environment(options)
    copy_notebooks()
    run(python, "-m", "jupyterlab", WORK / "00_start_here.ipynb")


def notebooks(options):
    """For authors: run notebooks and store their outputs."""
    python = environment(options)
    print("Stores the outputs in notebooks/, where git sees them.")
    times = ["--record-times"] if options.record_times else []
    run(python, "tools/run_notebooks.py", "--store", "--jobs", options.jobs, *times, *options.names)


def site(options):
    """Build the website from the stored outputs."""
    build_site(environment(options), None)


def lint(options):
    """Check the style of the code."""
    python = environment(options)
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "ruff", "format", "--check", ".")


def bench(options):
    """Run the benchmarks."""
    python = environment(options)
    for benchmark in sorted((ROOT / "tools" / "benchmarks").glob("bench_*.py")):
        print("== " + benchmark.name)
        sys.stdout.flush()
        run(python, benchmark)


def setup(options):
    """Set up the environment, and do nothing else."""
    environment(options)


def clean(options):
    """Remove what was built."""
    for name in ("_build", ".pytest_cache", ".ruff_cache", ".hypothesis", "lightning_logs"):
        shutil.rmtree(str(ROOT / name), ignore_errors=True)
    for top in ("course_lib", "data", "notebooks", "tests", "tools"):
        for cache in list((ROOT / top).rglob("__pycache__")):
            shutil.rmtree(str(cache))


def distclean(options):
    """Remove what was built, and the environment; the folder work stays."""
    clean(options)
    for folder in [VENV, *ROOT.glob("*.egg-info")]:
        if folder.exists():
            shutil.rmtree(str(folder))


def vendor(options):
    """For authors: fetch the scripts that the website serves itself, with npm."""
    run(environment(options), "tools/vendor.py")


def lock(options):
    """For authors: write tools/requirements.lock from pyproject.toml."""
    python = environment(options)
    fresh = ROOT / "_build" / "requirements.lock"
    fresh.parent.mkdir(exist_ok=True)
    shutil.copyfile(str(LOCK), str(fresh))  # uv keeps the versions that it finds there
    resolve = [python, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11.0"]
    layout = ["--no-annotate", "--no-header", "--extra", "book", "--extra", "test", "--output-file", fresh]
    run(*resolve, *layout, "pyproject.toml")
    head = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    cuda = re.compile("nvidia-|cuda-|triton==")
    pins = [line for line in fresh.read_text(encoding="utf-8").splitlines() if not cuda.match(line)]
    pins = [re.sub("^tools/", "./tools/", line) for line in pins]
    LOCK.write_text("\n".join(head + pins) + "\n", encoding="utf-8")


COMMANDS = {
    f.__name__: f for f in (book, test, check, lab, notebooks, site, lint, bench, setup, clean, distclean, lock, vendor)
}
# One thread per process: two processes fill two cores, and the numbers do not depend on the machine's cores.
ONE_THREAD = ("book", "notebooks", "test", "check", "bench")


def build_site(python, runs):
    """Build the website from copies of the sources, with the notebooks of the folder `runs` where there is one.

    All pages are built each time (--all): a warning must not vanish because its page did not change.
    """
    for folder in (STAGE, ROOT / "_build" / "html"):
        shutil.rmtree(str(folder), ignore_errors=True)
    for name in ("pages", "tools", "notebooks"):
        shutil.copytree(str(ROOT / name), str(STAGE / name), ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("_toc.yml", "README.md"):
        shutil.copy(str(ROOT / name), str(STAGE))
    for notebook in runs.glob("*.ipynb") if runs else ():
        shutil.copy(str(notebook), str(STAGE / "notebooks"))
    build = ["build", "--config", STAGE / "pages" / "_config.yml", "--path-output", ROOT, "--all", "-W", "-n"]
    start = "from jupyter_book.cli.main import main; main()"
    run(python, "-c", start, *build, "--keep-going", "--quiet", STAGE)
    print("The website is at " + (ROOT / "_build" / "html" / "index.html").as_uri())


def copy_notebooks():
    """Copy the notebooks to the folder work, where git does not look; what was changed there is never replaced."""
    record = WORK / ".copied.json"
    copied = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for source in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        name = source.relative_to(ROOT / "notebooks").as_posix()
        if ".ipynb_checkpoints" in name:
            continue
        mine, new = WORK / name, hashlib.sha256(source.read_bytes()).hexdigest()
        if mine.exists() and copied.get(name) == new:
            continue
        if mine.exists() and hashlib.sha256(mine.read_bytes()).hexdigest() != copied.get(name):
            print(f"work/{name} has your changes and is kept; notebooks/{name} is newer.")
            continue
        mine.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(source), str(mine))
        copied[name] = new
    record.write_text(json.dumps(copied, indent=1), encoding="utf-8")


def main():
    """Run the command that was asked for."""
    listing = "\n".join(f"  {name:10} {f.__doc__.splitlines()[0]}" for name, f in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="course.py", formatter_class=argparse.RawDescriptionHelpFormatter, description="commands:\n" + listing
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("names", nargs="*", metavar="NAME", help="for `notebooks`: which, such as 01_two_views")
    parser.add_argument("--jobs", default="2", help="how many notebooks, and test processes, run at a time (2)")
    parser.add_argument("--python", metavar="PATH", help="the Python to make .venv with; else the newest tested one")
    parser.add_argument("--env", metavar="PATH", help="the Python of an environment that has all; nothing is installed")
    parser.add_argument(
        "--torch", metavar="BUILD", help="a build of PyTorch, such as cpu or cu128; else the fitting one"
    )
    parser.add_argument("--record-times", action="store_true", help="keep the run times of the notebooks")
    options = parser.parse_args()
    if options.names and options.command != "notebooks":
        parser.error(f"only `notebooks` takes names, not `{options.command}`")
    os.environ["PYTHONUTF8"] = "1"
    use_writable_home()
    if options.command in ONE_THREAD:
        os.environ["OMP_NUM_THREADS"] = "1"
    COMMANDS[options.command](options)


if __name__ == "__main__":
    main()
