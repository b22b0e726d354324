//! Where a result is kept: the table for people, and every report as the load tool gave it for programs.

use super::machine;
use super::rows::Row;
use super::run::Outcome;
use super::table::{self, Setting};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The files of one result.
pub struct Files {
    pub markdown: PathBuf,
    pub raw: PathBuf,
}

impl Files {
    /// Named after the day.
    pub fn new(directory: &Path) -> Self {
        let name = format!("{}-sri-side-by-side", machine::day());
        Self { markdown: directory.join(format!("{name}.md")), raw: directory.join(format!("{name}.json")) }
    }

    /// Writes both anew.
    pub fn write(&self, setting: &Setting, rows: &[&'static Row], outcomes: &[Outcome]) -> Result<()> {
        let directory = self.markdown.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&self.markdown, table::render(setting, rows, outcomes)))
            .and_then(|()| std::fs::write(&self.raw, raw(setting, outcomes)))
            .with_context(|| format!("cannot write to {}", directory.display()))
    }
}

/// One report a line, so that a change is seen as one.
fn raw(setting: &Setting, outcomes: &[Outcome]) -> String {
    let facts: Map<String, Value> =
        setting.facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))).collect();
    let reports: Vec<String> = outcomes.iter().map(|outcome| report(outcome).to_string()).collect();
    format!("{{\"facts\": {},\n\"runs\": [\n{}\n]}}\n", Value::from(facts), reports.join(",\n"))
}

fn report(outcome: &Outcome) -> Value {
    let Outcome { row, maker, run, command, report } = outcome;
    let mut value = json!({"row": row, "pool": maker.name(), "run": run, "command": command});
    match report {
        Ok(report) => value["report"] = report.clone(),
        Err(error) => value["error"] = format!("{error:#}").into(),
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::pools::Maker;
    use anyhow::anyhow;

    #[test]
    fn raw_reports_are_whole() {
        let outcome = |run, report| Outcome { row: "r", maker: Maker::Sri, run, command: "c".into(), report };
        let outcomes = [outcome(1, Ok(json!({"mode": "idle"}))), outcome(2, Err(anyhow!("it hung")))];
        let facts = vec![("date", "today".to_owned())];
        let setting = Setting { facts, command: "b".into(), transactions: 1, merkle_steps: 1 };
        let value: Value = serde_json::from_str(&raw(&setting, &outcomes)).unwrap();
        assert_eq!(value["facts"]["date"], "today");
        assert_eq!(value["runs"][0]["report"]["mode"], "idle");
        assert_eq!(
            (&value["runs"][1]["error"], &value["runs"][1]["pool"]),
            (&json!("it hung"), &json!("sri"))
        );
    }
}
