//! What the process has of the system: threads and descriptors.

use std::path::PathBuf;

/// What a process has of the system.
#[derive(Clone, Debug)]
pub(crate) struct Holdings {
    threads: Vec<String>,
    descriptors: Vec<PathBuf>,
}

impl Holdings {
    pub(crate) fn now() -> Self {
        let list = |path: &str| std::fs::read_dir(path).expect("Linux").flatten().map(|entry| entry.path());
        // One may end between the two looks.
        Self {
            threads: list("/proc/self/task")
                .filter_map(|task| std::fs::read_to_string(task.join("comm")).ok())
                .map(|name| name.trim_end().to_owned())
                .collect(),
            descriptors: list("/proc/self/fd").filter_map(|file| std::fs::read_link(file).ok()).collect(),
        }
    }

    pub(crate) fn threads_of_ours(&self) -> usize {
        self.threads.iter().filter(|name| name.starts_with("nv-")).count()
    }

    pub(crate) fn threads_called(&self, name: &str) -> usize {
        self.threads.iter().filter(|found| *found == name).count()
    }

    /// Whether there is no more than `before`; threads that are not ours count unless they `others_may_stay`.
    pub(crate) fn is_no_more_than(&self, before: &Self, others_may_stay: bool) -> bool {
        (others_may_stay || self.threads.len() <= before.threads.len())
            && self.threads_of_ours() <= before.threads_of_ours()
            && self.descriptors.len() <= before.descriptors.len()
    }
}
