//! The documentation's examples are screens: a block below `<!-- screen: NAME -->` is what the snapshot NAME has. A line `…` stands
//! for any number of its lines.

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block of a page.
struct Block {
    /// `docs/reference/plan.md:6`.
    at: String,
    /// The word behind the fence.
    language: String,
    /// The name of the snapshot, where it claims to be one.
    screen: Option<String>,
    lines: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    for directory in ["docs", "docs/adr", "docs/guide", "docs/reference"] {
        let entries = fs::read_dir(root().join(directory)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    }
    pages.sort();
    pages
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let name = page.strip_prefix(root()).unwrap().display();
    let (mut found, mut open, mut marker) = (Vec::new(), None::<(Block, usize)>, None);
    for (number, line) in (1..).zip(text.lines()) {
        let words = line.trim_start();
        match &mut open {
            Some((block, indent)) if words == "```" && line.len() - words.len() <= *indent => {
                found.extend(open.take().map(|(block, _)| block));
            }
            Some((block, indent)) => {
                block.lines.push(line.get(*indent..).unwrap_or_default().to_owned());
            }
            None if words.starts_with("```") => {
                let language = words.trim_start_matches('`').to_owned();
                let (at, screen, lines) = (format!("{name}:{number}"), marker.take(), Vec::new());
                open = Some((Block { at, language, screen, lines }, line.len() - words.len()));
            }
            None if words.is_empty() => {}
            None => {
                let screen = words.strip_prefix("<!-- screen: ");
                marker = screen.and_then(|rest| Some(rest.strip_suffix(" -->")?.to_owned()));
            }
        }
    }
    found
}

/// A snapshot without its head.
fn snapshot(name: &str) -> Option<String> {
    let path = root().join("src/screens/snapshots").join(format!("{name}.snap"));
    let text = fs::read_to_string(path).ok()?;
    let (_, text) = text.strip_prefix("---\n")?.split_once("\n---\n")?;
    Some(text.trim_end().to_owned())
}

/// Whether these lines, between which others are left out at `…`, are those of the screen.
fn is_of(lines: &[String], screen: &str) -> bool {
    let mut rest: Vec<&str> = screen.lines().collect();
    let parts: Vec<&[String]> = lines.split(|line| line.trim() == "…").collect();
    for (at, part) in parts.iter().enumerate() {
        let (is_first, is_last) = (at == 0, at + 1 == parts.len());
        if part.is_empty() && !is_first && is_last {
            return true;
        }
        let fits = |begin: usize| rest[begin..].starts_with_lines(part);
        let begin = match (is_first, is_last) {
            (true, _) => Some(0).filter(|begin| fits(*begin)),
            (false, true) => rest.len().checked_sub(part.len()).filter(|begin| fits(*begin)),
            (false, false) => (0..=rest.len()).find(|begin| fits(*begin)),
        };
        let Some(begin) = begin else { return false };
        rest.drain(..begin + part.len());
    }
    rest.is_empty()
}

trait Lines {
    fn starts_with_lines(&self, part: &[String]) -> bool;
}

impl Lines for [&str] {
    fn starts_with_lines(&self, part: &[String]) -> bool {
        self.len() >= part.len() && self.iter().zip(part).all(|(own, other)| own == other)
    }
}

#[test]
fn examples_are_what_the_program_shows() {
    let mut wrong = Vec::new();
    let mut held = 0;
    for block in pages().iter().flat_map(|page| blocks(page)) {
        let Block { at, language, screen, lines } = block;
        match screen {
            Some(name) => match snapshot(&name) {
                Some(screen) if is_of(&lines, &screen) => held += 1,
                Some(screen) => {
                    let shown = lines.join("\n");
                    wrong.push(format!(
                        "{at} is not {name}. It says\n{shown}\nand the screen is\n{screen}\n"
                    ));
                }
                None => wrong.push(format!("{at}: there is no snapshot {name}")),
            },
            // Of what the program shows, nothing has a language but JSON; what is typed is `sh` or `console`.
            None if matches!(language.as_str(), "" | "json") => {
                wrong
                    .push(format!("{at}: which screen is it? Put <!-- screen: NAME --> before it"));
            }
            None => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(held > 5, "{held}");
}

#[test]
fn lines_are_left_out_only_where_the_example_says_so() {
    let is_of = |example: &str, screen| {
        super::docs::is_of(&example.lines().map(str::to_owned).collect::<Vec<_>>(), screen)
    };
    for example in ["a\nb\nc\nd", "a\n…\nd", "…\nb\nc\n…", "a\n  …\nc\n…", "…\nd"] {
        assert!(is_of(example, "a\nb\nc\nd"), "{example}");
    }
    for example in ["a\nb\nc", "b\n…", "…\nc", "a\n…\nb\n…\nb\n…", "a\nc\n…"] {
        assert!(!is_of(example, "a\nb\nc\nd"), "{example}");
    }
}
