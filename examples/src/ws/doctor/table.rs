//! A report for people.

use std::io::{self, Write};

use serde_json::Value;

use crate::ws::doctor::finding::{Fact, Finding, Outcome, Report};

impl Report {
    /// Writes all steps, each with what was seen.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for finding in self.steps.iter().filter(|finding| finding.outcome != Outcome::NotTried) {
            write_finding(out, finding)?;
        }
        let left: Vec<_> =
            self.steps.iter().filter(|it| it.outcome == Outcome::NotTried).map(|it| it.step.name()).collect();
        if !left.is_empty() {
            writeln!(out, "-      not tried: {}", left.join(", "))?;
        }
        let Some(failed) = self.steps.iter().find(|finding| finding.outcome == Outcome::Failed) else {
            return writeln!(out, "\nAll steps passed: {} is a WebSocket that can be used.", self.url);
        };
        writeln!(out, "\n{}: {}.", failed.step.name(), failed.summary)?;
        match &failed.advice {
            Some(advice) => writeln!(out, "What to do: {advice}."),
            None => Ok(()),
        }
    }
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let (mark, time) = match finding.outcome {
        Outcome::Passed => ("ok", true),
        Outcome::Failed => ("FAILED", true),
        Outcome::NotNeeded | Outcome::NotTried => ("-", false),
    };
    let time = if time { format!("{:.1} ms", finding.milliseconds) } else { String::new() };
    writeln!(out, "{mark:<6} {:<11} {time:>10}  {}", finding.step.name(), finding.summary)?;
    finding.facts.iter().try_for_each(|fact| write_fact(out, fact))
}

fn write_fact(out: &mut impl Write, fact: &Fact) -> io::Result<()> {
    let mark = match fact.ok {
        None => "",
        Some(true) => "ok",
        Some(false) => "FAILED",
    };
    writeln!(out, "         {mark:<6} {}: {}", fact.name, text(&fact.value))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}
