//! Files that lie in a flake's directory and are not in git: a flake in a git repository does not have them.

use std::path::{Path, PathBuf};

/// A file that is there, and not in git.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untracked {
    /// The work tree's root.
    pub(crate) root: PathBuf,
    /// The file, from there.
    pub(crate) file: String,
}

impl Untracked {
    /// The file that Nix does not find, in its own words, if it lies in the work tree of a local flake.
    pub(crate) fn of(flake: &str, words: &str) -> Option<Self> {
        let file = missing(words)?;
        let path = flake.strip_prefix("git+file://").unwrap_or(flake);
        let path = Path::new(path.split(['?', '#']).next()?).canonicalize().ok()?;
        let root = path.ancestors().find(|above| above.join(".git").exists())?;
        let is_within = !file.split('/').any(|part| part == "..");
        (is_within && root.join(file).exists())
            .then(|| Self { root: root.to_owned(), file: file.to_owned() })
    }

    /// What a person types to add it.
    pub(crate) fn add_by_hand(&self) -> String {
        let root = self.root.to_string_lossy();
        let quoted =
            |text: &str| shlex::try_quote(text).map_or_else(|_| text.to_owned(), Into::into);
        format!("git -C {} add {}", quoted(&root), quoted(&self.file))
    }
}

/// The path within the flake's source that an error is about: Nix 2.18 to 2.26 name it in the store, later ones as git has it.
fn missing(words: &str) -> Option<&str> {
    if let Some((_, rest)) = words.split_once("Path '")
        && let Some((file, rest)) = rest.split_once('\'')
        && rest.contains("is not tracked by Git")
    {
        return Some(file);
    }
    let says = ["does not exist", "No such file or directory", "is not under Git control"];
    if !says.iter().any(|said| words.contains(said)) {
        return None;
    }
    let (_, rest) = words.split_once("'/nix/store/")?;
    let (path, _) = rest.split_once('\'')?;
    path.split_once('/').map(|(_, file)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_and_not_found_is_not_in_git() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for below in [".git", "hosts", "deep"] {
            std::fs::create_dir(root.join(below)).unwrap();
        }
        std::fs::write(root.join("hosts/my nas.nix"), "").unwrap();
        let flake = root.to_str().unwrap();
        let store = "/nix/store/7rcjgf8zyfricwl7ccm7hyx9m3mav9g1-source/hosts/my nas.nix";
        for words in [
            format!("path '{store}' does not exist"),
            format!("getting status of '{store}': No such file or directory"),
            format!(
                "access to path '{store}' is forbidden because it is not under Git control; maybe you should 'git add' it"
            ),
            format!("Path 'hosts/my nas.nix' in the repository \"{flake}\" is not tracked by Git."),
        ] {
            for flake in
                [flake.to_owned(), format!("git+file://{flake}?dir=x"), format!("{flake}/deep")]
            {
                let found = Untracked::of(&flake, &words).unwrap();
                assert_eq!(
                    found.add_by_hand(),
                    format!("git -C {} add 'hosts/my nas.nix'", root.display())
                );
            }
            assert_eq!(Untracked::of("github:me/x", &words), None);
        }
        for other in [
            "path '/nix/store/0-source/hosts/none.nix' does not exist".to_owned(),
            format!("something else about '{store}'"),
            "path '/nix/store/0-source/../x' does not exist".to_owned(),
        ] {
            assert_eq!(Untracked::of(flake, &other), None, "{other}");
        }
    }
}
