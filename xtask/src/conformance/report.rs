//! The document, as Markdown.

use super::rules::{Part, Rule, Rules, Section, Status};
use std::fmt::Write;

/// How many tests are named for one rule; a reader needs a place to look, not all of them.
const SHOWN_TESTS: usize = 3;

const INTRODUCTION: &str = "\
# Conformance to Stratum V2

The rules of the Stratum V2 suite, with the Stratum V1 side of its translator, each with what became of it:

- **done**: the named test proves it. Tests name their rules in a comment, `// proves: MP-17`.
- **decision**: not followed, or cannot apply, for the reason given.
- **later**: belongs to a role that is not built yet.
- **open**: nothing speaks for it yet.

Level: M must, MN must not, S should, SN should not, O may, D follows from the text without a keyword, E engineering.
Who: C client of the connection, S server, B both; or a role: MD mining device, PO pool, PX mining proxy, TR translator,
JC job declarator client, JS job declarator server, TP template provider.

This file is written by `cargo xtask conformance`; do not edit it.
";

/// The whole document.
pub fn render(rules: &Rules) -> String {
    let mut text = format!("{INTRODUCTION}\n**{}**\n\n", summary(rules));
    text.push_str("| Rules | about | rows | done | decision | later | open |\n");
    text.push_str("|---|---|--:|--:|--:|--:|--:|\n");
    for section in &rules.sections {
        let counts = Counts::of(&section.rules);
        let link = anchor(section);
        let _ = writeln!(
            text,
            "| [{}](#{link}) | {} | {} | {} | {} | {} | {} |",
            section.prefix,
            section.title,
            section.rules.len(),
            counts.done,
            counts.decision,
            counts.later,
            counts.open
        );
    }
    for section in &rules.sections {
        let _ = writeln!(text, "\n## {}\n", heading(section));
        text.push_str("| Row | Level, who | Rule | Status | Test or reason |\n|---|---|---|---|---|\n");
        for rule in &section.rules {
            let (status, evidence) = outcome(rule);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {status} | {evidence} |",
                rule.row,
                rule.weight,
                cell(&rule.title)
            );
        }
    }
    text
}

/// The counts over all rules, in one line.
pub fn summary(rules: &Rules) -> String {
    let counts = Counts::of(rules.iter());
    format!(
        "{} rules: {} done, {} decisions, {} later, {} open",
        rules.iter().count(),
        counts.done,
        counts.decision,
        counts.later,
        counts.open
    )
}

#[derive(Default)]
struct Counts {
    done: usize,
    decision: usize,
    later: usize,
    open: usize,
}

impl Counts {
    fn of<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Self {
        let mut counts = Self::default();
        for rule in rules {
            *match rule.status() {
                Status::Done => &mut counts.done,
                Status::Decision => &mut counts.decision,
                Status::Later => &mut counts.later,
                Status::Open => &mut counts.open,
            } += 1;
        }
        counts
    }
}

fn outcome(rule: &Rule) -> (&'static str, String) {
    match rule.status() {
        Status::Done => ("done", tests(rule)),
        Status::Decision => ("decision", cell(rule.decision.as_deref().unwrap_or("read so"))),
        Status::Later => match &rule.part {
            Part::Later(role) => ("later", cell(role)),
            Part::Here | Part::Reading => ("later", String::new()),
        },
        Status::Open => ("**open**", String::new()),
    }
}

fn tests(rule: &Rule) -> String {
    let mut names: Vec<String> =
        rule.proofs.iter().take(SHOWN_TESTS).map(|proof| format!("`{proof}`")).collect();
    let more = rule.proofs.len().saturating_sub(SHOWN_TESTS);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// Text that cannot end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn heading(section: &Section) -> String {
    format!("{}: {}", section.prefix, section.title)
}

/// The id that Markdown renderers give to a heading.
fn anchor(section: &Section) -> String {
    let kept = heading(section).to_lowercase();
    let kept = kept.chars().filter(|each| each.is_alphanumeric() || matches!(each, ' ' | '-' | '_'));
    kept.map(|each| if each == ' ' { '-' } else { each }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::scan::Proof;
    use super::*;

    #[test]
    fn every_status_is_shown_with_its_evidence() {
        let rows = "[A]\tFirst (0x01)\nA-01\tM\tB\tp\tOne | two\nA-02\tS\tC\tlater:proxy\tThree\n\
                    A-03\tD\tS\tp\tFour\nA-04\tD\tS\tp\tFive\n";
        let mut rules = Rules::parse(rows).unwrap();
        rules.decide("A-03\tNo use here\n").unwrap();
        for test in ["a", "b", "c", "d"] {
            rules.prove(&Proof { row: "A-01".into(), file: "f.rs".into(), test: test.into() });
        }
        let text = render(&rules);
        for line in [
            "**4 rules: 1 done, 1 decisions, 1 later, 1 open**",
            "| [A](#a-first-0x01) | First (0x01) | 4 | 1 | 1 | 1 | 1 |",
            "## A: First (0x01)",
            "| A-01 | M B | One \\| two | done | `f.rs::a`, `f.rs::b`, `f.rs::c`, and 1 more |",
            "| A-02 | S C | Three | later | proxy |",
            "| A-03 | D S | Four | decision | No use here |",
            "| A-04 | D S | Five | **open** |  |",
        ] {
            assert!(text.lines().any(|each| each == line), "{line}\nis not in\n{text}");
        }
    }
}
