//! Systems whose `sh` is one of the shells that targets have, to run the shell texts of the source in.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub const SHELLS: [&str; 3] = ["dash", "bash", "busybox"];

/// A system whose `sh` is this shell.
pub struct System {
    pub shell: &'static str,
    pub bin: TempDir,
    path: OsString,
}

impl System {
    pub fn of(shell: &'static str) -> Self {
        let program = which(shell);
        let bin = tempfile::tempdir().unwrap();
        let mut path = bin.path().as_os_str().to_owned();
        if shell == "busybox" {
            // Nothing but busybox: its applets are all there is.
            let mut install = Command::new(&program);
            install.args(["--install", "-s"]).arg(bin.path());
            assert!(install.status().unwrap().success());
        } else {
            symlink(&program, bin.path().join("sh")).unwrap();
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap());
        }
        Self { shell, bin, path }
    }

    /// `sh` with these arguments, and a working directory that says nothing.
    pub fn sh(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.bin.path().join("sh"));
        command.args(arguments).env("PATH", &self.path).current_dir("/").stdin(Stdio::null());
        command
    }

    /// The script (or several in one, with `+` between), as `landfall::machine::Script::sh` has it run.
    pub fn script(&self, paths: &str, arguments: &[&str]) -> Command {
        self.sh(&[&["-euc", &joined(paths), "sh"], arguments].concat())
    }

    /// The script in a mount namespace of its own, in which `prepare` (a text for the same shell; `$1` is
    /// `scene`) has been run before. Wants root.
    pub fn script_in(
        &self,
        scene: &Path,
        prepare: &str,
        paths: &str,
        arguments: &[&str],
    ) -> Command {
        let text = joined(paths);
        let outer = format!("{prepare}\ntext=$2\nshift 2\nexec sh -euc \"$text\" sh \"$@\"");
        let mut command = Command::new(which("unshare"));
        command.arg("-m").arg(self.bin.path().join("sh")).args(["-euc", &outer, "sh"]);
        command.arg(scene).arg(text).args(arguments);
        command.env("PATH", &self.path).current_dir("/").stdin(Stdio::null());
        command
    }

    /// Puts a program into the system's PATH, before any other of its name.
    pub fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.bin.path().join(name);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs the script; it must do well and have no complaints.
    #[track_caller]
    pub fn run(&self, path: &str, arguments: &[&str]) -> String {
        let output = self.script(path, arguments).output().unwrap();
        assert!(output.status.success(), "{path} in {}: {output:?}", self.shell);
        assert_eq!(text(&output.stderr), "", "{path} in {}", self.shell);
        text(&output.stdout)
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// One script, or several with `+` between, as one text.
fn joined(paths: &str) -> String {
    let read = |path| std::fs::read_to_string(source().join(path)).unwrap();
    paths.split('+').map(read).collect::<Vec<_>>().join("\n")
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("there is no `{program}` in PATH: run `cargo xtask test`"))
}

pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
