//! One client, from its connect to its end, which hears each broadcast of that time once, and in order.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{sync::oneshot, time::timeout};
use websockets_simple_tests::crowd::{Notice, notice::BYE, now};

use crate::{
    clients::{Coming, Hall, Handshake},
    line::Line,
    plan::Plan,
};

/// How long a handshake, or the answer to a text, may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Lives one life. It leaves when it is told to, or behind the last broadcast.
pub(crate) async fn life(
    hall: &Hall,
    coming: Coming,
    number: usize,
    leave: oneshot::Receiver<()>,
) -> Result<(), String> {
    let mut heard = Heard::default();
    let mut line = {
        let Ok(_place) = hall.handshakes_at_once.acquire().await else { return Ok(()) };
        let from = now();
        let line =
            timeout(LONGEST, open(hall, number, &mut heard)).await.map_err(|_| "not greeted in time")??;
        hall.opened(Handshake { from, until: now() });
        line
    };
    drop(coming);
    let last = stay(hall, &mut line, &mut heard, leave).await?;
    let first = heard.greeting.ok_or("not greeted")? + 1;
    if heard.first.is_none_or(|heard| heard > first) && last >= first {
        return Err(format!(
            "greeted before broadcast {first}, and the first one heard is {:?}",
            heard.first
        ));
    }
    if heard.last.unwrap_or(first - 1) < last {
        return Err(format!("heard no broadcast behind {:?}, though {last} was sent before", heard.last));
    }
    timeout(LONGEST, line.hang_up(Plan::is_polite(number))).await.map_err(|_| "not closed in time")?
}

/// What a client has heard.
#[derive(Debug, Default)]
struct Heard {
    greeting: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
}

/// Connects, and waits for the greeting.
async fn open(hall: &Hall, number: usize, heard: &mut Heard) -> Result<Line, String> {
    let mut line = Line::connect(hall.addr, hall.plan.source(number), Plan::is_sdk(number)).await?;
    while heard.greeting.is_none() {
        heard.note(hall, line.hear().await?)?;
    }
    Ok(line)
}

/// Hears what comes, until the end. Answers the number of the last broadcast that must have come by then.
async fn stay(
    hall: &Hall,
    line: &mut Line,
    heard: &mut Heard,
    mut leave: oneshot::Receiver<()>,
) -> Result<u64, String> {
    let mut is_left_alone = false;
    loop {
        tokio::select! {
            notice = line.hear() => {
                let notice = notice?;
                match notice {
                    Notice::Bye(begun) => return Ok(begun.saturating_sub(1)),
                    Notice::Broadcast { number, is_last: true, .. } => {
                        heard.note(hall, notice)?;
                        return Ok(number);
                    }
                    _ => heard.note(hall, notice)?,
                }
            }
            told = &mut leave, if !is_left_alone => match told {
                Ok(()) => break,
                Err(_) => is_left_alone = true,
            },
        }
    }
    line.say(BYE).await?;
    hall.said.fetch_add(1, Ordering::Relaxed);
    let answered = async {
        loop {
            match line.hear().await? {
                Notice::Bye(begun) => return Ok(begun.saturating_sub(1)),
                other => heard.note(hall, other)?,
            }
        }
    };
    timeout(LONGEST, answered).await.map_err(|_| "no answer to a text".to_owned())?
}

impl Heard {
    fn note(&mut self, hall: &Hall, notice: Notice) -> Result<(), String> {
        match notice {
            Notice::Hello(begun) => match self.greeting.replace(begun) {
                None => Ok(()),
                Some(_) => Err("greeted twice".into()),
            },
            Notice::Broadcast { number, at, .. } => {
                hall.receipts.add(number, now().saturating_sub(at));
                self.first.get_or_insert(number);
                match self.last.replace(number) {
                    Some(last) if last + 1 != number => Err(format!("broadcast {number} behind {last}")),
                    _ => Ok(()),
                }
            }
            Notice::Bye(_) => Err("an answer to nothing".into()),
        }
    }
}
