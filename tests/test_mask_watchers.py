"""Watchers of masks see masks before each change, and are held weakly."""

import copy
import gc

from keras_sparse.training.mask_watchers import MaskWatchers


class Watcher:
    def __init__(self):
        self.seen = []

    def see_masks(self, optimizer, weights, masks):
        self.seen.append((optimizer, weights, masks))


def test_each_watcher_is_told_once_until_it_is_discarded():
    watchers, one, other = MaskWatchers(), Watcher(), Watcher()
    for watcher in (one, one, other):
        watchers.add(watcher)
    watchers.tell("optimizer", ["weight"], ["mask"])
    watchers.discard(other)
    watchers.tell("optimizer", [], [])
    assert one.seen == [("optimizer", ["weight"], ["mask"]), ("optimizer", [], [])]
    assert other.seen == one.seen[:1]
    watchers.clear()
    watchers.tell("optimizer", [], [])
    assert len(one.seen) == 2


def test_a_watcher_that_nobody_holds_is_forgotten():
    seen, watchers = [], MaskWatchers()
    watcher = Watcher()
    watcher.seen = seen
    watchers.add(watcher)
    del watcher
    gc.collect()
    watchers.tell("optimizer", [], [])
    assert seen == []


def test_a_copy_has_no_watchers():
    watchers, watcher = MaskWatchers(), Watcher()
    watchers.add(watcher)
    copy.deepcopy(watchers).tell("optimizer", [], [])
    assert watcher.seen == []
