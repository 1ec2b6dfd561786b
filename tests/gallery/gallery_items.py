"""Items of which every part is known of some, and filters that find them."""

import math

import numpy as np
from hypothesis import strategies as st

from mmreid_uda.gallery import Filter, Items

CAMERAS, IDENTITIES = ("", "gate", "hall", 'yard "3"'), ("", "ann", "bob", "ann ", "ä")
TAGS = ("red", 1, 1.0, True, None, "1", 2**40)


def made(num, dim=8, seed=0):
    """Items with twins: equal features, so that ties come up."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num, dim)).astype(np.float32)
    features[1::7] = features[0::7][: len(features[1::7])]
    return Items.of(
        features,
        [f"crops/{seed}/{n}.jpg" for n in range(num)],
        cameras=rng.choice(CAMERAS, num),
        times=np.where(rng.random(num) < 0.2, math.nan, np.round(rng.random(num) * 20) / 2),
        tracklets=[f"t{n // 3}" if n % 5 else "" for n in range(num)],
        identities=rng.choice(IDENTITIES, num),
        added=np.arange(num) + 0.1,
        fields=[
            {} if n % 4 == 0 else {"tag": TAGS[n % len(TAGS)], "a.b": [n % 3, "x", [5], {"y": 1}]}
            for n in range(num)
        ],
    )


def _some(values):
    return st.none() | st.lists(st.sampled_from(values), max_size=3)


_IDS = _some(made(40).ids)
_TRACKLETS = _some(["", "t0", "t1", "t2", "t9", "none"])
_SECONDS = st.none() | st.sampled_from([-1.0, 0.0, 2.5, 5.1, 30.0])

FILTERS = st.builds(
    Filter,
    ids=st.none() | _IDS,
    not_ids=_IDS,
    cameras=_some([*CAMERAS, "none"]),
    not_cameras=_some(CAMERAS),
    identities=_some(IDENTITIES),
    not_identities=_some(IDENTITIES),
    tracklets=_TRACKLETS,
    not_tracklets=_TRACKLETS,
    since=_SECONDS,
    until=_SECONDS,
    added_since=_SECONDS,
    added_before=_SECONDS,
    fields=st.none()
    | st.dictionaries(
        st.sampled_from(["tag", "a.b", "none"]), st.sampled_from([*TAGS, 2, "x", 5]), max_size=2
    ),
)
