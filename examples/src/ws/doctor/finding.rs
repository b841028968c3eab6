//! What each step of a diagnosis came to.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::ws::doctor::secrets::Secrets;

/// A step on the way to a WebSocket, in their order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The URL is read.
    Url,
    /// The addresses of the host are looked up.
    Dns,
    /// Each address is connected to.
    Tcp,
    /// The proxy is asked for a connection to the server.
    Proxy,
    /// TLS is agreed on, and the certificate of the server is checked.
    Tls,
    /// The request for a WebSocket is sent, and the answer is checked.
    Handshake,
    /// The subprotocol that the server chose.
    Subprotocol,
    /// The first message of a server of this library.
    Hello,
    /// A ping, and the pong that answers it.
    Ping,
    /// The Close frames of both sides.
    Close,
}

impl Step {
    /// All of them, in the order in which they are taken.
    pub const ALL: [Self; 10] = [
        Self::Url,
        Self::Dns,
        Self::Tcp,
        Self::Proxy,
        Self::Tls,
        Self::Handshake,
        Self::Subprotocol,
        Self::Hello,
        Self::Ping,
        Self::Close,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::Subprotocol => "subprotocol",
            Self::Hello => "hello",
            Self::Ping => "ping",
            Self::Close => "close",
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Here the way ends.
    Failed,
    /// There was nothing to do, such as TLS for `ws`.
    NotNeeded,
    /// An earlier step failed.
    NotTried,
}

/// Something that was seen in a step.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    /// What it is, such as `issuer`.
    pub name: &'static str,
    /// Its value: a text, a number or a list of texts.
    pub value: Value,
    /// For a check: whether it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
}

/// Facts as they are collected. Those of a step that fails are kept.
#[derive(Debug, Default)]
pub struct Facts(Vec<Fact>);

/// Why a step failed, and what to do.
#[derive(Clone, Debug)]
pub struct Fault {
    /// One sentence.
    pub why: String,
    /// What somebody can do about it.
    pub advice: String,
}

/// A step, how it ended, and what was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The step.
    pub step: Step,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub milliseconds: f64,
    /// In one sentence.
    pub summary: String,
    /// What to do if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// What was seen.
    pub facts: Vec<Fact>,
}

/// All steps.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The URL, without its secrets.
    pub url: String,
    /// Whether no step failed.
    pub ok: bool,
    /// The step that failed.
    pub failed: Option<Step>,
    /// All steps, also those that were not tried.
    pub steps: Vec<Finding>,
}

impl Fault {
    /// Both are sentences without a full stop at the end.
    pub(super) fn new(why: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { why: why.into(), advice: advice.into() }
    }
}

impl Facts {
    /// Something that was seen.
    pub(super) fn see(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push(Fact { name, value: value.into(), ok: None });
    }

    /// Something that was checked.
    pub(super) fn check(&mut self, name: &'static str, value: impl Into<Value>, ok: bool) {
        self.0.push(Fact { name, value: value.into(), ok: Some(ok) });
    }
}

impl Report {
    pub(super) fn new() -> Self {
        Self { url: String::new(), ok: true, failed: None, steps: Vec::new() }
    }

    /// Adds a step that came to an end, without the secrets that a server may have repeated.
    pub(super) fn add(
        &mut self,
        step: Step,
        took: Duration,
        result: Result<String, Fault>,
        facts: Facts,
        secrets: &Secrets,
    ) {
        let (outcome, summary, advice) = match result {
            Ok(summary) => (Outcome::Passed, summary, None),
            Err(Fault { why, advice }) => (Outcome::Failed, why, Some(advice)),
        };
        if outcome == Outcome::Failed {
            self.ok = false;
            self.failed = Some(step);
        }
        let mut facts = facts.0;
        for fact in &mut facts {
            clean(&mut fact.value, secrets);
        }
        self.steps.push(Finding {
            step,
            outcome,
            milliseconds: (took.as_secs_f64() * 1e6).round() / 1e3,
            summary: secrets.clean(&summary),
            advice: advice.map(|advice| secrets.clean(&advice)),
            facts,
        });
    }

    /// Adds a step that was not taken.
    pub(super) fn pass_over(&mut self, step: Step, why: &str) {
        let outcome = if self.ok { Outcome::NotNeeded } else { Outcome::NotTried };
        self.steps.push(Finding {
            step,
            outcome,
            milliseconds: 0.0,
            summary: why.to_owned(),
            advice: None,
            facts: Vec::new(),
        });
    }

    /// Adds the steps behind the one that failed.
    pub(super) fn complete(&mut self) {
        for step in Step::ALL {
            if self.steps.iter().all(|finding| finding.step != step) {
                self.pass_over(step, "not tried");
            }
        }
    }
}

fn clean(value: &mut Value, secrets: &Secrets) {
    match value {
        Value::String(text) => *text = secrets.clean(text),
        Value::Array(values) => values.iter_mut().for_each(|value| clean(value, secrets)),
        _ => {}
    }
}
