//! Graphs that ONNX Runtime has optimised, kept from one start to the next.
//!
//! An entry is one file, `<key>.<digest>.onnx`. The key is a hash of all that the graph depends on: the model's bytes and
//! those of its external data, the release and build of the runtime, the provider, how far it was optimised, and the
//! features of the processor, for the last step lays weights out for that very one. The digest is the hash of the
//! entry itself: what does not match is damaged or foreign, is removed, and is made anew. The bytes that were checked are
//! the bytes that are loaded. An entry appears in one move, so two processes may fill one folder at once.
//!
//! The folder is made with mode 0700. One that is somebody else's, that others may write to, or that is a link is
//! not used at all: a graph is as good as code. Nothing here is fatal; who cannot have the cache goes on without it.
//!
//! Not guaranteed: that the folder stays small. Entries of other models and releases stay until somebody removes
//! them.

use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Raised when an entry of old is not to be taken any more.
const FORMAT: &str = "nextvision optimised model 1";
/// Characters of the key in a file's name: 128 bits.
const KEY_LEN: usize = 32;
/// Half-written files of a process that was killed are removed after so many seconds.
const STALE: u64 = 3600;

/// What became of the cache when a model was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// None was asked for, or the provider has nothing to keep.
    #[default]
    Off,
    /// The model came from it.
    Loaded,
    /// The model was put into it.
    Stored,
    /// The provider keeps its own files in the folder.
    Provider,
    /// It could not be used; why.
    Unusable(String),
}

impl CacheUse {
    /// The name in statistics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Loaded => "loaded",
            Self::Stored => "stored",
            Self::Provider => "provider",
            Self::Unusable(_) => "unusable",
        }
    }
}

/// What a cached graph depends on beside the model's files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Basis<'a> {
    pub(super) runtime: &'a str,
    pub(super) build: &'a str,
    pub(super) provider: &'a str,
    pub(super) options: &'a str,
}

/// The key of one model under one [`Basis`]: hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// Reads the model at `model` and the files of its weights.
    ///
    /// # Errors
    ///
    /// Says which file cannot be read, or that the processor cannot be told from another.
    pub(super) fn of(model: &Path, weights: &[PathBuf], basis: Basis<'_>) -> Result<Self, String> {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            // With its length: no two lists of parts are the same bytes.
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(FORMAT.as_bytes());
        part(env!("CARGO_PKG_VERSION").as_bytes());
        let Basis { runtime, build, provider, options } = basis;
        [runtime, build, provider, options, std::env::consts::ARCH]
            .iter()
            .for_each(|text| part(text.as_bytes()));
        part(processor()?.as_bytes());
        part(&file_digest(model)?);
        for file in weights {
            part(file.file_name().unwrap_or_default().as_encoded_bytes());
            part(&file_digest(file)?);
        }
        let mut name = hex(&hash.finalize());
        name.truncate(KEY_LEN);
        Ok(Self(name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn file_digest(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = file.read(&mut buffer).map_err(failed)?;
        let Some(read) = buffer.get(..len).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
    }
    Ok(hash.finalize().to_vec())
}

/// What the processor can do, as the kernel lists it.
fn processor() -> Result<String, String> {
    let text = fs::read_to_string("/proc/cpuinfo").map_err(|error| format!("/proc/cpuinfo: {error}"))?;
    features(&text).ok_or_else(|| "/proc/cpuinfo: expected the processor's features, found none".to_owned())
}

fn features(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    let mut features: Vec<_> = line.split_once(':')?.1.split_whitespace().collect();
    features.sort_unstable();
    (!features.is_empty()).then(|| features.join(" "))
}

/// A folder that is ours alone to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Takes the folder at `path`, made if it is not there.
    ///
    /// # Errors
    ///
    /// Says what was expected of it and found.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        // Without a slash at the end, behind which a link would be followed.
        let path: PathBuf = path.components().collect();
        match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let metadata = path.symlink_metadata().map_err(failed)?;
        let user = fs::metadata("/proc/self").map_err(|error| format!("/proc/self: {error}"))?.uid();
        let refused = |detail: String| format!("{}: {detail}", path.display());
        judge(&metadata, user).map_err(refused)?;
        let path = path.canonicalize().map_err(failed)?;
        for above in path.ancestors().skip(1).filter(|above| above.parent().is_some()) {
            let metadata = above.metadata().map_err(failed)?;
            judge_above(&metadata, user)
                .map_err(|detail| format!("{}, above {}: {detail}", above.display(), path.display()))?;
        }
        Ok(Self(path))
    }

    /// The folder of that name in it, under the same rules.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(super) fn within(&self, name: &str) -> Result<Self, String> {
        Self::open(&self.0.join(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

fn judge(metadata: &Metadata, user: u32) -> Result<(), String> {
    if metadata.is_symlink() {
        return Err("expected a folder, found a symbolic link".to_owned());
    }
    if !metadata.is_dir() {
        return Err("expected a folder, found something else".to_owned());
    }
    if metadata.uid() != user {
        return Err(format!("expected a folder of user {user}, found one of user {}", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(format!("expected a folder that only its owner may write, found mode {mode:o}"));
    }
    Ok(())
}

/// Whoever may write to a folder above can put another one in the place of ours.
fn judge_above(metadata: &Metadata, user: u32) -> Result<(), String> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != 0 && owner != user {
        return Err(format!("expected a folder of root or user {user}, found one of user {owner}"));
    }
    // In a sticky one, nobody can move what is somebody else's.
    if mode & 0o1002 == 0o002 {
        return Err(format!("expected a folder that not everybody may write, found mode {mode:o}"));
    }
    Ok(())
}

/// Where one model's graph is, or will be.
#[derive(Debug)]
pub(super) struct Entry {
    folder: Folder,
    key: Key,
}

impl Entry {
    pub(super) const fn new(folder: Folder, key: Key) -> Self {
        Self { folder, key }
    }

    /// The bytes of the entry, checked; what does not match its digest is removed.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        self.files().into_iter().find_map(|path| {
            let found = read_checked(&path, &self.digest_in(&path)?);
            if found.is_none() {
                fs::remove_file(&path).ok();
            }
            found
        })
    }

    /// Removes what is there for this key.
    pub(super) fn discard(&self) {
        self.files().into_iter().for_each(|path| drop(fs::remove_file(path)));
    }

    /// A name nobody else uses, for the runtime to write to.
    pub(super) fn temporary(&self) -> PathBuf {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{}.{}-{number}.tmp", self.key.0, std::process::id()))
    }

    /// Makes the file that the runtime has written to `temporary` the entry.
    ///
    /// # Errors
    ///
    /// Says what failed; the file is gone then.
    pub(super) fn store(&self, temporary: &Path) -> Result<(), String> {
        let stored = self.put(temporary);
        if stored.is_err() {
            fs::remove_file(temporary).ok();
        }
        self.remove_stale();
        stored
    }

    fn put(&self, temporary: &Path) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {error}", temporary.display());
        fs::set_permissions(temporary, Permissions::from_mode(0o600)).map_err(failed)?;
        let digest = hex(&file_digest(temporary)?);
        let name = self.folder.path().join(format!("{}.{digest}.onnx", self.key.0));
        fs::rename(temporary, name).map_err(failed)
    }

    /// The entries for this key: one, or more if two processes made it at once.
    fn files(&self) -> Vec<PathBuf> {
        self.list().into_iter().filter(|path| self.digest_in(path).is_some()).collect()
    }

    fn list(&self) -> Vec<PathBuf> {
        let entries = self.folder.path().read_dir().into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    /// The digest in the name of an entry for this key.
    fn digest_in(&self, path: &Path) -> Option<String> {
        let name = path.file_name()?.to_str()?;
        let digest = name.strip_prefix(&self.key.0)?.strip_prefix('.')?.strip_suffix(".onnx")?;
        Some(digest.to_owned())
    }

    fn remove_stale(&self) {
        let is_stale = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let age =
                path.metadata().and_then(|metadata| metadata.modified()).ok().map(|time| time.elapsed());
            name.starts_with(&self.key.0)
                && name.ends_with(".tmp")
                && matches!(age, Some(Ok(age)) if age.as_secs() > STALE)
        };
        self.list().iter().filter(|path| is_stale(path)).for_each(|path| drop(fs::remove_file(path)));
    }
}

/// The bytes of a plain file, if they have that digest.
fn read_checked(path: &Path, digest: &str) -> Option<Vec<u8>> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    (hex(&Sha256::digest(&bytes)) == digest).then_some(bytes)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
