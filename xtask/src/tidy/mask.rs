//! Rust source with its comments and literals blanked out, so that a search for braces and
//! keywords finds code only.
//!
//! This is no parser: it knows where comments, strings and character literals begin and end, and
//! nothing else. That is enough to count lines and to match braces, and it cannot be led astray
//! by code that does not compile yet.

/// The same text with every character of a comment, and every character inside a string or
/// character literal, replaced by a space.
///
/// Guarantees:
/// 1. It has as many characters as `source`, and its line breaks at the same places.
/// 2. Every brace, bracket, parenthesis and semicolon left in it is code.
pub(crate) fn mask(source: &str) -> String {
    let mut masker =
        Masker { rest: source.chars().collect(), at: 0, out: String::with_capacity(source.len()) };
    masker.run();
    masker.out
}

struct Masker {
    rest: Vec<char>,
    at: usize,
    out: String,
}

impl Masker {
    fn run(&mut self) {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.blank_until_line_end(),
                ('/', Some('*')) => self.blank_block_comment(),
                ('"', _) => self.blank_string(),
                ('\'', _) => self.quote(),
                ('r', Some('"' | '#')) if !self.follows_word() => self.raw_string_or_word(),
                ('b' | 'c', Some('r')) if !self.follows_word() => {
                    self.keep(1);
                    self.raw_string_or_word();
                }
                _ => self.keep(1),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    /// Whether the character before belongs to a word: then an `r` or a `b` here is its last
    /// letter, not a prefix of a literal.
    fn follows_word(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.rest.get(at));
        before.is_some_and(|c| is_word(*c))
    }

    fn keep(&mut self, count: usize) {
        for c in self.rest.iter().skip(self.at).take(count) {
            self.out.push(*c);
        }
        self.at += count;
    }

    fn blank(&mut self, count: usize) {
        for c in self.rest.iter().skip(self.at).take(count) {
            self.out.push(if *c == '\n' { '\n' } else { ' ' });
        }
        self.at += count;
    }

    fn blank_until_line_end(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.blank(1);
        }
    }

    /// Block comments nest.
    fn blank_block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.blank(1);
                    continue;
                }
            }
            self.blank(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn blank_string(&mut self) {
        self.keep(1);
        while let Some(c) = self.peek(0) {
            match c {
                '"' => return self.keep(1),
                '\\' => self.blank(2),
                _ => self.blank(1),
            }
        }
    }

    /// A quote opens a character literal, or it is the mark of a lifetime: `'a'` or `'a`.
    fn quote(&mut self) {
        self.keep(1);
        if self.peek(0) == Some('\\') {
            self.blank(2);
            while self.peek(0).is_some_and(|c| c != '\'' && c != '\n') {
                self.blank(1);
            }
            self.keep(1);
        } else if self.peek(1) == Some('\'') {
            self.blank(1);
            self.keep(1);
        }
    }

    /// At an `r`: `r"..."` and `r##"..."##` are strings, `r#type` is a word.
    fn raw_string_or_word(&mut self) {
        self.keep(1);
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(hashes) != Some('"') {
            return;
        }
        self.keep(hashes + 1);
        while self.peek(0).is_some() {
            let closes = self.peek(0) == Some('"')
                && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            if closes {
                return self.keep(1 + hashes);
            }
            self.blank(1);
        }
    }
}

/// Whether `c` can stand inside an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_masked(source: &str, expected: &str) {
        assert_eq!(mask(source), expected, "of {source:?}");
    }

    #[test]
    fn comments_are_blank_and_lines_stay() {
        assert_masked("a // {\nb", "a     \nb");
        assert_masked("a /* { /* } */ \n { */ b", "a              \n      b");
        assert_masked("a / b", "a / b");
    }

    #[test]
    fn the_inside_of_literals_is_blank() {
        assert_masked(r#"f("{", '{', b'}')"#, r#"f(" ", ' ', b' ')"#);
        assert_masked(r#""\"{" {"#, r#""   " {"#);
        assert_masked(r"'\'' '\u{7d}' {", r"'  ' '      ' {");
    }

    #[test]
    fn raw_strings_end_at_their_own_mark() {
        assert_masked(r##"r#"a"{"# {"##, r##"r#"   "# {"##);
        assert_masked(r#"br"\" {"#, r#"br" " {"#);
        assert_masked("r#fn {", "r#fn {");
        assert_masked(r#"bar"{""#, r#"bar" ""#);
    }

    #[test]
    fn lifetimes_are_not_literals() {
        assert_masked("fn f<'a>(x: &'a str) { 'x' }", "fn f<'a>(x: &'a str) { ' ' }");
    }

    #[test]
    fn text_that_never_ends_does_not_hang() {
        for open in ["\"{", "/* {", "r#\"{", "'\\", "b'", "r###"] {
            assert_eq!(mask(open).chars().count(), open.chars().count(), "{open}");
        }
    }
}
