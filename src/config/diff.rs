//! What is to be done to get from one site to another.

use super::{Feed, Group, Site};
use std::collections::{HashMap, HashSet};

/// What differs between two sites.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Whether the limits or manners of the runtime do.
    pub runtime: bool,
    /// Whether the health limits of the site do. Feeds that this reaches are among the changed ones, too.
    pub health: bool,
    /// Whether the previews do.
    pub previews: bool,
    /// Names of groups that were added or removed or that differ, a model of theirs included; sorted.
    pub groups: Vec<String>,
    /// Whether the outputs do.
    pub outputs: bool,
    /// Feeds that are new, as the new site has them.
    pub added: Vec<Feed>,
    /// Ids of feeds that are gone.
    pub removed: Vec<String>,
    /// Feeds that differ, or whose group does, as the new site has them.
    pub changed: Vec<(Feed, FeedChange)>,
}

impl Changes {
    /// Whether nothing that runs differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a changed feed needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedChange {
    /// New health limits, which it takes while it plays.
    Live,
    /// To be taken away and added anew.
    Replace,
}

/// What differs from `old` in `new`. Feeds, groups and models are the same if their names are; their order does not
/// matter.
#[must_use]
pub fn diff(old: &Site, new: &Site) -> Changes {
    let groups = groups(old, new);
    let (old_feeds, new_feeds) = (by_id(old), by_id(new));
    let added = new.feeds.iter().filter(|feed| !old_feeds.contains_key(feed.id.as_str()));
    let removed = old.feeds.iter().filter(|feed| !new_feeds.contains_key(feed.id.as_str()));
    let changed_groups: HashSet<&str> = groups.iter().map(String::as_str).collect();
    let changed = new.feeds.iter().filter_map(|feed| {
        let before = old_feeds.get(feed.id.as_str())?;
        let change = if changed_groups.contains(feed.group.as_str()) {
            Some(FeedChange::Replace)
        } else {
            compare(before, feed)
        };
        change.map(|change| (feed.clone(), change))
    });
    Changes {
        runtime: old.runtime != new.runtime,
        health: old.health != new.health,
        previews: old.previews != new.previews,
        outputs: old.outputs != new.outputs,
        added: added.cloned().collect(),
        removed: removed.map(|feed| feed.id.clone()).collect(),
        changed: changed.collect(),
        groups,
    }
}

fn by_id(site: &Site) -> HashMap<&str, &Feed> {
    site.feeds.iter().map(|feed| (feed.id.as_str(), feed)).collect()
}

fn compare(old: &Feed, new: &Feed) -> Option<FeedChange> {
    if old == new {
        return None;
    }
    let only_health = *old == Feed { health: old.health.clone(), ..new.clone() };
    Some(if only_health { FeedChange::Live } else { FeedChange::Replace })
}

fn groups(old: &Site, new: &Site) -> Vec<String> {
    let is_same = |group: &Group| {
        let is_there = new.group(&group.name) == Some(group);
        is_there && group.models.iter().all(|model| old.model(model) == new.model(model))
    };
    let changed = old.groups.iter().filter(|group| !is_same(group));
    let added = new.groups.iter().filter(|group| old.group(&group.name).is_none());
    let mut names: Vec<String> = changed.chain(added).map(|group| group.name.clone()).collect();
    names.sort();
    names
}
