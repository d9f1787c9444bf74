//! The help of every command, as a terminal of 80 columns shows it.

use super::pinned;
use crate::commands::definition;
use clap::Command;

/// The words of each command and subcommand.
fn all(command: &Command, words: &[String], found: &mut Vec<Vec<String>>) {
    found.push(words.to_vec());
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let words = [words, &[below.get_name().to_owned()]].concat();
        all(below, &words, found);
    }
}

#[test]
fn help_of_every_command_at_80_columns() {
    let definition = definition().term_width(80);
    let mut commands = Vec::new();
    all(&definition, &["landfall".to_owned()], &mut commands);
    assert!(commands.len() > 10);
    for words in commands {
        for (option, name) in [("-h", "short"), ("--help", "long")] {
            let line = words.iter().map(String::as_str).chain([option]);
            let help = definition.clone().try_get_matches_from(line).unwrap_err();
            pinned(&format!("help-{}-{name}", words.join("-")), &help.render().to_string());
        }
    }
}
