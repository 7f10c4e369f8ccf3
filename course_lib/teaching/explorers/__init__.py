"""Explorers: figures that move with a slider, in JupyterLab and on the website, where no Python runs.

Everything is drawn beforehand and joined to the controls in the browser. The *live* versions call Python for every
figure, so they can show settings that were not drawn before; the website shows a note in their place.
"""
