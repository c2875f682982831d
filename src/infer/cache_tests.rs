//! The folder, the keys and the entries of the cache, without a runtime.

use super::*;
use std::os::unix::fs::symlink;

const BASIS: Basis<'static> = Basis { runtime: "1.2.3", build: "b", provider: "cpu", options: "all" };

fn folder() -> (tempfile::TempDir, Folder) {
    let above = tempfile::tempdir().unwrap();
    let folder = Folder::open(&above.path().join("cache")).unwrap();
    (above, folder)
}

/// An entry for a model of these bytes, and what keeps its folder alive.
fn entry(model: &str) -> (tempfile::TempDir, Entry) {
    let (above, folder) = folder();
    let path = above.path().join("m.onnx");
    fs::write(&path, model).unwrap();
    let key = Key::of(&path, &[], BASIS).unwrap();
    (above, Entry::new(folder, key))
}

fn store(entry: &Entry, text: &str) {
    let temporary = entry.temporary();
    fs::write(&temporary, text).unwrap();
    entry.store(&temporary).unwrap();
}

#[test]
fn the_folder_is_made_for_its_owner_only() {
    let (_above, folder) = folder();
    assert_eq!(folder.path().metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(Folder::open(folder.path()), Ok(folder.clone()), "found again");
    assert_eq!(folder.within("sub").unwrap().path().metadata().unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_folder_that_others_may_write_is_refused() {
    let (_above, folder) = folder();
    for mode in [0o770, 0o702, 0o777] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let refusal = Folder::open(folder.path()).unwrap_err();
        assert!(refusal.contains(&format!("only its owner may write, found mode {mode:o}")), "{refusal}");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    Folder::open(folder.path()).expect("others may read it");
}

#[test]
fn a_folder_below_one_that_all_may_write_is_refused() {
    let (above, folder) = folder();
    fs::set_permissions(above.path(), Permissions::from_mode(0o777)).unwrap();
    let refusal = Folder::open(folder.path()).unwrap_err();
    assert!(refusal.contains("not everybody may write, found mode 777"), "{refusal}");
    fs::set_permissions(above.path(), Permissions::from_mode(0o1777)).unwrap();
    Folder::open(folder.path()).expect("nobody can exchange what is in a sticky folder");
}

#[test]
fn links_and_files_are_no_folder() {
    let (above, folder) = folder();
    let link = above.path().join("link");
    symlink(folder.path(), &link).unwrap();
    assert!(Folder::open(&link).unwrap_err().contains("found a symbolic link"));
    let slash = PathBuf::from(format!("{}/", link.display()));
    assert!(Folder::open(&slash).unwrap_err().contains("found a symbolic link"));
    let file = above.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(Folder::open(&file).unwrap_err().contains("found something else"));
    assert!(Folder::open(&file.join("below")).is_err());
}

#[test]
fn another_users_folder_is_refused() {
    let (_above, folder) = folder();
    let metadata = folder.path().symlink_metadata().unwrap();
    let refusal = judge(&metadata, metadata.uid() + 1).unwrap_err();
    assert!(refusal.contains("expected a folder of user"), "{refusal}");
    if metadata.uid() != 0 {
        assert!(judge_above(&metadata, metadata.uid() + 1).is_err());
    }
}

#[test]
fn whatever_the_graph_depends_on_changes_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (model, weights) = (file("m.onnx", "model"), file("w.bin", "weights"));
    let key = |basis: Basis<'_>| Key::of(&model, std::slice::from_ref(&weights), basis).unwrap();
    let mut keys = vec![
        key(BASIS),
        key(Basis { runtime: "1.2.4", ..BASIS }),
        key(Basis { build: "c", ..BASIS }),
        key(Basis { provider: "cuda", ..BASIS }),
        key(Basis { options: "basic", ..BASIS }),
        key(Basis { provider: "c", options: "puall", ..BASIS }),
        Key::of(&model, &[], BASIS).unwrap(),
    ];
    file("w.bin", "heights");
    keys.push(key(BASIS));
    file("w.bin", "weights");
    file("m.onnx", "edited");
    keys.push(key(BASIS));
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{index}: {keys:?}");
    }
    file("m.onnx", "model");
    assert_eq!(key(BASIS), keys[0], "the same again");
    assert!(Key::of(&folder.path().join("none"), &[], BASIS).unwrap_err().contains("none"));
}

#[test]
fn features_are_found_whatever_the_architecture() {
    assert_eq!(features("processor : 0\nflags\t\t: sse avx\n").as_deref(), Some("avx sse"));
    assert_eq!(features("processor: 0\nFeatures : fp asimd\n").as_deref(), Some("asimd fp"));
    assert_eq!(features("flags\t:\n"), None);
    assert_eq!(features(""), None);
}

#[test]
fn what_is_stored_is_read_again() {
    let (_above, entry) = entry("model");
    assert_eq!(entry.read(), None);
    store(&entry, "graph");
    assert_eq!(entry.read().as_deref(), Some(&b"graph"[..]));
    let files = entry.list();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].metadata().unwrap().mode() & 0o777, 0o600);
    entry.discard();
    assert_eq!((entry.read(), entry.list()), (None, Vec::new()));
}

#[test]
fn a_damaged_entry_is_removed_and_made_anew() {
    let (_above, entry) = entry("model");
    store(&entry, "graph");
    let path = entry.list().remove(0);
    for damage in ["Graph", "grap", ""] {
        fs::write(&path, damage).unwrap();
        assert_eq!(entry.read(), None, "{damage:?}");
        assert_eq!(entry.list(), Vec::<PathBuf>::new());
        store(&entry, "graph");
        assert!(entry.read().is_some());
    }
}

#[test]
fn a_link_is_no_entry_even_if_its_target_matches() {
    let (above, entry) = entry("model");
    store(&entry, "graph");
    let path = entry.list().remove(0);
    let target = above.path().join("target");
    fs::rename(&path, &target).unwrap();
    symlink(&target, &path).unwrap();
    assert_eq!(entry.read(), None);
    assert!(target.exists());
}

#[test]
fn the_entry_of_another_model_is_left_alone() {
    let (_above, first) = entry("model");
    store(&first, "graph");
    let second = Entry::new(first.folder.clone(), Key("0".repeat(KEY_LEN)));
    assert_eq!(second.read(), None);
    second.discard();
    assert!(first.read().is_some());
}

#[test]
fn half_written_files_go_when_they_are_old() {
    let (_above, entry) = entry("model");
    let (old, young) = (entry.temporary(), entry.temporary());
    let file = File::create(&old).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    File::create(&young).unwrap();
    store(&entry, "graph");
    assert!(!old.exists() && young.exists());
}

#[test]
fn storing_what_is_not_there_is_an_error_that_names_it() {
    let (_above, entry) = entry("model");
    let missing = entry.temporary();
    assert!(entry.store(&missing).unwrap_err().contains(".tmp"));
}

#[test]
fn a_full_or_read_only_folder_leaves_no_half_entry() {
    let (_above, entry) = entry("model");
    let temporary = entry.temporary();
    fs::write(&temporary, "graph").unwrap();
    // Its place is taken by a folder: the move fails.
    let name = entry.folder.path().join(format!("{}.{}.onnx", entry.key.0, hex(&Sha256::digest(b"graph"))));
    fs::create_dir(&name).unwrap();
    entry.store(&temporary).unwrap_err();
    assert!(!temporary.exists());
    assert_eq!(entry.read(), None);
}
