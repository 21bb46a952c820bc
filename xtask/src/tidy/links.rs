//! Relative links in Markdown that lead nowhere.

use std::path::Path;

use super::Finding;
use super::marks;

/// Everything that is wrong with the document at `path` in `root`.
pub(crate) fn check(root: &Path, path: &str, text: &str) -> Vec<Finding> {
    let folder = root.join(path);
    let folder = folder.parent().unwrap_or(root);
    let mut findings = Vec::new();
    for (line, text) in text.lines().enumerate() {
        if let Some(mark) = marks::leftover(text) {
            findings.push(Finding::new(path, line + 1, format!("`{mark}` is left over")));
        }
        if let Some(home) = marks::machine_path(text) {
            let what = format!("a path under /{home} is of one machine only");
            findings.push(Finding::new(path, line + 1, what));
        }
    }
    for (line, target) in relative_links(text) {
        if !folder.join(target).exists() {
            findings.push(Finding::new(path, line, format!("no file at the link `{target}`")));
        }
    }
    findings
}

/// The targets of all links to files, without the part from `#` on, and the lines they are in.
/// What is shown as code is no link.
fn relative_links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_fence = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            links.extend(targets(line).map(|target| (at + 1, target)));
        }
    }
    links
}

/// The relative targets in one line: of `[text](target)`, and of `[name]: target`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.match_indices("](").filter_map(move |(at, open)| {
        let is_code = line[..at].matches('`').count() % 2 == 1;
        let target = &line[at + open.len()..];
        let end = target.find(')').filter(|_| !is_code)?;
        Some(&target[..end])
    });
    let named = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    let named = named.map(|(_, target)| target);
    inline.chain(named).filter_map(|target| {
        let target = target.split_whitespace().next()?;
        let (file, _) = target.split_once('#').unwrap_or((target, ""));
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
        (!is_elsewhere && !file.is_empty()).then_some(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_link_is_found_where_it_stands() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("there.md"), "").expect("a file is written");
        let text = "[a](there.md)\n[b](../x.md#y), [c](there.md#z)\n\n[d]: nowhere.md\n";
        let found = check(folder.path(), "README.md", text);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "README.md:2: no file at the link `../x.md`",
                "README.md:4: no file at the link `nowhere.md`"
            ]
        );
    }

    #[test]
    fn only_links_to_files_are_looked_up() {
        let text = "[a](https://x.org/y) [b](#here) [c](mailto:a@b.c) `[d](e)` x[0](y\n\
                    ```\n[f](g)\n```\n[h](i \"title\")\n";
        assert_eq!(relative_links(text), [(5, "i")]);
    }

    #[test]
    fn marks_and_machine_paths_are_found_in_documents_too() {
        let text = concat!("# A\nTO", "DO\nsee /home/me\n");
        let found = check(Path::new("."), "a.md", text);
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 3]);
    }
}
