//! Outputs: which keys each kind has, and that no two write the same file.

use super::parse::Findings;
use super::place::Place;
use super::raw::{self, Table};
use super::validate::{tidy, unique, unknown};
use super::value::{Name, Text};
use super::{Output, OutputKind, OutputType, Site, Source};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What stands for the id of the feed in a path.
const PLACEHOLDER: &str = "{feed}";

/// Rotated files that are kept unless the file says otherwise.
const KEEP: u32 = 10;

/// Longest file name made of an id, in bytes: 255 is the most of most file systems, and something goes around it.
const LONGEST_FILE_NAME: usize = 160;

impl Output {
    /// Whether it has the records of the feed.
    #[must_use]
    pub fn takes(&self, feed: &str) -> bool {
        self.feeds.as_ref().is_none_or(|feeds| feeds.iter().any(|id| id == feed))
    }

    /// The file that the records of `feed` go into; `None` of an output without files.
    #[must_use]
    pub fn path(&self, feed: &str) -> Option<PathBuf> {
        let OutputKind::File { path, .. } = &self.kind else { return None };
        Some(expand(path, feed))
    }

    /// Whether each feed has a file of its own.
    #[must_use]
    pub fn is_per_feed(&self) -> bool {
        let OutputKind::File { path, .. } = &self.kind else { return false };
        path.to_string_lossy().contains(PLACEHOLDER)
    }
}

/// `id` as the name of a file: ASCII letters, digits, `-`, `_` and inner dots stay, all else is percent-encoded.
///
/// Different ids have different names, but for those longer than any file system takes: these end in a hash.
#[must_use]
pub fn file_name(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for (at, byte) in id.bytes().enumerate() {
        let stays = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0);
        if stays {
            name.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > LONGEST_FILE_NAME {
        let hash = fnv(id);
        name.truncate(LONGEST_FILE_NAME - 17);
        let _ = write!(name, "~{hash:016x}");
    }
    name
}

/// The 64-bit FNV-1a hash, the same on every machine.
fn fnv(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn expand(path: &Path, feed: &str) -> PathBuf {
    // Paths come from TOML and so are UTF-8, but for the folder of the site file, which may be anything.
    let name = file_name(feed);
    path.iter()
        .map(|part| match part.to_str() {
            Some(part) => part.replace(PLACEHOLDER, &name).into(),
            None => part.to_owned(),
        })
        .collect()
}

/// Reads the outputs of `site`, which has all else.
pub(super) fn outputs(
    tables: Vec<Table<raw::Output>>,
    site: &Site,
    findings: &mut Findings<'_>,
) -> Vec<Output> {
    unique("outputs", "name", tables.iter().map(|table| table.0.name.as_ref()), findings);
    let mut outputs: Vec<Output> = Vec::new();
    for (index, Table(raw)) in tables.into_iter().enumerate() {
        outputs.push(output(raw, &Place::item("outputs", index), site, findings));
    }
    one_stdout(&outputs, findings);
    own_files(&outputs, site, findings);
    outputs
}

fn output(raw: raw::Output, place: &Place, site: &Site, findings: &mut Findings<'_>) -> Output {
    let name = findings.need(place, "name", raw.name, "the name of the output");
    let kind = findings.need(place, "type", raw.r#type, "file, stdout or appsink");
    let kind = match kind {
        Some(OutputType::File) => {
            if raw.keep.is_some()
                && raw.rotate_size.is_none()
                && !findings.is_wrong(&place.key("rotate-size"))
            {
                findings.add(&place.key("keep"), "expected it with rotate-size only, found no rotate-size");
            }
            let path = findings.need(place, "path", raw.path, "the path of a file");
            if let Some(Text(path)) = &path {
                check_path(path, &place.key("path"), findings);
            }
            OutputKind::File {
                path: path.map(|Text(path)| tidy(&site.base.join(path))).unwrap_or_default(),
                rotate_size: raw.rotate_size.map(|size| size.get()),
                keep: raw.keep.map_or(KEEP, |number| number.get()),
            }
        }
        other => {
            for key in ["path", "rotate-size", "keep"] {
                if other.is_some() && findings.has(&place.key(key)) {
                    let found = other.map_or("", OutputType::as_str);
                    let text = format!("expected it with type = \"file\" only, found it with \"{found}\"");
                    findings.add(&place.key(key), text);
                }
            }
            if other == Some(OutputType::Stdout) { OutputKind::Stdout } else { OutputKind::Appsink }
        }
    };
    Output {
        name: name.map(|Name(name)| name).unwrap_or_default(),
        kind,
        feeds: raw.feeds.map(|feeds| feed_ids(feeds, &place.key("feeds"), site, findings)),
        queue_capacity: raw.queue_capacity.map(|number| number.get()),
        overflow: raw.overflow,
        embeddings: raw.embeddings,
    }
}

fn check_path(path: &str, place: &Place, findings: &mut Findings<'_>) {
    if path.ends_with('/') || path.ends_with("..") || path.ends_with("/.") || path == "." {
        findings.expected(place, "the path of a file, not of a folder");
    }
    if path.contains("://") {
        findings.expected(place, "the path of a file, not a URI");
    }
    if path.replace(PLACEHOLDER, "").contains(['{', '}']) {
        findings.expected(place, "no braces but those of {feed}");
    }
}

/// Checks that there are such feeds.
fn feed_ids(ids: Vec<Name>, place: &Place, site: &Site, findings: &mut Findings<'_>) -> Vec<String> {
    if ids.is_empty() && !findings.is_wrong(place) {
        findings.add(place, "expected one feed at least, found none: leave the key out for all feeds");
    }
    let known: Vec<&str> = site.feeds.iter().map(|feed| feed.id.as_str()).collect();
    let are_sure = !findings.is_wrong(&Place::default().key("feeds"));
    let set: HashSet<&str> = known.iter().copied().collect();
    let mut seen = HashSet::new();
    for (index, Name(id)) in ids.iter().enumerate() {
        if !seen.insert(id) {
            findings.expected(&place.index(index), "each feed once");
        } else if are_sure && !set.contains(id.as_str()) {
            unknown(&place.index(index), "feeds", id, &known, findings);
        }
    }
    ids.into_iter().map(|Name(id)| id).collect()
}

fn one_stdout(outputs: &[Output], findings: &mut Findings<'_>) {
    let mut all = outputs.iter().enumerate().filter(|(_, output)| output.kind == OutputKind::Stdout);
    let Some((first, _)) = all.next() else { return };
    for (index, _) in all {
        let text = format!("expected one output of type stdout, found that of outputs[{first}], too");
        findings.add(&Place::item("outputs", index).key("type"), text);
    }
}

/// Notes files that two outputs would write, or that are read.
fn own_files(outputs: &[Output], site: &Site, findings: &mut Findings<'_>) {
    let mut taken: HashMap<PathBuf, String> = inputs(site);
    for (index, output) in outputs.iter().enumerate() {
        let place = Place::item("outputs", index).key("path");
        if findings.is_wrong(&place) {
            continue;
        }
        let mut files: Vec<PathBuf> = if output.is_per_feed() {
            let all = || site.feeds.iter().map(|feed| feed.id.clone()).collect();
            let ids: Vec<String> = output.feeds.clone().unwrap_or_else(all);
            ids.iter().filter_map(|id| output.path(id)).collect()
        } else {
            Vec::new()
        };
        // Feeds that are added later have files, too.
        if let OutputKind::File { path, .. } = &output.kind {
            files.push(path.clone());
        }
        let owner = files.iter().find_map(|file| taken.get(file));
        if let Some(owner) = owner {
            findings.add(&place, format!("expected a file of its own, found that of {owner}"));
        }
        for file in files {
            taken.entry(file).or_insert_with(|| place.to_string());
        }
    }
}

/// The files that the site reads, with what reads them.
fn inputs(site: &Site) -> HashMap<PathBuf, String> {
    let models = site.models.iter().enumerate();
    let models = models.map(|(index, model)| (tidy(&model.path), format!("models[{index}].path")));
    let feeds = site.feeds.iter().enumerate().filter_map(|(index, feed)| {
        let Source::Uri(address) = &feed.source else { return None };
        let path = url::Url::parse(address.as_str()).ok()?.to_file_path().ok()?;
        Some((tidy(&path), format!("feeds[{index}].uri")))
    });
    models.chain(feeds).collect()
}
