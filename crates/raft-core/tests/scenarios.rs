//! The map of scenarios, `docs/scenarios.md`, leads to what is there.

use std::collections::BTreeSet;
use std::path::Path;

/// Every name on the map: what stands between backticks in the last column of a table.
fn names_on(map: &str) -> BTreeSet<&str> {
    let rows = map.lines().filter_map(|line| line.trim().strip_suffix('|')?.rsplit('|').next());
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// The tests in this folder, and the scripts.
fn what_is_there() -> (String, BTreeSet<String>) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for folder in ["tests", "tests/fuzz", "src"] {
        for file in here.join(folder).read_dir().expect("a folder of sources") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).expect("a source");
            }
        }
    }
    let scripts = here.join("tests/scripts").read_dir().expect("the folder of the scripts");
    let name = |file: std::io::Result<std::fs::DirEntry>| file.expect("a script").file_name();
    (sources, scripts.map(|file| name(file).to_string_lossy().into_owned()).collect())
}

#[test]
fn every_scenario_on_the_map_is_there_and_every_script_on_the_map() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios.md");
    // The crate may have been taken out of its repository, which has the map.
    let Ok(map) = std::fs::read_to_string(path) else { return };
    let names = names_on(&map);
    assert!(names.len() > 100, "only {} names", names.len());
    let (sources, scripts) = what_is_there();
    for name in &names {
        // A test, perhaps with what chance is to choose.
        let is_test = ["()", "(\n"].iter().any(|end| sources.contains(&format!("fn {name}{end}")));
        assert!(is_test || scripts.contains(*name), "{name} is on the map, and nowhere else");
    }
    for script in &scripts {
        assert!(names.contains(script.as_str()), "{script} is not on the map");
    }
}

#[test]
fn a_name_that_is_nowhere_would_be_noticed() {
    let map =
        "| what | where |\n| --- | --- |\n| a thing | `one`, `two` and the rest |\nnot `three`";
    assert_eq!(names_on(map), BTreeSet::from(["one", "two"]));
}
