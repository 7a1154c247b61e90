"""The how-tos are followed with what the integration tests have: their fixtures, and helpers."""

import importlib.util
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "integration"), str(TESTS / "support")]

_spec = importlib.util.spec_from_file_location("fixtures", TESTS / "integration" / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
globals().update({name: value for name, value in vars(_fixtures).items()
                  if not name.startswith("_")})
