//! The unpacked source of a package from the registry, obtained through cargo alone: whatever mirror or vendoring the
//! user has configured is used.

use crate::step::{cargo, output};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Downloads `package` at exactly `version` and returns the directory of its source. `scratch` is an empty or missing
/// directory for a throw-away manifest that depends on it.
pub fn fetch(package: &str, version: &str, scratch: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(scratch.join("src"))?;
    std::fs::write(scratch.join("src/lib.rs"), "")?;
    std::fs::write(
        scratch.join("Cargo.toml"),
        format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [dependencies]\n{package} = \"={version}\"\n"
        ),
    )?;
    let metadata = output(
        cargo().current_dir(scratch).args(["metadata", "--format-version", "1"]),
        "check that cargo can reach its registry",
    )?;
    manifest_dir(&metadata, package, version)
        .with_context(|| format!("cargo did not say where it put {package} {version}"))
}

/// Finds the package's directory in what `cargo metadata` prints: `NAME-VERSION` in cargo's cache, `NAME` if vendored.
fn manifest_dir(metadata: &str, package: &str, version: &str) -> Option<PathBuf> {
    let names = [format!("{package}-{version}"), package.to_owned()];
    string_values(metadata, "manifest_path").into_iter().find_map(|manifest| {
        let dir = Path::new(&manifest).parent()?;
        let name = dir.file_name()?.to_str()?;
        names.iter().any(|wanted| wanted == name).then(|| dir.to_path_buf())
    })
}

/// All string values of `key` in a JSON text. Only `\"` and `\\` are unescaped, which is what paths need.
fn string_values(json: &str, key: &str) -> Vec<String> {
    let marker = format!("\"{key}\":\"");
    json.split(&marker)
        .skip(1)
        .map(|rest| {
            let mut value = String::new();
            let mut characters = rest.chars();
            while let Some(character) = characters.next() {
                match character {
                    '"' => break,
                    '\\' => value.extend(characters.next()),
                    other => value.push(other),
                }
            }
            value
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages":[{"name":"cc","manifest_path":"/r/src/index/cc-1.2.3/Cargo.toml"},
        {"name":"big","manifest_path":"/r/a \"quoted\" dir\\x/big-0.4.1/Cargo.toml","metadata":null}]}"#;

    #[test]
    fn the_exact_package_is_found() {
        let found = manifest_dir(METADATA, "big", "0.4.1").unwrap();
        assert_eq!(found, Path::new(r#"/r/a "quoted" dir\x/big-0.4.1"#));
        assert_eq!(manifest_dir(METADATA, "big", "0.4.2"), None);
        assert_eq!(manifest_dir(METADATA, "absent", "1.0.0"), None);
    }

    #[test]
    fn a_vendored_package_is_found() {
        let metadata = r#"{"manifest_path":"/work/vendor/big/Cargo.toml"}"#;
        assert_eq!(manifest_dir(metadata, "big", "0.4.1").unwrap(), Path::new("/work/vendor/big"));
    }
}
