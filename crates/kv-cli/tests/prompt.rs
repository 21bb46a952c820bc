//! The prompt, run at a terminal: one of the system's, whose other end is held by the test.

#[path = "../../kv-client/tests/fake/mod.rs"]
mod fake;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use fake::Fake;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// How long anything may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// A person at the prompt.
struct Person {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was on the screen and not [waited for](Self::sees).
    unseen: Vec<u8>,
    program: Child,
    /// Where the history is kept.
    _state: TempDir,
}

impl Person {
    fn at(server: &Fake) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let theirs =
            File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes()));
        let theirs = theirs.expect("it can be opened");
        let state = TempDir::new().expect("a directory");
        let twin = || theirs.try_clone().expect("a descriptor");
        let program = Command::new(env!("CARGO_BIN_EXE_kv-cli"))
            .args(["--endpoints", &server.address, "--timeout", "20s"])
            .envs([("TERM", OsStr::new("xterm")), ("XDG_STATE_HOME", state.path().as_os_str())])
            .stdin(twin())
            .stdout(twin())
            .stderr(twin())
            .spawn()
            .expect("the program starts");
        let keyboard = File::from(ours);
        let mut output = keyboard.try_clone().expect("a descriptor");
        let (show, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when nobody has the other end any more.
            while let Ok(count) = output.read(&mut bytes)
                && show.send(bytes[..count].to_vec()).is_ok()
            {}
        });
        Self { keyboard, screen, unseen: Vec::new(), program, _state: state }
    }

    fn types(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).expect("the terminal takes it");
    }

    /// Waits until this is on the screen; returns what came before it.
    fn sees(&mut self, text: &str) -> String {
        loop {
            let shown = String::from_utf8_lossy(&self.unseen).into_owned();
            if let Some((before, after)) = shown.split_once(text) {
                self.unseen = after.as_bytes().to_vec();
                return before.to_owned();
            }
            let more = self.screen.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|error| panic!("{error}: no {text:?} in {shown:?}"));
            self.unseen.extend(more);
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// A terminal that was set to Latin-1 once ended the prompt with its first accent. And what follows
/// such a byte must not be taken for a command of its own.
#[test]
fn a_byte_that_is_not_utf8_drops_its_line_and_the_prompt_goes_on() {
    let server = Fake::store();
    let mut person = Person::at(&server);
    person.sees("kv> ");
    person.types(b"put name Andr\xe9\rput name other\r");
    person.sees("kv-cli: what was typed is not UTF-8, and the line is dropped");
    person.sees("kv> ");
    person.types(b"get name\r");
    let shown = person.sees("not found");
    assert!(!shown.contains("ok"), "{shown}");
    person.sees("kv> ");
    person.types(b"put name \"Andr\\xe9\"\r");
    person.sees("ok");
    person.types(b"quit\r");
    let ended = person.program.wait().expect("it was started");
    assert_eq!(ended.code(), Some(0));
}
