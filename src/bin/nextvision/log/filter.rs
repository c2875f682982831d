//! Which events are wanted.
//!
//! Directives are those of `tracing`, with commas between: a level for all, `TARGET=LEVEL` for some. Those for
//! GStreamer are looked at here: `gst=LEVEL` for all of its log, `gst::CATEGORY=LEVEL` for a category, which may end in
//! `*`. A list without a level for all has `info`.

use std::str::FromStr;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Target of the events that come from GStreamer.
pub(super) const GST: &str = "gst";

/// What one level there is for all, if nobody says.
const DEFAULT: LevelFilter = LevelFilter::INFO;

/// A filter that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    /// Directives for `tracing`, none of them GStreamer's.
    others: Vec<String>,
    /// The level for all.
    all: LevelFilter,
    /// Level of GStreamer's log, if it has one of its own.
    gst: Option<LevelFilter>,
    /// Level of categories of GStreamer, in the order given: the last that fits counts.
    categories: Vec<(String, LevelFilter)>,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut filter = Self { others: Vec::new(), all: DEFAULT, gst: None, categories: Vec::new() };
        for directive in split(text) {
            filter.add(directive)?;
        }
        // What `tracing` makes of the rest is known now, not when the program is half started.
        filter.for_events()?;
        Ok(filter)
    }
}

/// The directives of a list. Commas inside of brackets are not between directives.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = text.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => (),
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let read = text.parse().ok().filter(|_| !text.is_empty());
    read.ok_or_else(|| format!("expected off, error, warn, info, debug or trace, found {text:?}"))
}

impl Filter {
    fn add(&mut self, directive: &str) -> Result<(), String> {
        if directive.contains('[') {
            self.others.push(directive.to_owned());
            return Ok(());
        }
        let Some((target, wanted)) = directive.split_once('=') else {
            self.all = level(directive).map_err(|error| format!("{error}; or TARGET=LEVEL"))?;
            return Ok(());
        };
        let wanted = level(wanted).map_err(|error| format!("{target}: {error}"))?;
        match target.strip_prefix(GST) {
            Some("") => self.gst = Some(wanted),
            Some(rest) if rest.starts_with("::") => {
                let category = rest.trim_start_matches(':');
                let fits = |c: char| c.is_ascii_graphic() && c != '*';
                let name = category.strip_suffix('*').unwrap_or(category);
                if category.is_empty() || !name.chars().all(fits) {
                    return Err(format!("expected gst::CATEGORY=LEVEL, found {directive:?}"));
                }
                self.categories.push((category.to_owned(), wanted));
            }
            _ => self.others.push(directive.to_owned()),
        }
        Ok(())
    }

    /// The filter of `tracing`. It lets GStreamer's log through: that is judged by [`Self::wants`].
    pub(super) fn for_events(&self) -> Result<EnvFilter, String> {
        let ours = [self.all.to_string(), format!("{GST}=trace")];
        let directives: Vec<_> = ours.iter().chain(&self.others).map(String::as_str).collect();
        EnvFilter::try_new(directives.join(",")).map_err(|error| error.to_string())
    }

    /// Whether a line of GStreamer's log is shown. `asked` is whether somebody said what GStreamer is to produce: then
    /// all of that is shown, unless a directive says otherwise.
    pub(super) fn wants(&self, category: &str, level: Level, asked: bool) -> bool {
        let of_category = self.categories.iter().rev().find(|(pattern, _)| fits(pattern, category));
        let of_all = self.gst.unwrap_or(if asked { LevelFilter::TRACE } else { self.all });
        level <= of_category.map_or(of_all, |(_, level)| *level)
    }

    /// The level that each category, or pattern of categories, is to produce at least.
    pub(super) fn categories(&self) -> impl Iterator<Item = (&str, LevelFilter)> {
        self.categories.iter().map(|(category, level)| (category.as_str(), *level))
    }
}

fn fits(pattern: &str, category: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == category, |start| category.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        text.parse().unwrap()
    }

    #[test]
    fn a_level_is_for_all_and_for_gstreamer() {
        let filter = filter("error");
        assert!(filter.wants("nvfeed", Level::ERROR, false));
        assert!(!filter.wants("nvfeed", Level::WARN, false));
        assert_eq!(filter.for_events().unwrap().to_string(), "gst=trace,error");
    }

    #[test]
    fn what_gstreamer_was_told_to_produce_is_shown() {
        assert!(filter("info").wants("GST_PADS", Level::TRACE, true));
        assert!(!filter("info").wants("GST_PADS", Level::DEBUG, false));
        assert!(!filter("info,gst=warn").wants("GST_PADS", Level::INFO, true));
    }

    #[test]
    fn a_category_has_its_own_level() {
        let filter = filter("warn,gst=error,gst::nvfeed=debug, gst::rtsp*=trace,gst::rtspsrc=off");
        assert!(filter.wants("nvfeed", Level::DEBUG, false) && !filter.wants("nvfeed", Level::TRACE, false));
        assert!(!filter.wants("nvfeeds", Level::WARN, false));
        assert!(filter.wants("rtspconnection", Level::TRACE, false));
        assert!(!filter.wants("rtspsrc", Level::ERROR, false));
        assert_eq!(filter.categories().count(), 3);
    }

    #[test]
    fn what_is_for_targets_alone_leaves_the_rest_at_info() {
        let text = filter("health=debug").for_events().unwrap().to_string();
        assert!(text.contains("health=debug") && text.contains("info"), "{text}");
    }

    #[test]
    fn a_filter_that_says_nothing_is_the_default() {
        assert_eq!(filter(" , "), filter("info"));
    }

    #[test]
    fn commas_in_brackets_part_nothing() {
        assert_eq!(split("a[b{c=1,d=2}]=info, warn"), ["a[b{c=1,d=2}]=info", "warn"]);
    }

    #[test]
    fn what_is_no_level_is_refused_with_what_was_expected() {
        for wrong in ["loud", "gst=loud", "gst::=debug", "gst::a b=debug", "gst::x=", "health=", "a[=info"] {
            let error = wrong.parse::<Filter>().expect_err(wrong);
            assert!(!error.is_empty(), "{wrong}");
        }
        let error = "health=loud".parse::<Filter>().unwrap_err();
        assert_eq!(error, "health: expected off, error, warn, info, debug or trace, found \"loud\"");
    }
}
