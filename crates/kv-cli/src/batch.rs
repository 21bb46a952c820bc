//! Commands from standard input, one on each line.

use std::io::{self, BufRead, Read, Write};

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
    for number in 1.. {
        bytes.clear();
        let read = input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
        if read.map_err(Failure::Input)? == 0 {
            break;
        }
        if bytes.len() as u64 == MAX_LINE_BYTES {
            return Err(Failure::Usage(format!(
                "a line of more than {MAX_LINE_BYTES} bytes: is this a list of commands?"
            )));
        }
        match carry_out(session, &bytes) {
            Ok(Next::Go(ExitCode::Done)) => {}
            Ok(Next::Go(failed)) => code = failed,
            Ok(Next::Quit) => break,
            Err(failure) => code = failure.report_line(number),
        }
    }
    Ok(code)
}

/// Carries out one line of the prompt, and tells on standard error what went wrong.
pub(crate) fn line(session: &mut Session, line: &[u8]) -> Next {
    carry_out(session, line).unwrap_or_else(|failure| Next::Go(failure.report()))
}

fn carry_out(session: &mut Session, line: &[u8]) -> Result<Next, Failure> {
    // Not at the end: what is there may be an escaped space.
    let line = line.trim_ascii_start();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(Next::Go(ExitCode::Done));
    }
    match words::split(line).map_err(Failure::Usage).and_then(command::parse)? {
        Parsed::Action(Action::Quit) => Ok(Next::Quit),
        Parsed::Action(action) => session.run(action, Input::Taken).map(Next::Go),
        Parsed::Help(help) => {
            writeln!(io::stdout(), "{}", help.trim_end()).map_err(Failure::Output)?;
            Ok(Next::Go(ExitCode::Done))
        }
    }
}
