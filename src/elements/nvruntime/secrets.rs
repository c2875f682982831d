//! Where passwords come from: the environment or files, never a command line.

use crate::config::Secret;
use std::io::Read as _;

/// Longest password, in bytes.
const LONGEST: u64 = 4096;

/// The secret itself.
///
/// # Errors
/// Says what was looked for; never what was found.
pub(super) fn resolve(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::Env(name) => {
            std::env::var(name).map_err(|_| format!("expected a password in the variable {name}, found none"))
        }
        Secret::File(path) => {
            let cannot = |error| format!("expected a password in {}: {error}", path.display());
            let mut text = String::new();
            let file = super::files::open(path).map_err(cannot)?;
            file.take(LONGEST + 1).read_to_string(&mut text).map_err(cannot)?;
            if text.len() as u64 > LONGEST {
                let path = path.display();
                return Err(format!("expected a password of {LONGEST} bytes at most in {path}, found more"));
            }
            // Editors and `echo` end a file with a line feed, which no password has.
            Ok(text.trim_end_matches(['\n', '\r']).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_password_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door");
        std::fs::write(&path, "pass word \r\n").unwrap();
        assert_eq!(resolve(&Secret::File(path)).unwrap(), "pass word ");
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = resolve(&Secret::Env("NV_NO_SUCH_VARIABLE".to_owned())).unwrap_err();
        assert_eq!(missing, "expected a password in the variable NV_NO_SUCH_VARIABLE, found none");
        assert!(resolve(&Secret::File("/no/such/file".into())).unwrap_err().contains("/no/such/file"));
    }
}
