//! The rooms of the house: no import runs back up, and the plan can reach no file, process, socket or clock. Both are read off
//! the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the top floor down. A room may use those below it, and none of its own floor.
const FLOORS: [&[&str]; 13] = [
    // Tests of what all others show.
    &["screens"],
    &["commands"],
    &["steps"],
    &["prepare"],
    &["journal"],
    &["plan"],
    &["secrets"],
    &["facts"],
    &["nix"],
    &["machine"],
    &["report"],
    &["findings"],
    &["atomic", "clock", "hex", "paths", "secret"],
];

/// Rooms whose code only decides.
const PURE: [&str; 2] = ["plan", "findings"];

/// What reaches beyond the arguments. All of the wire, of Nix and of the probes is `async`.
const IMPURE: [&str; 26] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "tokio",
    "rustix",
    "openssh::",
    "tempfile",
    "which::",
    "crate::clock",
    "crate::paths",
    "async ",
    ".await",
    "File::",
    "Command::",
    ".exists()",
    ".is_dir()",
    ".is_file()",
    ".metadata()",
    ".canonicalize()",
    "block_on",
];

/// What a pure room may take from a room that also acts: values, and functions of values.
const VALUES: [(&str, &[&str]); 4] = [
    ("machine", &["Compression", "Destination", "Elevation", "Image", "fingerprint"]),
    ("nix", &["Derivation", "StorePath"]),
    (
        "report",
        &[
            "Document",
            "Event",
            "Exit",
            "Failure",
            "Pool",
            "ReportedFinding",
            "StepName",
            "Vdev",
            "one_line",
            "size",
            "to_json",
        ],
    ),
    ("secrets", &["Owner", "age", "host_key"]),
];

/// A file of the source.
struct Source {
    /// Its path below `src`.
    path: PathBuf,
    /// Its lines without comments, each with its number.
    lines: Vec<(usize, String)>,
    /// The number of the line from which it is only tests.
    tests_from: usize,
}

impl Source {
    fn room(&self) -> String {
        let first = self.path.iter().next().unwrap().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The lines that are part of the product.
    fn product(&self) -> impl Iterator<Item = &(usize, String)> {
        self.lines.iter().filter(|(number, _)| *number < self.tests_from)
    }

    fn at(&self, number: usize) -> String {
        format!("src/{}:{number}", self.path.display())
    }
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All files of the rooms.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    let texts: Vec<(PathBuf, String)> =
        paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    let test_files: BTreeSet<PathBuf> =
        texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let source = |(path, text): &(PathBuf, String)| {
        let code = |line: &str| line.split_once("//").map_or(line, |(code, _)| code).to_owned();
        let lines: Vec<_> = (1..).zip(text.lines().map(code)).collect();
        let tests = text.find("#[cfg(test)]\nmod tests {");
        let tests_from = match tests {
            _ if test_files.contains(&path.with_extension("")) => 0,
            Some(at) => text[..at].lines().count() + 1,
            None => usize::MAX,
        };
        let path = path.strip_prefix(&root).unwrap().to_owned();
        Source { path, lines, tests_from }
    };
    let is_in_a_room = |source: &Source| !["lib", "main"].contains(&source.room().as_str());
    texts.iter().map(source).filter(is_in_a_room).collect()
}

/// The files, without their endings, of modules that are only compiled for tests.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let parent = path.parent().unwrap();
    let is_root = ["mod", "lib", "main"].contains(&path.file_stem().unwrap().to_str().unwrap());
    let directory = if is_root { parent.to_owned() } else { path.with_extension("") };
    let declarations = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let (_, name) = rest.lines().next()?.split_once("mod ")?;
        name.strip_suffix(';')
    });
    declarations.map(|name| directory.join(name)).collect()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The word at the beginning of a text.
fn word(text: &str) -> &str {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    &text[..text.find(|letter| !is_part(letter)).unwrap_or(text.len())]
}

#[test]
fn every_room_has_a_floor() {
    let rooms: BTreeSet<String> = sources().iter().map(Source::room).collect();
    let known: BTreeSet<String> =
        FLOORS.iter().flat_map(|rooms| rooms.iter()).map(|&r| r.into()).collect();
    assert_eq!(rooms, known);
}

#[test]
fn no_import_runs_back_up() {
    let mut wrong = Vec::new();
    for source in sources() {
        let room = source.room();
        let own = floor(&room).unwrap();
        for (number, line) in &source.lines {
            for (_, used) in line.match_indices("crate::").map(|(at, _)| line.split_at(at + 7)) {
                assert!(!used.starts_with('{'), "{}: one room an import", source.at(*number));
                let used = word(used);
                if used != room && floor(used).is_some_and(|floor| floor <= own) {
                    wrong.push(format!("{}: {room} uses {used}", source.at(*number)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports run back up:\n{}", wrong.join("\n"));
}

#[test]
fn the_plan_reaches_no_file_process_socket_or_clock() {
    let mut wrong = Vec::new();
    let all = sources();
    for source in all.iter().filter(|source| PURE.contains(&source.room().as_str())) {
        for (number, line) in source.product() {
            let reached = IMPURE.iter().filter(|reach| line.contains(**reach));
            wrong.extend(reached.map(|reach| format!("{}: {reach}", source.at(*number))));
        }
        let product: Vec<&str> = source.product().map(|(_, line)| line.as_str()).collect();
        let product = product.join("\n");
        for (room, values) in VALUES {
            let path = format!("crate::{room}::");
            for (at, _) in product.match_indices(&path) {
                let number = source.lines[product[..at].lines().count().max(1) - 1].0;
                let taken = names(&product[at + path.len()..]);
                let others = taken.into_iter().filter(|name| !values.contains(&name.as_str()));
                wrong.extend(others.map(|name| format!("{}: {path}{name}", source.at(number))));
            }
        }
    }
    assert!(wrong.is_empty(), "a pure room reaches beyond its arguments:\n{}", wrong.join("\n"));
}

/// The names that follow a path: one, or those between braces.
fn names(text: &str) -> Vec<String> {
    match text.strip_prefix('{').and_then(|list| list.split_once('}')) {
        Some((list, _)) => {
            let names = list.split(',').map(|name| word(name.trim()).to_owned());
            names.filter(|name| !name.is_empty()).collect()
        }
        None => vec![word(text).to_owned()],
    }
}
