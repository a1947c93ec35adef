"""The process of one flow run on an agent: it ends with its worker, and then is Prefect's own engine.

Started as `python -m agents.flow_process`.
"""

from __future__ import annotations

import runpy

from agents.parent import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
