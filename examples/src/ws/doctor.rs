//! `ws doctor`: why a WebSocket cannot be had, step by step.

use std::{io, time::Instant};

use clap::Args;
use websockets_simple_core::handshake_words::agreed_by;

use crate::ws::{
    exit::{Exit, Failure},
    output,
    target::Target,
};

pub use finding::{Fact, Facts, Fault, Finding, Outcome, Report, Step};
pub use probe::{Probe, ProxyChoice};
pub use secrets::Secrets;

use answer::{Answer, Peer};
use network::Stream;
use probe::Address;
use proxy::Proxy;
use request::Request;
use session::Session;

mod answer;
mod finding;
mod network;
mod probe;
mod proxy;
mod refusal;
mod request;
mod rules;
mod secrets;
mod session;
mod table;
mod tls;

const UNUSED_TLS: &str = "the URL begins with ws://, so there is no TLS";
const UNPROTECTED: &str =
    "the URL begins with ws://, so there is no TLS: everybody on the way can read the token";

/// What to diagnose.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    #[command(flatten)]
    target: Target,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Diagnoses, and prints the report.
///
/// # Errors
///
/// A [`Failure`]: an option is not usable, or a step failed, which is told already.
pub async fn run(args: DoctorArgs) -> Result<(), Failure> {
    let report = diagnose(&args.target.probe().await?).await;
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        output::line(&json.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?)?;
    } else {
        report.write(&mut io::stdout().lock()).map_err(|error| output::closed(&error))?;
    }
    match report.failed {
        None => Ok(()),
        Some(step) => Err(Failure::told(exit(step))),
    }
}

/// The exit code for a step that failed.
fn exit(step: Step) -> Exit {
    match step {
        Step::Url => Exit::Usage,
        Step::Dns | Step::Tcp | Step::Proxy | Step::Tls => Exit::Unreachable,
        Step::Handshake | Step::Subprotocol => Exit::Refused,
        Step::Hello | Step::Ping | Step::Close => Exit::Failed,
    }
}

/// Takes all steps up to the first that fails.
pub async fn diagnose(probe: &Probe) -> Report {
    let mut way = Way { probe, secrets: probe.secrets(), report: Report::new() };
    way.report.url = way.secrets.clean(&probe.shown_url());
    way.go().await;
    way.report.complete();
    way.report
}

/// A diagnosis on its way.
struct Way<'a> {
    probe: &'a Probe,
    secrets: Secrets,
    report: Report,
}

impl Way<'_> {
    /// Takes one step. What it has seen is noted, however it ends.
    async fn take<T>(
        &mut self,
        step: Step,
        work: impl AsyncFnOnce(&Probe, &Secrets, &mut Facts) -> Result<(T, String), Fault>,
    ) -> Option<T> {
        let (begun, mut facts) = (Instant::now(), Facts::default());
        let result = work(self.probe, &self.secrets, &mut facts).await;
        let took = begun.elapsed();
        let (value, told) = match result {
            Ok((value, summary)) => (Some(value), Ok(summary)),
            Err(fault) => (None, Err(fault)),
        };
        self.report.add(step, took, told, facts, &self.secrets);
        value
    }

    async fn go(&mut self) -> Option<()> {
        let address = self.take(Step::Url, async |probe, _, facts| probe.address(facts)).await?;
        let stream = self.dial(&address).await?;
        if !address.secured {
            let is_readable = self.probe.token.is_some() && !address.is_loopback();
            self.report.pass_over(Step::Tls, if is_readable { UNPROTECTED } else { UNUSED_TLS });
            return self.shake_hands(&address, stream).await;
        }
        let work = async |probe: &Probe, _: &Secrets, facts: &mut Facts| {
            tls::secure(probe, &address, stream, facts).await
        };
        let stream = self.take(Step::Tls, work).await?;
        self.shake_hands(&address, stream).await
    }

    async fn dial(&mut self, address: &Address) -> Option<Box<dyn Stream>> {
        #[cfg(unix)]
        if let Some(path) = &self.probe.unix {
            self.report.pass_over(Step::Dns, "a Unix domain socket was given");
            let work = async |probe: &Probe, _: &Secrets, _: &mut Facts| network::unix(probe, path).await;
            let stream = self.take(Step::Tcp, work).await?;
            self.report.pass_over(Step::Proxy, "a Unix domain socket was given");
            return Some(Box::new(stream));
        }
        let proxy = Proxy::choose(self.probe, address);
        let (host, port) = match &proxy {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (address.name(), address.port),
        };
        let work = async |probe: &Probe, _: &Secrets, facts: &mut Facts| {
            network::resolve(probe, &host, port, facts).await
        };
        let addresses = self.take(Step::Dns, work).await?;
        let work = async |probe: &Probe, _: &Secrets, facts: &mut Facts| {
            network::connect(probe, &addresses, facts).await
        };
        let mut stream = self.take(Step::Tcp, work).await?;
        match proxy {
            None => {
                self.report.pass_over(Step::Proxy, "there is no proxy on the way that this machine knows of")
            }
            Some(proxy) => {
                proxy.hide(&mut self.secrets);
                let work = async |probe: &Probe, secrets: &Secrets, facts: &mut Facts| {
                    let told = proxy.tunnel(probe, address, secrets, &mut stream, facts).await;
                    told.map(|summary| ((), summary))
                };
                self.take(Step::Proxy, work).await?;
            }
        }
        Some(Box::new(stream))
    }

    async fn shake_hands<S: Stream>(&mut self, address: &Address, mut stream: S) -> Option<()> {
        let request = Request::new(self.probe, address);
        let work = async |probe: &Probe, secrets: &Secrets, facts: &mut Facts| {
            handshake(probe, secrets, &request, &mut stream, facts).await
        };
        let mut answer = self.take(Step::Handshake, work).await?;
        let work = async |probe: &Probe, _: &Secrets, facts: &mut Facts| {
            let chosen = rules::subprotocol(&answer, &request, probe.is_dotnet, facts)?;
            let (name, has_controls) = chosen.as_deref().map(agreed_by).unzip();
            let summary = match name {
                Some(name) => format!("the server chose {name}"),
                None => "no subprotocol was chosen".to_owned(),
            };
            Ok((has_controls.unwrap_or_default(), summary))
        };
        let has_controls = self.take(Step::Subprotocol, work).await?;
        let rest = std::mem::take(&mut answer.rest);
        let mut session = Session::new(stream, rest, self.probe.timeout).await;
        if has_controls {
            let work = async |_: &Probe, _: &Secrets, facts: &mut Facts| {
                session.hello(facts).await.map(|summary| ((), summary))
            };
            self.take(Step::Hello, work).await?;
        } else {
            let why = "no control messages were agreed on (`--subprotocol websockets-simple` offers them)";
            self.report.pass_over(Step::Hello, why);
        }
        let work = async |_: &Probe, _: &Secrets, facts: &mut Facts| {
            session.ping(facts).await.map(|summary| ((), summary))
        };
        self.take(Step::Ping, work).await?;
        let work = async |_: &Probe, _: &Secrets, facts: &mut Facts| {
            session.close(facts).await.map(|summary| ((), summary))
        };
        self.take(Step::Close, work).await
    }
}

/// Sends the request, and checks the answer.
async fn handshake<S: Stream>(
    probe: &Probe,
    secrets: &Secrets,
    request: &Request,
    stream: &mut S,
    facts: &mut Facts,
) -> Result<(Answer, String), Fault> {
    request.describe(secrets, facts);
    let mut answer = Answer::to(&request.bytes(), stream, Peer::Server, probe.timeout, secrets).await?;
    answer.describe(secrets, facts);
    if answer.status != 101 {
        facts.check("rule", "the status is 101", false);
        let (body, was_cut) = answer.body(stream).await;
        let said = secrets.body(&body, was_cut);
        if !said.is_empty() {
            facts.see("body", said);
        }
        let is_authorized = probe.token.is_some()
            || probe.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        return Err(refusal::fault(&answer, is_authorized));
    }
    rules::check(&answer, request, facts)?;
    Ok((answer, "the server switched to a WebSocket (101)".to_owned()))
}
