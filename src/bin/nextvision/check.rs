//! Reads a site file, says what is wrong with it or what would run. Starts nothing and loads nothing.

use crate::{Outcome, complain, text};
use gstnextvision::config::{self, Feed, Secret, Site, Source};
use gstnextvision::health::redact;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Checks the file, and what it names.
pub(crate) fn check(path: &Path) -> Outcome {
    let site = match read(path) {
        Ok(site) => site,
        Err(problems) => return Outcome::Wrong(problems),
    };
    let around = Surroundings::of(&site);
    let found = around.found.join("\n");
    let text = format!("{}\n{found}\n", shown_lines(&config::plan(&site)));
    // A reader that has gone away has read enough.
    std::io::stdout().write_all(shown_lines(&text).as_bytes()).ok();
    for warning in around.missing {
        complain(&shown(&format!("{}: warning: {warning}", path.display())));
    }
    Outcome::Well
}

/// The site in a file.
///
/// # Errors
///
/// A line for each problem, with the name of the file in front of it.
pub(crate) fn read(path: &Path) -> Result<Site, Vec<String>> {
    let name = path.display();
    let text = read_text(path).map_err(|problem| vec![shown(&format!("{name}: {problem}"))])?;
    let base = path.parent().unwrap_or(Path::new(""));
    Site::parse(&text, base)
        .map_err(|problems| problems.iter().map(|problem| shown(&format!("{name}: {problem}"))).collect())
}

fn read_text(path: &Path) -> Result<String, String> {
    let file =
        File::open(path).map_err(|error| format!("expected a file that can be read, found: {error}"))?;
    let limit = config::LARGEST_FILE;
    let mut bytes = Vec::new();
    // One byte more shows that there is more.
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("expected a file that can be read, found: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("expected {limit} bytes at most, found more"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|byte| **byte == b'\n');
        format!("line {}: expected UTF-8, found another byte", line.count() + 1)
    })
}

fn shown(line: &str) -> String {
    text::one_line(&redact(line)).into_owned()
}

fn shown_lines(lines: &str) -> String {
    lines.lines().map(|line| shown(line) + "\n").collect()
}

// --- What may be otherwise by the time it runs -------------------------------------------------------------

/// What is there, and what is not.
#[derive(Default)]
struct Surroundings {
    found: Vec<String>,
    missing: Vec<String>,
}

impl Surroundings {
    fn of(site: &Site) -> Self {
        let mut all = Self::default();
        for model in &site.models {
            all.file(&format!("model {}", model.name), &model.path);
            if let Some(labels) = &model.labels {
                all.file(&format!("labels of model {}", model.name), labels);
            }
        }
        for feed in site.feeds.iter().filter(|feed| feed.enabled) {
            all.feed(feed);
        }
        all
    }

    fn feed(&mut self, feed: &Feed) {
        let what = format!("feed {}", feed.id);
        if let Source::Uri(address) = &feed.source
            && let Some(path) = local_file(address.as_str())
        {
            self.file(&what, &path);
        }
        if let Some(certificates) = &feed.tls_database {
            self.file(&format!("tls-database of {what}"), certificates);
        }
        match &feed.password {
            None => (),
            Some(Secret::File(path)) => self.file(&format!("password of {what}"), path),
            // Whether it is set, and no more.
            Some(Secret::Env(name)) => match std::env::var_os(name) {
                Some(_) => self.found.push(format!("password of {what}: the variable {name} is set")),
                None => self.missing.push(format!("password of {what}: the variable {name} is not set here")),
            },
        }
    }

    fn file(&mut self, what: &str, path: &Path) {
        let shown = path.display();
        // Anything but a file is not opened: that may wait for somebody to write.
        let is_readable = std::fs::metadata(path).and_then(|it| {
            if it.is_file() { File::open(path).map(drop) } else { Err(ErrorKind::InvalidInput.into()) }
        });
        match is_readable {
            Ok(()) => self.found.push(format!("{what}: {shown} can be read")),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                self.missing.push(format!("{what}: {shown} is no file"));
            }
            Err(error) => self.missing.push(format!("{what}: {shown} cannot be read: {error}")),
        }
    }
}

/// The file of a `file:` URI.
fn local_file(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    Some(glib::filename_from_uri(uri).map_or_else(|_| rest.into(), |(path, _)| path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_uri_is_found() {
        assert_eq!(local_file("file:///a%20b/c.mp4"), Some("/a b/c.mp4".into()));
        assert_eq!(local_file("rtsp://host/a"), None);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let mut all = Surroundings::default();
        all.file("model m", Path::new("/dev/tty"));
        all.file("model n", Path::new("/no/such/file"));
        assert_eq!(all.missing[0], "model m: /dev/tty is no file");
        assert!(all.missing[1].starts_with("model n: /no/such/file cannot be read: "), "{:?}", all.missing);
        assert!(all.found.is_empty());
    }
}
