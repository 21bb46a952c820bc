//! The commands: one table of their names, words and help. The flags' help, the prompt's help, its
//! completion and its suggestions are all made from it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};
use flags::whole;

use crate::bench::BenchArgs;
use crate::failure::Failure;

/// What a person can ask for.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Print the value at KEY and a newline
    Get {
        /// The key
        key: OsString,
    },
    /// Store VALUE at KEY
    Put {
        /// The key
        key: OsString,
        /// The value; - reads it from standard input, to the last byte
        #[arg(allow_negative_numbers = true)]
        value: OsString,
    },
    /// Remove KEY and print how many keys that were, 0 or 1
    #[command(aliases = ["del", "rm"])]
    Delete {
        /// The key
        key: OsString,
    },
    /// Print the keys that begin with PREFIX, or all, one on each line
    #[command(aliases = ["ls", "keys"])]
    List {
        /// What the keys begin with
        #[arg(default_value = "", hide_default_value = true)]
        prefix: OsString,
    },
    /// Show how every node is, the dead ones too
    Status,
    /// Forget old revisions, so that their room is used again
    Compact(CompactArgs),
    /// Back up a node while it serves
    Snapshot {
        /// What to do.
        #[command(subcommand)]
        action: SnapshotAction,
    },
    /// Put load on the cluster and measure it
    Bench(BenchArgs),
    /// Leave the prompt
    #[command(alias = "exit")]
    Quit,
}

/// How much of the past is forgotten.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CompactArgs {
    /// The oldest revision that can still be read; those before it are forgotten
    #[arg(long, value_name = "N", value_parser = whole(0..=u64::MAX))]
    pub(crate) revision: Option<u64>,
    /// How many revisions before the current one can still be read
    #[arg(long, value_name = "N", value_parser = whole(0..=u64::MAX))]
    pub(crate) keep: Option<u64>,
}

/// What can be done with snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotAction {
    /// Save the whole store to FILE: a backup that 'kv-server restore' makes a cluster of
    ///
    /// It is fetched from the first of the given servers that answers, while that goes on serving,
    /// and shows one moment: every write that was acknowledged before is in it. Everything is
    /// checked on the way; FILE appears when all of it is whole and on disk.
    Save {
        /// Where to; a file that is there is left alone
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
        /// Take what the server has, even if it hears nothing from the others: it may lack the
        /// latest writes
        #[arg(long)]
        stale: bool,
    },
}

/// A line of the prompt, or of standard input.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    help_template = "{subcommands}\n\nhelp COMMAND tells more about one."
)]
struct Line {
    #[command(subcommand)]
    action: Action,
}

/// What a line turned out to be.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command.
    Action(Action),
    /// A request for this help.
    Help(String),
}

/// Parses the words of one line.
pub(crate) fn parse(words: Vec<Vec<u8>>) -> Result<Parsed, Failure> {
    let words = words.into_iter().map(OsString::from_vec);
    match Line::try_parse_from(words) {
        Ok(line) => Ok(Parsed::Action(line.action)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Parsed::Help(error.to_string())),
        Err(error) => Err(Failure::Usage(explain(&error))),
    }
}

/// The names of all commands, for completion.
pub(crate) fn names() -> Vec<String> {
    let mut line = Line::command();
    // Adds the `help` that clap makes by itself.
    line.build();
    line.get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// One sentence for what clap says in a paragraph.
fn explain(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::InvalidSubcommand {
        let word = text(error.get(ContextKind::InvalidSubcommand));
        return match text(error.get(ContextKind::SuggestedSubcommand)).as_str() {
            "" => format!("there is no command {word:?}: help lists them all"),
            meant => format!("there is no command {word:?}: did you mean {meant}?"),
        };
    }
    let rendered = error.to_string();
    let mut parts = rendered.split("\n\n");
    let one_line = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let what = one_line(parts.next().unwrap_or_default());
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    match parts.find(|part| part.starts_with("Usage:")) {
        Some(usage) => format!("{what}; {}", one_line(usage).replacen("Usage", "usage", 1)),
        None => format!("{what}; help tells more"),
    }
}

fn text(value: Option<&ContextValue>) -> String {
    match value {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" or "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<Vec<u8>> {
        line.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn failure(line: &[&str]) -> String {
        parse(words(line)).expect_err("it is wrong").to_string()
    }

    #[test]
    fn every_command_has_a_name_and_help() -> Result<(), Failure> {
        let Parsed::Help(help) = parse(words(&["help"]))? else { panic!("help is help") };
        for name in names() {
            assert!(help.contains(&name), "{name}");
        }
        let some =
            ["get", "put", "delete", "list", "status", "compact", "snapshot", "help", "quit"];
        for name in some {
            assert!(names().iter().any(|known| known == name), "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_wrong_command_is_named_and_the_right_one_suggested() {
        assert_eq!(failure(&["gett", "k"]), "there is no command \"gett\": did you mean get?");
        assert_eq!(failure(&["xyzzy"]), "there is no command \"xyzzy\": help lists them all");
    }

    #[test]
    fn a_missing_word_is_named() {
        assert_eq!(
            failure(&["put", "k"]),
            "the following required arguments were not provided: <VALUE>; \
             usage: put <KEY> <VALUE>"
        );
    }

    #[test]
    fn missing_and_surplus_words_are_one_sentence() {
        for line in [vec!["put", "k"], vec!["get"], vec!["get", "a", "b"], vec!["status", "--x"]] {
            let sentence = failure(&line);
            assert!(!sentence.contains('\n') && sentence.len() > 20, "{sentence}");
        }
    }

    #[test]
    fn keys_and_values_need_not_be_text() -> Result<(), Failure> {
        let line = vec![b"put".to_vec(), b"k\xff".to_vec(), b"\xfe".to_vec()];
        let Parsed::Action(Action::Put { key, value }) = parse(line)? else { panic!("a put") };
        assert_eq!((key.into_vec(), value.into_vec()), (b"k\xff".to_vec(), b"\xfe".to_vec()));
        Ok(())
    }
}
