"""Whether two texts tell the same story in other words, for labels of what a text is about: a judgement, not a proof.

Much must be shared: most words of weight, the names, the numbers. And the difference must look like rewording: in several
places, while one changed place, one word or one name for another, is an edit and may be the point.
"""

from __future__ import annotations

import re
from itertools import combinations

from pipelines import lexicon
from pipelines.difference import Span, differences
from pipelines.explain import Read, read
from pipelines.guards import code, links, negation, opposites, order, sides, units
from pipelines.paraphrase import Facts, facts_of, opinion, renames, same_facts

STORIES = 6
"""So many keys of rare words has a text: the pairs of its four rarest."""

_RAREST = 4
_MIN_WORDS = 7
_MIN_CHANGED, _MIN_PLACES = 3, 2
_SHARED = 0.4
