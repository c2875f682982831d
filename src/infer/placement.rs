//! Where the nodes of a graph really run: ONNX Runtime says so only in the profile of a run.
//!
//! The first run of a model on anything but the CPU is profiled, once; the profile lies in a folder of its own that
//! nobody else can look into, and is removed at once. It costs nothing later.

use super::provider::Provider;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A profile is smaller than this, or not read.
const MAX_BYTES: u64 = 256 << 20;

/// A folder for one profile, removed with all that is in it.
#[derive(Debug)]
pub(super) struct ProfileFolder(PathBuf);

impl ProfileFolder {
    /// `None` if there is no room for one: the placement then stays unknown.
    pub(super) fn new() -> Option<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nextvision-{}-{number}", std::process::id()));
        // Fails if somebody else was there before.
        DirBuilder::new().mode(0o700).create(&path).ok().map(|()| Self(path))
    }

    /// What the runtime's file names are to begin with.
    pub(super) fn prefix(&self) -> PathBuf {
        self.0.join("run")
    }
}

impl Drop for ProfileFolder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// How many nodes of the graph each provider ran, the busiest first.
pub(super) fn read(profile: &Path) -> Option<Vec<(String, u32)>> {
    let small = profile.metadata().is_ok_and(|metadata| metadata.len() <= MAX_BYTES);
    count(&fs::read(profile).ok().filter(|_| small)?)
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    args: BTreeMap<String, serde_json::Value>,
}

fn count(profile: &[u8]) -> Option<Vec<(String, u32)>> {
    let events: Vec<Event> = serde_json::from_slice(profile).ok()?;
    let mut nodes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.cat == "Node") {
        let Some(provider) = event.args.get("provider").and_then(serde_json::Value::as_str) else { continue };
        nodes.entry(Provider::shown(provider)).or_default().insert(&event.name);
    }
    let mut counts: Vec<_> = nodes
        .into_iter()
        .map(|(provider, nodes)| (provider.to_owned(), u32::try_from(nodes.len()).unwrap_or(u32::MAX)))
        .collect();
    counts.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_once_each_by_provider() {
        let profile = br#"[
            {"cat":"Session","name":"model_loading","args":{}},
            {"cat":"Node","name":"a_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Conv"}},
            {"cat":"Node","name":"b_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Conv"}},
            {"cat":"Node","name":"a_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"Conv"}},
            {"cat":"Node","name":"c_kernel_time","args":{"provider":"CPUExecutionProvider","op_name":"Shape"}},
            {"cat":"Node","name":"c_fence_before","args":{"op_name":"Shape"}}
        ]"#;
        assert_eq!(count(profile).unwrap(), [("cuda".to_owned(), 2), ("cpu".to_owned(), 1)]);
    }

    #[test]
    fn what_is_no_profile_says_nothing() {
        for text in ["", "[", "{}", "[1]", "[{\"cat\": 3}]"] {
            assert_eq!(count(text.as_bytes()), None, "{text}");
        }
        assert_eq!(count(b"[]"), Some(Vec::new()));
        assert_eq!(read(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_folder_is_private_and_goes_away() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = ProfileFolder::new().unwrap();
        let path = folder.0.clone();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(folder.prefix(), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
