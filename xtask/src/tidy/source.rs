//! The rules for one Rust source file.

use super::Finding;
use super::marks;
use super::outline::Outline;

/// A function fits a screen.
const MAX_FUNCTION_LINES: usize = 70;

/// A line fits a window beside another one.
const MAX_LINE_CHARS: usize = 100;

/// A file has one idea. Tests are not counted: there is no such thing as too many.
const MAX_CODE_LINES: usize = 500;

/// What a file is, as far as the rules differ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    /// It is the root of a library or a program, and opens with what that is for.
    pub(crate) is_crate_root: bool,
    /// All of it is test code.
    pub(crate) is_test: bool,
}

/// Everything that is wrong with the file at `path`.
pub(crate) fn check(path: &str, source: &str, kind: Kind) -> Vec<Finding> {
    let outline = Outline::of(source);
    let is_test = |line| kind.is_test || outline.is_test(line);
    let mut findings = Vec::new();
    let mut found = |line, what| findings.push(Finding::new(path, line, what));

    if kind.is_crate_root && !source.starts_with("//!") {
        found(1, "does not begin with //! and what the crate is for".into());
    }
    for (at, text) in source.lines().enumerate() {
        let line = at + 1;
        let chars = text.chars().count();
        if chars > MAX_LINE_CHARS {
            found(line, format!("{chars} characters, {MAX_LINE_CHARS} are allowed"));
        }
        if let Some(mark) = marks::leftover(text) {
            found(line, format!("`{mark}` is left over"));
        }
        if let (Some(folder), false) = (marks::machine_path(text), is_test(line)) {
            found(line, format!("a path under /{folder} is of one machine only"));
        }
    }
    for function in &outline.functions {
        let (first, last) = (function.lines.start(), function.lines.end());
        let lines = last - first + 1;
        if lines > MAX_FUNCTION_LINES {
            let name = &function.name;
            let what = format!("`{name}` has {lines} lines, {MAX_FUNCTION_LINES} are allowed");
            found(*first, what);
        }
    }
    let code = outline.code_lines.iter().filter(|line| !is_test(**line));
    let code = code.count();
    if code > MAX_CODE_LINES {
        let what = format!("{code} lines of code outside tests, {MAX_CODE_LINES} are allowed");
        found(1, what);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Kind = Kind { is_crate_root: true, is_test: false };
    const TEST: Kind = Kind { is_crate_root: false, is_test: true };

    #[track_caller]
    fn assert_found(source: &str, kind: Kind, expected: &[&str]) {
        let found = check("a.rs", source, kind);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_function_beyond_a_screen_is_found() {
        let function = |lines: usize| format!("\nfn a() {{\n{}}}\n", "x();\n".repeat(lines - 2));
        assert_found(&function(70), Kind::default(), &[]);
        let expected = ["a.rs:2: `a` has 71 lines, 70 are allowed"];
        assert_found(&function(71), Kind::default(), &expected);
        assert_found(&function(71), TEST, &expected);
    }

    #[test]
    fn a_long_line_is_found_in_characters_not_bytes() {
        assert_found(&"é".repeat(100), Kind::default(), &[]);
        let expected = ["a.rs:1: 101 characters, 100 are allowed"];
        assert_found(&"é".repeat(101), Kind::default(), &expected);
    }

    #[test]
    fn a_crate_without_a_word_is_found() {
        assert_found("//! What it is for.\n", ROOT, &[]);
        let expected = ["a.rs:1: does not begin with //! and what the crate is for"];
        assert_found("fn main() {}\n", ROOT, &expected);
        assert_found("fn main() {}\n", Kind::default(), &[]);
    }

    #[test]
    fn a_leftover_is_found_in_tests_too() {
        let source = concat!("x\n// FIX", "ME later\n");
        let expected = [concat!("a.rs:2: `FIX", "ME` is left over")];
        assert_found(source, Kind::default(), &expected);
        assert_found(source, TEST, &expected);
    }

    #[test]
    fn a_machine_path_is_found_outside_tests() {
        let path = "open(\"/home/me/x\");\n";
        let expected = ["a.rs:1: a path under /home is of one machine only"];
        assert_found(path, Kind::default(), &expected);
        assert_found(path, TEST, &[]);
        assert_found(&format!("#[cfg(test)]\nmod t {{\n{path}}}\n"), Kind::default(), &[]);
    }

    #[test]
    fn a_file_with_too_much_code_is_found() {
        let code = "x;\n// why\n\n".repeat(500);
        assert_found(&code, Kind::default(), &[]);
        let expected = ["a.rs:1: 501 lines of code outside tests, 500 are allowed"];
        assert_found(&format!("{code}y;\n"), Kind::default(), &expected);
        assert_found(&format!("{code}y;\n"), TEST, &[]);
        assert_found(&format!("{code}#[cfg(test)]\nmod t {{\ny;\n}}\n"), Kind::default(), &[]);
    }
}
