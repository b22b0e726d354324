//! The rules and what became of each.

use super::scan::Proof;
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;

/// One rule.
pub struct Rule {
    /// Its id, such as `MP-17`.
    pub row: String,
    /// How binding it is and on whom, such as `M S`.
    pub weight: String,
    /// Where it belongs.
    pub part: Part,
    /// The rule itself, in short.
    pub title: String,
    /// Why it is not followed or does not apply.
    pub decision: Option<String>,
    /// The tests that prove it.
    pub proofs: Vec<Proof>,
}

/// Where a rule belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// To what is built.
    Here,
    /// To a role that is not built yet.
    Later(String),
    /// Not a rule, but how an unclear text is read: a decision from the start.
    Reading,
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        match text.strip_prefix("later:") {
            Some(role) => Self::Later(role.to_owned()),
            None if text == "reading" => Self::Reading,
            None => Self::Here,
        }
    }
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// A test proves it.
    Done,
    /// It is decided against, or cannot apply.
    Decision,
    /// It belongs to a role that is not built yet.
    Later,
    /// Nothing speaks for it yet.
    Open,
}

impl Rule {
    /// A test weighs more than a decision, and a decision more than the role that a rule belongs to.
    pub fn status(&self) -> Status {
        if !self.proofs.is_empty() {
            return Status::Done;
        }
        match &self.part {
            _ if self.decision.is_some() => Status::Decision,
            Part::Reading => Status::Decision,
            Part::Later(_) => Status::Later,
            Part::Here => Status::Open,
        }
    }
}

/// Rules that share a prefix.
pub struct Section {
    /// What the rules are about.
    pub title: String,
    /// The prefix with its hyphen left off, such as `MP`.
    pub prefix: String,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// All rules, by section.
pub struct Rules {
    /// In the order of the source.
    pub sections: Vec<Section>,
    places: HashMap<String, (usize, usize)>,
}

impl Rules {
    /// Reads `[PREFIX]<TAB>title` and `ROW<TAB>level<TAB>who<TAB>part<TAB>rule` lines. `#` starts a comment line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut rules = Self { sections: Vec::new(), places: HashMap::new() };
        for (number, line) in numbered(text) {
            rules.parse_line(line).with_context(|| format!("line {number}"))?;
        }
        Ok(rules)
    }

    fn parse_line(&mut self, line: &str) -> Result<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            [heading, title] => {
                let prefix = heading.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let prefix = prefix.context("a heading is [PREFIX], a tab and a title")?.to_owned();
                self.sections.push(Section { title: (*title).to_owned(), prefix, rules: Vec::new() });
            }
            [row, level, who, part, title] => {
                let index = self.sections.len().checked_sub(1).context("a row before the first heading")?;
                let section = &mut self.sections[index];
                let prefix = row.rsplit_once('-').map(|(prefix, _)| prefix);
                ensure!(prefix == Some(&section.prefix), "{row} stands under [{}]", section.prefix);
                let place = (index, section.rules.len());
                ensure!(self.places.insert((*row).to_owned(), place).is_none(), "{row} is listed twice");
                section.rules.push(Rule {
                    row: (*row).to_owned(),
                    weight: format!("{level} {who}"),
                    part: Part::from(*part),
                    title: (*title).to_owned(),
                    decision: None,
                    proofs: Vec::new(),
                });
            }
            _ => bail!("expected 2 or 5 fields with tabs between them, found {}", fields.len()),
        }
        Ok(())
    }

    /// Reads `ROW<TAB>reason` lines. Returns what contradicts the rules.
    pub fn decide(&mut self, text: &str) -> Result<Vec<String>> {
        let mut findings = Vec::new();
        for (number, line) in numbered(text) {
            let (row, reason) =
                line.split_once('\t').with_context(|| format!("line {number}: no tab after the row"))?;
            match self.get_mut(row) {
                None => findings.push(format!("decisions.tsv decides {row}, which is not in rows.tsv")),
                Some(rule) if rule.decision.is_some() => {
                    findings.push(format!("decisions.tsv decides {row} twice"));
                }
                Some(rule) => rule.decision = Some(reason.trim().to_owned()),
            }
        }
        Ok(findings)
    }

    /// Notes that a test proves its rule. False if there is no such rule.
    pub fn prove(&mut self, proof: &Proof) -> bool {
        let Some(rule) = self.get_mut(&proof.row) else { return false };
        if !rule.proofs.contains(proof) {
            rule.proofs.push(proof.clone());
        }
        true
    }

    /// All rules in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.sections.iter().flat_map(|section| &section.rules)
    }

    fn get_mut(&mut self, row: &str) -> Option<&mut Rule> {
        let (section, rule) = *self.places.get(row)?;
        Some(&mut self.sections[section].rules[rule])
    }
}

/// Lines that say something, with their numbers.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "# comment\n[A]\tFirst\nA-01\tM\tB\tprotocol\tBe good\nA-02\tS\tC\tlater:proxy\tBe kind\n\
                        \n[BB]\tSecond\nBB-01\tD\tS\tpool\tBe quick\nBB-02\tD\tB\treading\tBe or be not: be\n";

    fn proof(row: &str) -> Proof {
        Proof { row: row.into(), file: "crates/x/src/y.rs".into(), test: "z".into() }
    }

    #[test]
    fn a_rule_is_open_until_something_speaks_for_it() {
        let mut rules = Rules::parse(ROWS).unwrap();
        let statuses = |rules: &Rules| rules.iter().map(Rule::status).collect::<Vec<_>>();
        assert_eq!(statuses(&rules), [Status::Open, Status::Later, Status::Open, Status::Decision]);
        assert!(rules.decide("BB-01\tWe are slow\n").unwrap().is_empty());
        assert!(rules.prove(&proof("A-01")) && rules.prove(&proof("A-01")) && rules.prove(&proof("A-02")));
        assert!(!rules.prove(&proof("A-03")));
        assert_eq!(statuses(&rules), [Status::Done, Status::Done, Status::Decision, Status::Decision]);
        assert_eq!(rules.sections[0].rules[0].proofs.len(), 1);
    }

    #[test]
    fn mistakes_in_the_sources_are_named() {
        for (text, expected) in [
            ("A-01\tM\tB\tp\tt", "before the first heading"),
            ("[A]\tT\nB-01\tM\tB\tp\tt", "B-01 stands under [A]"),
            ("[A]\tT\nA-01\tM\tB\tp\tt\nA-01\tM\tB\tp\tt", "A-01 is listed twice"),
            ("[A]\tT\nA-01\tM\tB", "found 3"),
            ("A\tT", "a heading is"),
        ] {
            let error = format!("{:#}", Rules::parse(text).err().unwrap());
            assert!(error.contains(expected), "{error}");
        }
        let mut rules = Rules::parse(ROWS).unwrap();
        assert!(rules.decide("A-01 no tab").is_err());
        let findings = rules.decide("A-01\tx\nA-01\ty\nQ-01\tz").unwrap();
        assert_eq!(findings.len(), 2);
        assert!(findings[0].contains("A-01 twice") && findings[1].contains("Q-01"));
    }
}
