//! What is typed or piped in, on its way to the server.

use tokio::sync::{mpsc, watch};
use websockets_simple_client::{ClientConnection, SendError, errors::GroupError};

use super::said::Speech;
use crate::{
    in_one_line,
    terminal::Lines,
    ws::exit::{Exit, Failure},
};

/// Sends lines, on whatever connection there is. It runs beside the receiving: a server that reads no more until its own
/// messages are read would otherwise never be read.
pub(super) struct Typing {
    pub(super) lines: Lines,
    pub(super) speech: Speech,
    pub(super) groups: Vec<String>,
    /// The connection, once what comes first was sent on it.
    pub(super) ready: watch::Receiver<Option<ClientConnection>>,
    /// Whether somebody types, who sees warnings.
    pub(super) is_editor: bool,
    pub(super) notes: mpsc::Sender<Note>,
}

/// What is said while lines are sent.
pub(super) enum Note {
    /// What may be left out.
    News(String),
    Warning(String),
}

impl Typing {
    /// Joins the groups, and sends lines until there are no more.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        for group in &self.groups {
            let Some(connection) = ready(&mut self.ready).await else { return Ok(()) };
            connection.join(group).await.map_err(|error| {
                let exit = match error {
                    GroupError::Refused { .. } => Exit::Refused,
                    GroupError::Name => Exit::Usage,
                    _ => Exit::Failed,
                };
                Failure::new(exit, format!("cannot join {group}: {error}"))
            })?;
            // Nobody listens when the session is over.
            let _ = self.notes.send(Note::News(format!("joined {group}"))).await;
        }
        if self.is_editor {
            self.typed().await
        } else {
            self.piped().await?
        }
        Ok(())
    }

    /// Somebody who types is told what is not sent, and can type it again.
    async fn typed(&mut self) {
        while let Some(line) = self.lines.next().await {
            // Enter alone asks for another prompt.
            if line.is_empty() {
                continue;
            }
            let connection = self.ready.borrow().clone();
            let sent = match (self.speech.message(&line), connection) {
                (Err(why), _) => Err(why),
                (Ok(_), None) => Err("there is no connection".to_owned()),
                (Ok(message), Some(connection)) => {
                    connection.send(message).await.map(drop).map_err(|error| in_one_line(&error))
                }
            };
            if let Err(why) = sent {
                let _ = self.notes.send(Note::Warning(format!("not sent: {why}"))).await;
            }
        }
    }

    /// Piped lines are all sent, or the command fails. They wait for the next connection where there is to be one.
    async fn piped(&mut self) -> Result<(), Failure> {
        loop {
            if ready(&mut self.ready).await.is_none() {
                return Ok(());
            }
            let Some(line) = self.lines.next().await else { return Ok(()) };
            let not_sent = |why: &str| format!("not sent: {why}");
            let message =
                self.speech.message(&line).map_err(|why| Failure::new(Exit::Usage, not_sent(&why)))?;
            loop {
                let Some(connection) = ready(&mut self.ready).await else {
                    return Err(Failure::new(Exit::Failed, not_sent("there is no connection")));
                };
                match connection.send(message.clone()).await {
                    Ok(_) => break,
                    Err(SendError::Closed) => {
                        // Nothing was sent. The session learns of the end, and of the next connection.
                        let over = |now: &Option<ClientConnection>| now.as_ref() != Some(&connection);
                        if self.ready.wait_for(over).await.is_err() {
                            return Err(Failure::new(Exit::Failed, not_sent("the connection is closed")));
                        }
                    }
                    Err(error) => return Err(Failure::new(Exit::Failed, not_sent(&in_one_line(&error)))),
                }
            }
        }
    }
}

/// The connection; `None` if there will be none any more.
async fn ready(connections: &mut watch::Receiver<Option<ClientConnection>>) -> Option<ClientConnection> {
    connections.wait_for(Option::is_some).await.ok()?.clone()
}
