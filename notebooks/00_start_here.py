# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Start here
#
# What do you need to run this course, and is it all there?
#
# **Time to run:** about 10 s

# %% [markdown]
# The next cell names the Python you are running. The course is tested with Python 3.11.

# %%
import sys

import course_lib

# %%
# NBVAL_CHECK_OUTPUT
print(f"Python {sys.version_info.major}.{sys.version_info.minor}, course_lib {course_lib.__version__}")
