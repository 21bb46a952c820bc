//! The help and the answers to wrong flags, word for word. `TRYCMD=overwrite cargo test -p kv-cli`
//! writes them anew, to be reviewed as a difference.

#[test]
fn help_and_bad_input_are_what_they_were() {
    trycmd::TestCases::new().case("tests/cli/*.trycmd");
}
