//! Reading the configuration, and reading it again while everything plays.
//!
//! What is new is made, and models are loaded, before anything of the old is touched. A file that is wrong changes
//! nothing.

use super::control::Control;
use super::core::{Core, Trial};
use super::feed::{self, Feed, Newcomer};
use super::group::Group;
use super::outputs::Output;
use super::refusal::Refusal;
use crate::config::{self, Changes, FeedChange, LARGEST_FILE, Problem, Site};
use crate::health::redact;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads a site file.
pub(super) fn read(path: Option<&str>) -> Result<Site, Refusal> {
    let wrong = |text: String| Refusal::InvalidConfiguration { text: redact(&text).into_owned() };
    let path = path.filter(|path| !path.is_empty());
    let path =
        path.ok_or_else(|| wrong("property config: expected the path of a site file, found none".into()))?;
    let text = read_text(Path::new(path)).map_err(|error| wrong(format!("{path}: {error}")))?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let base = absolute.parent().unwrap_or(Path::new("/"));
    Site::parse(&text, base).map_err(|problems| wrong(said(path, &problems)))
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte more than there may be, so that the parser sees that there is too much.
    super::files::open(path)?.take(LARGEST_FILE as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// A line for each problem.
fn said(path: &str, problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("{path}: {problem}")).collect();
    lines.join("\n")
}

/// All that is to be done, made and ready.
struct Change {
    outputs: Vec<Arc<Output>>,
    /// Names of the outputs that are others than before.
    changed_outputs: Vec<String>,
    groups: BTreeMap<String, Arc<Group>>,
    /// Numbers of the feeds that go.
    leave: Vec<u32>,
    /// Those that come.
    feeds: Vec<Arc<Feed>>,
}

impl Newcomer {
    /// What it is by the site as it is now; `None` if it is not in there any more.
    fn under(self, site: &Site) -> Option<Self> {
        if !self.is_of_site {
            return site.group(&self.config.group).is_some().then_some(self);
        }
        let config = site.feed(&self.config.id).filter(|config| config.enabled)?.clone();
        Some(Self { config, ..self })
    }
}

impl Control {
    pub(super) fn reload(&mut self) -> Result<u32, Refusal> {
        let outcome = self.try_to_reload();
        let said = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        *self.core.reload_error.lock() = said;
        outcome.map(|()| 0)
    }

    fn try_to_reload(&mut self) -> Result<(), Refusal> {
        let path = self.core.settings.lock().config.clone();
        let site = read(path.as_deref())?;
        let changes = config::diff(&self.site, &site);
        let new_groups = self.new_groups(&site, &changes)?;
        let prepared = self.prepare_change(&site, &changes, &new_groups).and_then(|change| {
            // The last thing that can go wrong.
            self.runtime().imp().listen_as(&site).map_err(Refusal::failed)?;
            Ok(change)
        });
        match prepared {
            Ok(change) => self.apply(site, change),
            Err(refusal) => {
                for group in new_groups {
                    group.leave(self.runtime().upcast_ref());
                }
                return Err(refusal);
            }
        }
        self.core.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes all that is new besides the groups. Nothing of it is seen yet, and nothing of the old touched.
    fn prepare_change(
        &mut self,
        site: &Site,
        changes: &Changes,
        new_groups: &[Arc<Group>],
    ) -> Result<Change, Refusal> {
        let (outputs, changed_outputs) = self.changed_outputs(site);
        let mut groups = self.groups.clone();
        groups.retain(|name, _| !changes.groups.contains(name));
        groups.extend(new_groups.iter().map(|group| (group.config.name.clone(), Arc::clone(group))));
        let replaced = self.replaced(site, changes, &changed_outputs, &groups);
        let goes = |id: u32| replaced.iter().any(|(gone, _)| *gone == id);
        let stays: Vec<_> = self.feeds.values().filter(|feed| !goes(feed.id)).cloned().collect();
        let mut newcomers: Vec<_> = replaced.iter().filter_map(|(_, newcomer)| newcomer.clone()).collect();
        // Those that are new, and those that were known and not started.
        let changed = changes.changed.iter().map(|(config, _)| config);
        for config in changes.added.iter().chain(changed).filter(|config| config.enabled) {
            let is_here = stays.iter().any(|feed| feed.name() == config.id)
                || newcomers.iter().any(|newcomer| newcomer.config.id == config.id)
                || self.comes_back(&config.id);
            if !is_here {
                newcomers.push(Newcomer { config: config.clone(), password: None, is_of_site: true });
            }
        }
        let max = self.core.settings.lock().max_feeds_of(site);
        let back = self.leaving.values().filter(|leaving| leaving.comes_back.is_some()).count();
        let alive = stays.iter().filter(|feed| feed.is_alive()).count() + back;
        if !newcomers.is_empty() && alive + newcomers.len() > max as usize {
            return Err(Refusal::FeedLimitExceeded { max });
        }
        let mut feeds = Vec::with_capacity(newcomers.len());
        for newcomer in newcomers {
            let id = self.next_id;
            self.next_id += 1;
            feeds.push(self.prepared(id, newcomer, &groups, &outputs)?);
        }
        let leave = replaced.into_iter().map(|(id, _)| id).collect();
        Ok(Change { outputs, changed_outputs, groups, leave, feeds })
    }

    /// Makes and starts the groups that are new or changed; if one cannot be, all of them go again.
    fn new_groups(&mut self, site: &Site, changes: &Changes) -> Result<Vec<Arc<Group>>, Refusal> {
        let mut groups: Vec<Arc<Group>> = Vec::new();
        for config in site.groups.iter().filter(|group| changes.groups.contains(&group.name)) {
            let made = self.new_group(site, config).and_then(|group| {
                groups.push(Arc::clone(&group));
                self.try_out(&group)
            });
            if let Err(refusal) = made {
                for group in groups {
                    group.leave(self.runtime().upcast_ref());
                }
                return Err(refusal);
            }
        }
        Ok(groups)
    }

    /// Starts a group whose errors are nobody's yet.
    fn try_out(&self, group: &Group) -> Result<(), Refusal> {
        *self.core.trial.lock() = Some(Trial { suffix: group.suffix().to_owned(), error: None });
        let started = group.join(self.runtime().imp()).and_then(|()| group.follow());
        let trial = self.core.trial.lock().take();
        let said = trial.and_then(|trial| trial.error);
        started.map_err(|refusal| said.map_or(refusal, Refusal::failed))
    }

    /// From here on everything has been found to be right; a feed that cannot start is one that has failed.
    fn apply(&mut self, site: Site, change: Change) {
        let Change { outputs, changed_outputs, groups, leave, feeds } = change;
        self.core.set_site(Some(&site));
        self.outputs = outputs;
        self.lost.retain(|output, _| !changed_outputs.contains(output));
        let before = std::mem::replace(&mut self.groups, groups);
        let is_here = |group: &Arc<Group>| self.groups.values().any(|known| Arc::ptr_eq(known, group));
        self.retired.extend(before.into_values().filter(|group| !is_here(group)));
        for leaving in self.leaving.values_mut() {
            leaving.comes_back = leaving.comes_back.take().and_then(|newcomer| newcomer.under(&site));
        }
        self.site = site;
        self.holds_off = true;
        let is_paused = |id: &u32| self.feeds.get(id).filter(|feed| feed.marks.lock().is_paused).cloned();
        let paused: Vec<_> = leave.iter().filter_map(is_paused).collect();
        for id in leave {
            self.let_go(id, None, false);
        }
        for feed in feeds {
            self.take_in(&feed);
            if feed.is_alive() && paused.iter().any(|before| before.name() == feed.name()) {
                feed.pause(true);
            }
            self.publish();
            self.runtime().emit_by_name::<()>(super::imp::FEED_ADDED, &[&feed.id]);
        }
        self.look_at_what_was_held_off();
        self.apply_limits();
        self.retire_groups();
        self.publish();
    }

    /// The outputs as `site` has them, and the names of those that are others than before, old and new.
    fn changed_outputs(&self, site: &Site) -> (Vec<Arc<Output>>, Vec<String>) {
        let mut changed = Vec::new();
        let mut outputs = Vec::with_capacity(site.outputs.len());
        for config in &site.outputs {
            let kept = self.outputs.iter().find(|output| output.config == *config);
            outputs.push(kept.cloned().unwrap_or_else(|| {
                changed.push(config.name.clone());
                self.new_output(config.clone())
            }));
        }
        let is_gone = |name: &String| !site.outputs.iter().any(|output| output.name == *name);
        changed.extend(self.outputs.iter().map(|output| output.config.name.clone()).filter(is_gone));
        (outputs, changed)
    }

    /// The feeds that go, and what comes in their place.
    fn replaced(
        &self,
        site: &Site,
        changes: &Changes,
        outputs: &[String],
        groups: &BTreeMap<String, Arc<Group>>,
    ) -> Vec<(u32, Option<Newcomer>)> {
        let mut replaced = Vec::new();
        for feed in self.feeds.values() {
            let newcomer = &feed.newcomer;
            let is_gone = newcomer.is_of_site && changes.removed.contains(&newcomer.config.id);
            let change = changes.changed.iter().find(|(config, _)| config.id == newcomer.config.id);
            let config = match change {
                Some((config, _)) if newcomer.is_of_site => config.clone(),
                _ => newcomer.config.clone(),
            };
            let writes_elsewhere = feed.sinks.iter().any(|(name, _)| outputs.contains(name))
                || site.outputs_of(feed.name()).any(|output| outputs.contains(&output.name));
            let is_other = newcomer.is_of_site && matches!(change, Some((_, FeedChange::Replace)));
            let has_group = groups.contains_key(&config.group);
            if is_gone || !config.enabled || !has_group {
                replaced.push((feed.id, None));
            } else if is_other || writes_elsewhere || changes.groups.contains(&config.group) {
                let newcomer = Newcomer { config, ..newcomer.clone() };
                replaced.push((feed.id, Some(newcomer)));
            }
        }
        replaced
    }

    /// What applies while everything plays.
    fn apply_limits(&self) {
        let drain = self.core.settings.lock().drain_nanos();
        for feed in self.feeds.values() {
            for (_, sink) in &feed.sinks {
                sink.set_property("shutdown-timeout", drain);
            }
            let of_site = self.site.feed(feed.name()).filter(|_| feed.newcomer.is_of_site);
            feed::set_limits(&feed.health, of_site.unwrap_or(&feed.newcomer.config), &self.core);
        }
    }
}

impl Core {
    /// Keeps the error of an element that is tried out; false if it is another's.
    pub(super) fn keep_trial_error(&self, element: &str, text: &str) -> bool {
        let mut trial = self.trial.lock();
        match trial.as_mut().filter(|trial| element.ends_with(&trial.suffix)) {
            Some(trial) => {
                trial.error.get_or_insert_with(|| redact(text).into_owned());
                true
            }
            None => false,
        }
    }
}
