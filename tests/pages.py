"""The code of a page of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def code_of(page):
    """[("python" or "bash", its text)] of a page, in its order."""
    text = (ROOT / page).read_text()
    return re.findall(r"^```(python|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
