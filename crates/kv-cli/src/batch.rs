//! Commands from standard input, one on each line.

use std::io::{BufRead, Read};

use kv_client::kv_proto::ExitCode;
use kv_client::kv_proto::limits::MAX_FRAME_BYTES;

use crate::command::{self, Action, Parsed};
use crate::failure::Failure;
use crate::session::{Input, Session};
use crate::words;

/// A line above this could not be sent anyway, even if every byte of it were escaped.
const MAX_LINE_BYTES: u64 = 4 * MAX_FRAME_BYTES as u64;

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on; this is how it went.
    Go(ExitCode),
    /// Stop.
    Quit,
}

/// Carries out every line of `input`. A failing one does not stop the rest: the exit code is that
/// of the last that failed.
pub(crate) fn run(session: &mut Session, mut input: impl BufRead) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::Done;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
        if read.map_err(Failure::Input)? == 0 {
            return Ok(code);
        }
        if bytes.len() as u64 == MAX_LINE_BYTES {
            return Err(Failure::Usage(format!(
                "a line of more than {MAX_LINE_BYTES} bytes: is this a list of commands?"
            )));
        }
        match line(session, &bytes) {
            Next::Go(ExitCode::Done) => {}
            Next::Go(failed) => code = failed,
            Next::Quit => return Ok(code),
        }
    }
}

/// Carries out one line, and tells on standard error what went wrong.
pub(crate) fn line(session: &mut Session, line: &[u8]) -> Next {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Next::Go(ExitCode::Done);
    }
    let parsed = words::split(line).map_err(Failure::Usage).and_then(command::parse);
    let result = match parsed {
        Ok(Parsed::Action(Action::Quit)) => return Next::Quit,
        Ok(Parsed::Action(action)) => session.run(action, Input::Taken),
        Ok(Parsed::Help(help)) => {
            println!("{}", help.trim_end());
            Ok(ExitCode::Done)
        }
        Err(failure) => Err(failure),
    };
    Next::Go(result.unwrap_or_else(|failure| failure.report()))
}
