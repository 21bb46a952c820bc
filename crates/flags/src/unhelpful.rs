//! [`unhelpful`]: for the tests of programs, so that no flag is forgotten.

use clap::{Arg, Command};

/// Values that are no number, or none that fits.
const WRONG: [&str; 5] = ["", "moon", "-1", "1.5", "99999999999999999999"];

/// What parsers of numbers say, and `clap` of ranges.
const WORDS_OF_PARSERS: [&str; 4] =
    ["invalid digit", "cannot parse", "too large to fit", "is not in "];

/// Gives every flag of `program` and of its subcommands values that are wrong for a number; returns
/// the errors that do not say what to write instead. There should be none.
pub fn unhelpful(program: &Command) -> Vec<String> {
    let mut found = Vec::new();
    look_at(program, program, &[program.get_name()], &mut found);
    found
}

/// The same of one `part` of `program`, which these `words` lead to.
fn look_at(program: &Command, part: &Command, words: &[&str], found: &mut Vec<String>) {
    let flags = part.get_arguments().filter(|flag| flag.get_action().takes_values());
    for flag in flags.filter_map(Arg::get_long) {
        for wrong in WRONG {
            let value = format!("--{flag}={wrong}");
            let line = words.iter().copied().chain([value.as_str()]);
            let Err(error) = program.clone().try_get_matches_from(line) else { continue };
            let said = error.to_string();
            if WORDS_OF_PARSERS.iter().any(|words| said.contains(words)) {
                found.push(said);
            }
        }
    }
    for subcommand in part.get_subcommands() {
        let words: Vec<_> = words.iter().copied().chain([subcommand.get_name()]).collect();
        look_at(program, subcommand, &words, found);
    }
}

#[cfg(test)]
mod tests {
    use clap::value_parser;

    use super::*;
    use crate::whole;

    fn program_with(number: Arg) -> Command {
        let part = Command::new("part").arg(Arg::new("word").long("word").required(true));
        Command::new("program").subcommand(part.arg(number.long("number")))
    }

    #[test]
    fn a_flag_that_answers_in_the_words_of_a_parser_is_found_wherever_it_is() {
        let bare = program_with(Arg::new("number").value_parser(value_parser!(u64)));
        let said = unhelpful(&bare);
        assert_eq!(said.len(), WRONG.len(), "{said:?}");
        assert!(said.iter().all(|error| error.contains("--number")), "{said:?}");
        let ranged = program_with(Arg::new("number").value_parser(value_parser!(u64).range(1..)));
        assert_eq!(unhelpful(&ranged).len(), WRONG.len());
    }

    #[test]
    fn one_that_says_what_to_write_is_not() {
        let helpful = program_with(Arg::new("number").value_parser(whole(1..=u64::MAX)));
        assert_eq!(unhelpful(&helpful), Vec::<String>::new());
    }
}
