//! The prompt: for a person at a terminal.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use kv_client::kv_proto::ExitCode;
use log::warn;
use rustix::termios::{QueueSelector, tcflush};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Context, Editor, Helper, Highlighter, Hinter, Validator};

use crate::batch::{self, Next};
use crate::command;
use crate::failure::Failure;
use crate::session::Session;

const PROMPT: &str = "kv> ";

/// Reads and carries out commands until the person leaves, which is never a failure.
pub(crate) fn run(session: &mut Session) -> Result<ExitCode, Failure> {
    let mut editor = editor()?;
    let mut history = history_path();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    println!("Type help for the commands, quit to leave.");
    loop {
        match editor.readline(PROMPT) {
            Ok(line) => {
                // Before it is carried out: a terminal that is closed meanwhile loses nothing.
                remember(&mut editor, &line, &mut history);
                // What was pasted may be several lines.
                let mut lines = line.lines();
                if lines.any(|line| batch::line(session, line.as_bytes()) == Next::Quit) {
                    break;
                }
            }
            // Ctrl-C takes back the line, Ctrl-D leaves.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                drop_typed();
                not_text().report();
            }
            Err(error) => {
                warn!("the terminal cannot be read any more: {error}");
                break;
            }
        }
    }
    Ok(ExitCode::Done)
}

fn not_text() -> Failure {
    Failure::Usage(
        "what was typed is not UTF-8, and the line is dropped: set the terminal to UTF-8, or write \
         such a byte as in \"\\xff\""
            .to_owned(),
    )
}

/// Forgets what was typed and not read. Behind a byte that could not be read comes the rest of its
/// line, or of what was pasted: as a command of its own it could do anything.
fn drop_typed() {
    // A terminal that cannot do this is read on: its person sees what becomes of it.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

type PromptEditor = Editor<Completion, DefaultHistory>;

fn editor() -> Result<PromptEditor, Failure> {
    let config = rustyline::Config::builder().auto_add_history(false).build();
    let unusable =
        |error: ReadlineError| Failure::Usage(format!("the terminal cannot be used: {error}"));
    let mut editor = PromptEditor::with_config(config).map_err(unusable)?;
    editor.set_helper(Some(Completion { names: command::names() }));
    Ok(editor)
}

/// Adds a line to the history, here and in its file. A file that cannot be written is complained
/// of once.
fn remember(editor: &mut PromptEditor, line: &str, history: &mut Option<PathBuf>) {
    let added = editor.add_history_entry(line);
    let Some(path) = history else { return };
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).map_err(ReadlineError::from);
    if let Err(error) = added.and(made).and_then(|()| editor.append_history(path)) {
        warn!("the history cannot be kept in {}: {error}", path.display());
        *history = None;
    }
}

/// Where state of this kind is kept: `$XDG_STATE_HOME`, or `~/.local/state`.
fn history_path() -> Option<PathBuf> {
    let state = match env::var_os("XDG_STATE_HOME") {
        Some(state) if !state.is_empty() => PathBuf::from(state),
        _ => env::home_dir()?.join(".local/state"),
    };
    Some(state.join("kv-cli/history"))
}

/// Completes the first word of a line.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Completion {
    names: Vec<String>,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(candidates(&self.names, &line[..position]))
    }
}

/// Where the word begins that `typed` ends with, and what it could become. Only the first word is
/// completed, and the one after `help`.
fn candidates(names: &[String], typed: &str) -> (usize, Vec<String>) {
    // The blanks that separate words: each is one byte.
    let start = typed.rfind(|c: char| c.is_ascii_whitespace()).map_or(0, |blank| blank + 1);
    if !matches!(typed[..start].trim(), "" | "help") {
        return (start, Vec::new());
    }
    let fitting = names.iter().filter(|name| name.starts_with(&typed[start..]));
    (start, fitting.map(|name| format!("{name} ")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_completed_and_keys_are_not() {
        let names = command::names();
        assert_eq!(candidates(&names, "ge"), (0, vec!["get ".to_owned()]));
        assert_eq!(candidates(&names, "  st"), (2, vec!["status ".to_owned()]));
        assert_eq!(candidates(&names, "help pu"), (5, vec!["put ".to_owned()]));
        assert_eq!(candidates(&names, "get ge").1, Vec::<String>::new());
        assert_eq!(candidates(&names, "").1.len(), names.len());
    }

    /// A blank of more than one byte, as pasted text often has, made the prompt panic when the word
    /// behind it was to be completed. It separates no words.
    #[test]
    fn a_blank_of_another_script_is_part_of_a_word() {
        let names = command::names();
        assert_eq!(candidates(&names, "get\u{a0}"), (0, Vec::new()));
        assert_eq!(candidates(&names, "put \u{3000}pu"), (4, Vec::new()));
    }
}
