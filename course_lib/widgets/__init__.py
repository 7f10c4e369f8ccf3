"""Explorers: figures that move with a slider, in JupyterLab and on the website, where no Python runs.

Everything is drawn beforehand and joined to the controls in the browser. The *live* versions call Python for every
figure, so they can show what nobody drew before; the website says so in their place.
"""

from course_lib.widgets.crystal import graph_explorer
from course_lib.widgets.explorer import Choice, Explorer, Frame
from course_lib.widgets.late_fusion import alpha_explorer, live_alpha
from course_lib.widgets.multitask import lambda_explorer, live_lambda, sweep_table

__all__ = [
    "Choice",
    "Explorer",
    "Frame",
    "alpha_explorer",
    "graph_explorer",
    "lambda_explorer",
    "live_alpha",
    "live_lambda",
    "sweep_table",
]
