"""The dictionary: which textbook problem an objective is, and its penalty in the conventions of other packages."""

from lossgeo.dictionary.card import Explanation as Explanation
from lossgeo.dictionary.explaining import explain as explain
