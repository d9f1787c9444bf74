//! The documentation: no link leads nowhere, and no page is named that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Directories that hold nothing written by hand.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// The files of the repository with one of these endings, by their paths in it.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![root().to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            let ending = path.extension().map(|ending| ending.to_string_lossy());
            let is_skipped = path.is_symlink() || SKIPPED.contains(&&*name);
            if path.is_dir() && !is_skipped {
                directories.push(path);
            } else if !is_skipped && ending.is_some_and(|ending| endings.contains(&&*ending)) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The lines of a page outside of its examples.
fn prose(text: &str) -> String {
    let mut is_example = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_example ^= is_fence;
        !is_example && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Text and destination of each link to a place in the repository.
fn links(text: &str) -> Vec<(String, String)> {
    let prose = prose(text);
    let link = |(at, _): (usize, &str)| {
        let (before, rest) = (&prose[..at], &prose[at + 2..]);
        let text = &before[before.rfind('[')? + 1..];
        let (to, _) = rest.split_once(')')?;
        let is_local = !to.contains("://");
        is_local.then(|| (text.to_owned(), to.to_owned()))
    };
    prose.match_indices("](").filter_map(link).collect()
}

/// The anchors that GitHub makes of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let is_kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
        words.chars().filter(is_kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// The file that a link on a page leads to, by its path in the repository.
fn destination(page: &Path, link: &str) -> PathBuf {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() {
        return page.to_owned();
    }
    let mut to = PathBuf::new();
    for part in page.parent().unwrap().join(path).components() {
        match part {
            Component::ParentDir => assert!(to.pop(), "{}: {link}", page.display()),
            part => to.push(part),
        }
    }
    to
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut wrong = Vec::new();
    for page in files(&["md"]) {
        for (_, link) in links(&read(&page)) {
            let to = destination(&page, &link);
            let is_there = root().join(&to).exists();
            let anchor = link.split_once('#').map(|(_, anchor)| anchor);
            if !is_there || anchor.is_some_and(|anchor| !anchors(&read(&to)).contains(anchor)) {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn every_page_that_code_or_a_message_names_is_there() {
    let mut wrong = Vec::new();
    for file in files(&["rs", "nix", "sh", "toml", "md"]) {
        let text = read(&file);
        for (at, _) in text.match_indices("docs/") {
            let is_part = |letter: char| letter.is_alphanumeric() || "/-_.".contains(letter);
            let is_whole = !text[..at].ends_with(is_part);
            let rest = &text[at..];
            let name = &rest[..rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())];
            let Some((path, _)) = name.split_once(".md") else { continue };
            let page = format!("{path}.md");
            if is_whole && !root().join(&page).exists() {
                wrong.push(format!("{}: {page}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "pages that are not there:\n{}", wrong.join("\n"));
}

/// A link with a name as its text leads to a file that has it: a function, a type or a module.
#[test]
fn every_name_that_the_architecture_links_to_is_in_its_file() {
    let page = Path::new("docs/architecture.md");
    let mut wrong = Vec::new();
    for (text, link) in links(&read(page)) {
        let to = destination(page, &link);
        let name = text.trim_matches('`').rsplit("::").next().unwrap_or_default().to_owned();
        let is_name =
            text.starts_with('`') && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !is_name || to.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let source = read(&to);
        let mut words = source.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if !words.any(|word| word == name) {
            wrong.push(format!("{text} in {}", to.display()));
        }
    }
    assert!(wrong.is_empty(), "names that are not where the page says:\n{}", wrong.join("\n"));
}

/// Every page is found from the first one.
#[test]
fn every_page_of_the_documentation_is_in_its_table_of_contents() {
    let contents = Path::new("docs/README.md");
    let listed: BTreeSet<PathBuf> =
        links(&read(contents)).iter().map(|(_, link)| destination(contents, link)).collect();
    let pages = files(&["md"]).into_iter().filter(|page| page.starts_with("docs"));
    let missing: Vec<_> = pages.filter(|page| page != contents && !listed.contains(page)).collect();
    assert!(missing.is_empty(), "pages that are not listed: {missing:?}");
}
