//! Where functions and tests are in a source file, found by matching braces in masked text.

use std::ops::RangeInclusive;

use super::mask::{is_word, mask};

/// What the rules need to know of one Rust file. Lines count from 1.
#[derive(Debug)]
pub(crate) struct Outline {
    /// Every function that has a body.
    pub(crate) functions: Vec<Function>,
    /// The items behind `#[cfg(test)]`.
    pub(crate) tests: Vec<RangeInclusive<usize>>,
    /// Lines with code on them: neither blank nor all comment.
    pub(crate) code_lines: Vec<usize>,
}

/// One function, from the line with its `fn` to the line with its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: RangeInclusive<usize>,
}

impl Outline {
    /// Reads the outline off `source`.
    pub(crate) fn of(source: &str) -> Self {
        let text = Text::new(mask(source).chars().collect());
        let code = text.chars.split(|c| *c == '\n').enumerate();
        Self {
            functions: text.functions(),
            tests: text.items_behind("#[cfg(test)]"),
            code_lines: code
                .filter(|(_, line)| line.iter().any(|c| !c.is_whitespace()))
                .map(|(at, _)| at + 1)
                .collect(),
        }
    }

    /// Whether this line lies behind `#[cfg(test)]`.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|lines| lines.contains(&line))
    }
}

/// Masked source, with the line of every character.
struct Text {
    chars: Vec<char>,
    lines: Vec<usize>,
}

impl Text {
    fn new(chars: Vec<char>) -> Self {
        let mut line = 1;
        let lines = chars.iter().map(|c| {
            let here = line;
            line += usize::from(*c == '\n');
            here
        });
        let lines = lines.collect();
        Self { chars, lines }
    }

    fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for at in 0..self.chars.len() {
            let Some(name_at) = self.name_after_fn(at) else {
                continue;
            };
            let name = self.chars.iter().skip(name_at);
            let name = name.take_while(|c| is_word(**c)).collect();
            if let Some(end) = self.end_of_body(name_at) {
                let lines = self.lines[at]..=self.lines[end];
                functions.push(Function { name, lines });
            }
        }
        functions
    }

    /// Where the name begins, if the word at `at` is `fn` and names a function; a type such as
    /// `fn(u8)` has no name.
    fn name_after_fn(&self, at: usize) -> Option<usize> {
        let is_fn = self.chars[at..].starts_with(&['f', 'n', ' '])
            && !(at > 0 && is_word(self.chars[at - 1]));
        let name = at + 3;
        (is_fn && self.chars.get(name).copied().is_some_and(is_word)).then_some(name)
    }

    /// The closing brace of the first `{` from `from` on; `None` if a `;` outside of parentheses
    /// and brackets comes first, or the text ends.
    fn end_of_body(&self, from: usize) -> Option<usize> {
        let mut nested = 0_usize;
        for (at, c) in self.chars.iter().enumerate().skip(from) {
            match c {
                '(' | '[' => nested += 1,
                ')' | ']' => nested = nested.saturating_sub(1),
                ';' if nested == 0 => return None,
                '{' if nested == 0 => return self.closing_brace(at),
                _ => {}
            }
        }
        None
    }

    fn closing_brace(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, c) in self.chars.iter().enumerate().skip(open) {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return Some(at),
                '}' => depth -= 1,
                _ => {}
            }
        }
        None
    }

    fn items_behind(&self, attribute: &str) -> Vec<RangeInclusive<usize>> {
        let attribute: Vec<char> = attribute.chars().collect();
        let mut items = Vec::new();
        for at in 0..self.chars.len() {
            if self.chars[at..].starts_with(&attribute) {
                let end = self.end_of_body(at + attribute.len());
                let last = end.map_or(self.lines[at] + 1, |end| self.lines[end]);
                items.push(self.lines[at]..=last);
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(source: &str) -> Vec<(String, RangeInclusive<usize>)> {
        let functions = Outline::of(source).functions.into_iter();
        functions.map(|f| (f.name, f.lines)).collect()
    }

    #[test]
    fn a_function_ends_at_its_own_brace() {
        let source = "fn a(x: [u8; 3]) -> u8 {\n  if x { '}' }\n  // }\n}\nfn b() {}\n";
        assert_eq!(functions(source), [("a".into(), 1..=4), ("b".into(), 5..=5)]);
    }

    #[test]
    fn functions_without_a_body_do_not_count() {
        assert_eq!(functions("trait T { fn a(&self); fn b(f: fn(u8) -> u8); }"), []);
        assert_eq!(functions("struct S { often: u8 } type F = fn (u8);"), []);
    }

    #[test]
    fn nested_functions_are_found_as_well() {
        let names: Vec<_> = functions("fn a() { fn b() {} }").into_iter().collect();
        assert_eq!(names, [("a".into(), 1..=1), ("b".into(), 1..=1)]);
    }

    #[test]
    fn test_items_are_known() {
        let outline = Outline::of("fn a() {}\n#[cfg(test)]\nmod tests {\n  x\n}\nfn b() {}\n");
        let tests: Vec<_> = (1..=6).filter(|line| outline.is_test(*line)).collect();
        assert_eq!(tests, [2, 3, 4, 5]);
        assert!(Outline::of("#[cfg(test)]\nmod tests;\nx\n").is_test(2));
        assert!(!Outline::of("#[cfg(test)]\nmod tests;\nx\n").is_test(3));
    }

    #[test]
    fn comments_and_blank_lines_are_no_code() {
        assert_eq!(Outline::of("a\n\n// b\n/* c\n d */\ne // f\n").code_lines, [1, 6]);
    }
}
