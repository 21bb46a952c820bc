//! Words that must not stay in a line: left-over marks, and paths of somebody's machine.

use super::mask::is_word;

/// The mark in this line that says "not finished", if there is one. It is looked for in code and
/// in comments alike.
///
/// The marks are written in two halves here, so that this file may hold them.
pub(crate) fn leftover(line: &str) -> Option<&'static str> {
    const MARKS: [&str; 9] = [
        concat!("to", "do!"),
        concat!("unimplemen", "ted!"),
        concat!("db", "g!"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
        concat!("#[ig", "nore"),
        concat!("#[should_", "panic]"),
    ];
    MARKS.into_iter().find(|mark| has_word(line, mark))
}

/// The first folder of an absolute path in this line that exists on its author's machine, if
/// there is one: in documents and sources such a path helps nobody else.
pub(crate) fn machine_path(line: &str) -> Option<&'static str> {
    const FOLDERS: [&str; 4] = ["home", "root", "tmp", "Users"];
    FOLDERS.into_iter().find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            let before = line[..at].strip_suffix('/');
            let is_absolute = before.is_some_and(|before| {
                // In `a/home/b`, `./tmp` and `https://home.org` the slash continues something.
                !before.ends_with(|c| is_word(c) || matches!(c, '.' | '/' | '-' | '}' | ')'))
            });
            is_absolute && !line[at + folder.len()..].starts_with(|c| is_word(c) || c == '-')
        })
    })
}

/// Whether `word` stands in `line` on its own, not inside a longer word.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let ends_as_word = word.ends_with(is_word);
        let joined_before = word.starts_with(is_word) && line[..at].ends_with(is_word);
        let joined_behind = ends_as_word && line[at + word.len()..].starts_with(is_word);
        !joined_before && !joined_behind
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_found_and_only_as_a_word() {
        let bad = [
            concat!("    to", "do!()"),
            concat!("x => unimplemen", "ted!(\"later\"),"),
            concat!("let x = db", "g!(x);"),
            concat!("// TO", "DO: more"),
            concat!("/// FIX", "ME"),
            concat!("// XX", "X what is this"),
            concat!("// HA", "CK"),
            concat!("#[ig", "nore]"),
            concat!("#[ig", "nore = \"slow\"]"),
            concat!("#[should_", "panic]"),
        ];
        for line in bad {
            assert!(leftover(line).is_some(), "{line}");
        }
        let good = [
            concat!("let XX", "XL = 1;"),
            concat!("method", "o!()"),
            concat!("#[should_", "panic(expected = \"within the run\")]"),
            "fn ignore() {}",
        ];
        for line in good {
            assert_eq!(leftover(line), None, "{line}");
        }
    }

    #[test]
    fn paths_of_a_machine_are_told_from_others() {
        for line in ["see /root", "\"/home/me\"", "(/tmp/x)", "`/Users/me`", "a=/tmp"] {
            assert!(machine_path(line).is_some(), "{line}");
        }
        let good = [
            "src/root/mod.rs",
            "./tmp/x",
            "https://home.org",
            "/tmpfs",
            "the home of /etc",
            "{dir}/tmp",
            "/root-cause",
        ];
        for line in good {
            assert_eq!(machine_path(line), None, "{line}");
        }
    }
}
