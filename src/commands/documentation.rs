//! `docs/reference/commands.md`, made from what clap knows of the command line.

use super::Arguments;
use crate::findings::documentation::assert_current;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write as _;

const HEAD: &str = "\
# Commands

Every command with all of its arguments, as `landfall COMMAND --help` shows them. HOST and TARGET may be written in several ways:
[getting started](../guide/getting-started.md#naming-the-host-and-the-target) lists them.

<!-- Made from src/commands: UPDATE_DOCS=1 cargo test --lib documentation -->
";

/// The text of `docs/reference/commands.md`.
fn documentation() -> String {
    let mut program = Arguments::command();
    program.build();
    let mut text = HEAD.to_owned();
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        section(&mut text, command, 2);
    }
    text
}

/// One command, and those below it.
fn section(text: &mut String, command: &Command, level: usize) {
    let name = command.get_bin_name().unwrap_or_default();
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "\n{} {name}\n\n{}", "#".repeat(level), about.trim());
    let below: Vec<_> =
        command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    if below.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let _ = writeln!(text, "\n```text\n{}\n```", usage.trim_start_matches("Usage: "));
        arguments(text, command);
    }
    if let Some(after) = command.get_after_help() {
        let _ = writeln!(text, "\n```text\n{after}\n```");
    }
    for command in below {
        section(text, command, level + 1);
    }
}

/// A table for each heading of the help, in the order in which the help has them.
fn arguments(text: &mut String, command: &Command) {
    let is_shown = |argument: &&Arg| {
        !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let mut shown: Vec<&Arg> = command.get_arguments().filter(is_shown).collect();
    shown.sort_by_key(|argument| !argument.is_positional());
    let mut headings = vec![None];
    for argument in &shown {
        let heading = argument.get_help_heading();
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            let _ = writeln!(text, "\n**{heading}**");
        }
        text.push_str("\n| argument | default | meaning |\n|---|---|---|\n");
        for argument in shown.iter().filter(|argument| argument.get_help_heading() == heading) {
            row(text, argument);
        }
    }
}

fn row(text: &mut String, argument: &Arg) {
    let names = argument.get_value_names().unwrap_or_default();
    let takes_value = argument.get_action().takes_values();
    let values = names.iter().map(clap::builder::Str::as_str).collect::<Vec<_>>().join(" ");
    let flags = [argument.get_short().map(|short| format!("-{short}"))]
        .into_iter()
        .chain([argument.get_long().map(|long| format!("--{long}"))]);
    let mut written = flags.flatten().collect::<Vec<_>>().join(", ");
    if takes_value {
        written = format!("{written} {values}").trim().to_owned();
    }
    let defaults: Vec<_> = if takes_value && !argument.is_hide_default_value_set() {
        argument.get_default_values().iter().map(|value| format!("`{}`", value.display())).collect()
    } else {
        Vec::new()
    };
    let help = argument.get_long_help().or(argument.get_help());
    let mut meaning = cell(&help.map(ToString::to_string).unwrap_or_default());
    let possible: Vec<_> = argument.get_possible_values();
    if takes_value && !possible.is_empty() {
        let value = |value: &clap::builder::PossibleValue| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            format!("`{}`: {}", value.get_name(), cell(&help))
        };
        let values = possible.iter().map(value).collect::<Vec<_>>().join("; ");
        let _ = write!(meaning, ". {values}");
    }
    let written = written.replace('|', "\\|");
    let _ = writeln!(text, "| `{written}` | {} | {meaning} |", defaults.join(", "));
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let text = paragraphs.collect::<Vec<_>>().join(". ");
    text.replace('\\', "\\\\").replace('|', "\\|")
}

#[test]
fn the_documentation_lists_the_commands_as_they_are() {
    assert_current("docs/reference/commands.md", &documentation());
}
