//! The tree itself keeps the project's rules. Every test lists all offenders at once.

use std::fs;
use std::path::{Path, PathBuf};

/// Longer files are split by topic.
const MAX_LINES: usize = 600;

/// Names that say nothing about what a module is for.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "common", "helpers", "helper", "manager", "misc", "shared"];

/// Things left behind, written in two parts so that this file does not find itself.
const LEFT_BEHIND: [&str; 5] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

/// Hosts of package registries and archives. Which of them is used is the user's setting, not the project's.
const REGISTRY_HOSTS: [&str; 7] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("crates.io", "-index"),
    concat!("deb.", "debian.org"),
    concat!("registry.", "npmjs.org"),
    concat!("pypi", ".org"),
    concat!("proxy.", "golang.org"),
];

const LOCK_SOURCE: &str = concat!("source = \"registry+https://github.com/rust-lang/crates.io", "-index\"");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie one level below the root")
}

/// All files of the tree, except what is built or belongs to git.
fn files() -> Vec<PathBuf> {
    fn visit(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a directory of the tree can be listed") {
            let entry = entry.expect("an entry can be read");
            let kind = entry.file_type().expect("an entry has a type");
            let name = entry.file_name();
            if kind.is_dir() && name != "target" && name != ".git" {
                visit(&entry.path(), files);
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    let mut files = Vec::new();
    visit(root(), &mut files);
    files.sort();
    files
}

fn rust_files() -> Vec<PathBuf> {
    let all = files().into_iter();
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The text of a file, or `None` for binary files.
fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", shown(path)));
    String::from_utf8(bytes).ok()
}

/// `file:line` of every line of `paths` that `offends`.
fn lines_that(paths: &[PathBuf], offends: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        let Some(text) = text(path) else { continue };
        let lines = text.lines().enumerate().filter(|(_, line)| offends(line));
        found.extend(lines.map(|(index, line)| format!("{}:{}: {}", shown(path), index + 1, line.trim())));
    }
    found
}

/// Whether `text` holds `word` with no letter, digit or underscore beside it.
fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !part_of_word(before) && (word.ends_with('(') || !part_of_word(after))
    })
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn no_source_file_is_too_long() {
    let counted =
        rust_files().into_iter().map(|path| (text(&path).map_or(0, |text| text.lines().count()), path));
    let long: Vec<String> = counted
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, path)| format!("{}: {lines} lines", shown(&path)))
        .collect();
    assert_none("files over 600 lines; split them by topic", &long);
}

#[test]
fn nothing_is_left_behind() {
    let found = lines_that(&rust_files(), |line| LEFT_BEHIND.iter().any(|word| has_word(line, word)));
    assert_none("unfinished or debugging code", &found);
}

#[test]
fn every_test_runs() {
    let mark = concat!("#[", "ignore");
    assert_none("tests that do not run", &lines_that(&rust_files(), |line| line.contains(mark)));
}

#[test]
fn modules_are_named_by_topic() {
    let files = rust_files();
    let mut found: Vec<String> = files
        .iter()
        .filter(|path| {
            let inside = path.strip_prefix(root()).unwrap_or(path).with_extension("");
            inside.iter().any(|part| EMPTY_NAMES.iter().any(|name| part == *name))
        })
        .map(|path| shown(path))
        .collect();
    found.extend(lines_that(&files, |line| {
        let declaration = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let name = declaration.strip_prefix("mod ").map(|rest| rest.trim_end_matches([';', '{', ' ', '}']));
        name.is_some_and(|name| EMPTY_NAMES.contains(&name))
    }));
    assert_none("modules whose names say nothing", &found);
}

#[test]
fn every_package_takes_the_workspace_lints() {
    let manifests = files().into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let without: Vec<String> = manifests
        .filter(|path| {
            let text = text(path).unwrap_or_default();
            text.contains("[package]") && !text.contains("[lints]\nworkspace = true")
        })
        .map(|path| shown(&path))
        .collect();
    assert_none("packages without `[lints] workspace = true`", &without);
}

#[test]
fn no_registry_is_named() {
    let mut paths = files();
    paths.retain(|path| !path.ends_with("Cargo.lock"));
    let found = lines_that(&paths, |line| REGISTRY_HOSTS.iter().any(|host| line.contains(host)));
    assert_none("hosts of registries", &found);

    let lock =
        lines_that(&[root().join("Cargo.lock")], |line| line.starts_with("source = ") && line != LOCK_SOURCE);
    assert_none("packages in Cargo.lock that do not come from the default registry", &lock);
}

#[test]
fn the_readme_shows_both_commands() {
    let readme = text(&root().join("README.md")).unwrap_or_default();
    for command in ["cargo run --release -- demo", "cargo xtask test"] {
        assert!(readme.contains(command), "README.md does not show `{command}`");
    }
}

#[test]
fn words_are_told_from_parts_of_words() {
    assert!(has_word("// mark: later", "mark") && has_word("mark", "mark") && has_word("a(mark!)", "mark"));
    assert!(!has_word("marked", "mark") && !has_word("re_mark", "mark"));
    assert!(has_word("call(x)", "call(") && !has_word("recall(x)", "call("));
}
