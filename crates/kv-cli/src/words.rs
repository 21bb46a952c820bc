//! Splits a line into words as a shell does, without anything else that a shell does.

use std::borrow::Cow;

/// The words of `line`. Blanks separate them; `'...'` is taken as it is; in `"..."` a backslash
/// makes `\"`, `\\`, `\n`, `\t`, and `\x` with two hexadecimal digits for any byte; elsewhere it
/// takes the next byte as it is.
pub(crate) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    // `None` between words: a word may be empty, as in ''.
    let mut word: Option<Vec<u8>> = None;
    let mut rest = line;
    while let [byte, after @ ..] = rest {
        rest = after;
        if byte.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        rest = match byte {
            b'\'' => single_quoted(rest, word)?,
            b'"' => double_quoted(rest, word)?,
            b'\\' => {
                let (byte, rest) = rest.split_first().ok_or("the line ends with a backslash")?;
                word.push(*byte);
                rest
            }
            byte => {
                word.push(*byte);
                rest
            }
        };
    }
    words.extend(word);
    Ok(words)
}

/// Plain text as it is, and anything else in double quotes, as [`split`] takes it: on one line, and
/// with nothing in it that a terminal would obey.
pub(crate) fn shown(word: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |text: &str| !text.starts_with('"') && !text.contains(char::is_control);
    if str::from_utf8(word).is_ok_and(is_plain) {
        return Cow::Borrowed(word);
    }
    let hex = |byte: &u8| format!("\\x{byte:02x}");
    let mut quoted = String::from('"');
    for chunk in word.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\\' => quoted.extend(['\\', char]),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                _ if char.is_control() => {
                    let mut bytes = [0; 4];
                    quoted.extend(char.encode_utf8(&mut bytes).as_bytes().iter().map(hex));
                }
                _ => quoted.push(char),
            }
        }
        quoted.extend(chunk.invalid().iter().map(hex));
    }
    quoted.push('"');
    Cow::Owned(quoted.into_bytes())
}

/// Adds what stands before the closing quote to `word`; returns what stands behind it.
fn single_quoted<'a>(rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], String> {
    let end = rest.iter().position(|byte| *byte == b'\'').ok_or_else(|| unclosed('\''))?;
    word.extend_from_slice(&rest[..end]);
    Ok(&rest[end + 1..])
}

/// As [`single_quoted`], with escapes.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], String> {
    loop {
        let (byte, after) = match rest {
            [] => return Err(unclosed('"')),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'n', after @ ..] => (b'\n', after),
            [b'\\', b't', after @ ..] => (b'\t', after),
            [b'\\', b'x', high, low, after @ ..] => (hex(*high, *low)?, after),
            [b'\\', byte @ (b'"' | b'\\'), after @ ..] => (*byte, after),
            [b'\\', ..] => {
                return Err("in double quotes a backslash makes \\\" \\\\ \\n \\t or \\x00".into());
            }
            [byte, after @ ..] => (*byte, after),
        };
        word.push(byte);
        rest = after;
    }
}

fn hex(high: u8, low: u8) -> Result<u8, String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err("\\x needs two hexadecimal digits, as in \\x0a".into()),
    }
}

fn unclosed(quote: char) -> String {
    format!("the quote {quote} is not closed: put another at the end of the word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(line: &str, words: &[&[u8]]) {
        let found = split(line.as_bytes()).expect("the line is good");
        assert_eq!(found, words);
    }

    #[test]
    fn blanks_separate_words() {
        expect("  put  a\tb \n", &[b"put", b"a", b"b"]);
        expect("", &[]);
        expect(" \t ", &[]);
    }

    #[test]
    fn quotes_keep_words_together_and_make_empty_ones() {
        expect("put 'two words' \"and two\"", &[b"put", b"two words", b"and two"]);
        expect("a'b c'd\"e f\"", &[b"ab cde f"]);
        expect("put k ''", &[b"put", b"k", b""]);
        expect("'\\n \"'", &[b"\\n \""]);
    }

    #[test]
    fn every_byte_can_be_written() {
        expect(r#""\x00\xFf\n\t\"\\""#, &[b"\x00\xff\n\t\"\\"]);
        expect(r"a\ b\\c\'", &[b"a b\\c'"]);
    }

    /// A key with a newline in it was once two lines of a list.
    #[test]
    fn what_is_no_plain_text_is_shown_as_it_can_be_typed() {
        for plain in ["colour", "two words", "it's", "a\\b", "grün", ""] {
            assert_eq!(*shown(plain.as_bytes()), *plain.as_bytes());
        }
        let odd: [(&[u8], &str); 5] = [
            (b"new\nline\t", r#""new\nline\t""#),
            (b"\x1b[2J\0", r#""\x1b[2J\x00""#),
            (b"a\xff\"b\\", r#""a\xff\"b\\""#),
            (b"\"a\"", r#""\"a\"""#),
            ("\u{85}ü".as_bytes(), r#""\xc2\x85ü""#),
        ];
        for (word, line) in odd {
            assert_eq!(String::from_utf8_lossy(&shown(word)), line);
            expect(line, &[word]);
        }
    }

    #[test]
    fn what_is_left_open_is_an_error() {
        for bad in ["'a", "\"a", "a\\", "\"\\", "\"\\q\"", "\"\\xg0\"", "\"\\x0", "\"\\x0\""] {
            assert!(split(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
